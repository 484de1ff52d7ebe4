/**
 * What must be true at the boundaries for whatever is sent, each held twice: it is true of the real thing, and found
 * false of the same thing with a bug planted in it. A property that cannot fail says nothing.
 */

import { runInDurableObject } from 'cloudflare:test'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalForm, type KeyContext } from '../shared/content-key.ts'
import { type EffectiveVideo, resolveRequest } from '../shared/effective.ts'
import { parseRequest } from '../shared/request.ts'
import { isAllowedOrigin } from './app.ts'
import { newKey, parseKey } from './auth/api-key.ts'
import { signToken, verifyToken } from './auth/browser-token.ts'
import { fromBase64url, utf8 } from './bytes.ts'
import { bindings } from './front-door.ts'
import { newId } from './ids.ts'
import { parseStrict } from './json.ts'
import { accountOf } from './objects/contract.ts'
import { recall, remember } from './objects/idempotency.ts'
import { publicUrl } from './public-url.ts'
import { retryAfterMs, retryCapMs } from './retry-after.ts'
import { deriveSecrets } from './secrets.ts'
import { servicesOf } from './services.ts'
import { signUrl, type UrlClaims, urlLifeSeconds, verifyUrl } from './signed-url.ts'
import { signedHeaders, toleranceSeconds, verifyDelivery } from './standard-webhooks.ts'

const now = 1_900_000_000_000
const secrets = await deriveSecrets([btoa('0123456789abcdef0123456789abcdef')])

interface Control<Subject, Input> {
  readonly real: Subject
  /** By what is wrong with them. */
  readonly planted: Readonly<Record<string, Subject>>
  readonly property: (subject: Subject) => fc.IRawProperty<Input>
  readonly runs: number
}

function control<Subject, Input>(name: string, { real, planted, property, runs }: Control<Subject, Input>): void {
  describe(name, () => {
    it('holds', async () => {
      await fc.assert(property(real), { numRuns: runs })
    })
    for (const [bug, subject] of Object.entries(planted))
      it(`is found broken where it ${bug}`, async () => {
        expect((await fc.check(property(subject), { numRuns: runs })).failed).toBe(true)
      })
  })
}

const refuses = (act: () => unknown): boolean => {
  try {
    act()
    return false
  } catch {
    return true
  }
}

/** One character put in place of another, beside it, or taken away. */
const change = fc.record({
  at: fc.nat(),
  code: fc.integer({ min: 33, max: 126 }),
  way: fc.constantFrom('replace', 'insert', 'remove'),
})
function changed(text: string, { at, code, way }: { at: number; code: number; way: string }): string {
  const place = at % text.length
  const rest = way === 'insert' ? text.slice(place) : text.slice(place + 1)
  return text.slice(0, place) + (way === 'remove' ? '' : String.fromCharCode(code)) + rest
}

// Keys of results

const model = servicesOf(bindings).catalog.model('zt-nano')
const plain = resolveRequest(parseRequest({ prompt: 'a fox' }), model, { seed: 1 }).effective
const keyContext: KeyContext = { policyVersion: '1', tenant: 't', provider: 'node', weightsSha256: 'w' }

interface Wish {
  readonly prompt: string
  readonly negative: string
  readonly seed: number
  readonly guidance: number
  readonly options: Readonly<Record<string, boolean | number>>
}

const wish: fc.Arbitrary<Wish> = fc.record({
  prompt: fc.string({ unit: 'grapheme', maxLength: 8 }),
  negative: fc.string({ unit: 'grapheme', maxLength: 8 }),
  seed: fc.nat(5),
  guidance: fc.integer({ min: 1000, max: 1003 }).map((thousandths) => thousandths / 1000),
  options: fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.oneof(fc.boolean(), fc.nat(3)), { noNullPrototype: true }),
})

/** The same wish in another spelling, or another wish that looks like it. */
const rewriting = fc.constantFrom<(one: Wish) => Wish>(
  (one) => ({ ...one, prompt: one.prompt.normalize('NFD') }),
  (one) => ({ ...one, options: Object.fromEntries(Object.entries(one.options).reverse()) }),
  (one) => ({ ...one, guidance: one.guidance + 1e-7 }),
  (one) => ({ ...one, prompt: one.prompt.slice(0, -1), negative: one.prompt.slice(-1) + one.negative }),
  (one) => ({ ...one, prompt: one.negative, negative: one.prompt }),
  (one) => ({ ...one, prompt: ` ${one.prompt}` }),
  (one) => ({ ...one, seed: one.seed + 1 }),
)

const meant = ({ prompt, negative, seed, guidance, options }: Wish): string =>
  JSON.stringify([
    ...[prompt.normalize('NFC'), negative.normalize('NFC'), seed, Math.round(guidance * 1000)],
    Object.entries(options).sort(([one], [other]) => (one < other ? -1 : 1)),
  ])

type Keyed = (request: EffectiveVideo) => string
const form: Keyed = (request) => canonicalForm(request, keyContext)

control<Keyed, unknown>('two requests having one key exactly where they mean the same', {
  real: form,
  planted: {
    'lets two texts run together': (one) =>
      form({ ...one, prompt: one.prompt + one.negative_prompt, negative_prompt: '' }),
    'keeps the order of options': (one) => form(one) + JSON.stringify(one.provider_options),
    'forgets the seed': (one) => form({ ...one, seed: 0 }),
    'trims the prompt': (one) => form({ ...one, prompt: one.prompt.trim() }),
  },
  property: (keyed) =>
    fc.property(wish, rewriting, (one, rewrite) => {
      const request = ({ prompt, negative, seed, guidance, options }: Wish): EffectiveVideo => ({
        ...{ ...plain, prompt, seed, negative_prompt: negative, guidance_scale: guidance, provider_options: options },
      })
      const other = rewrite(one)
      return (keyed(request(one)) === keyed(request(other))) === (meant(one) === meant(other))
    }),
  runs: 5_000,
})

// JSON

const document = fc.record({
  value: fc.dictionary(fc.stringMatching(/^[a-z]{1,3}$/), fc.jsonValue({ maxDepth: 2 }), { noNullPrototype: true }),
  fault: fc.constantFrom('none', 'twice', 'twice, escaped', 'surrogate', 'depth', 'tail'),
})

function written(value: object, fault: string): string {
  const text = JSON.stringify(value)
  const more = (entry: string) => `${text.slice(0, -1)}${text === '{}' ? '' : ','}${entry}}`
  switch (fault) {
    case 'twice':
      return more('"zzzz":1,"zzzz":2')
    case 'twice, escaped':
      return more('"zzzz":1,"\\u007azzz":2')
    case 'surrogate':
      return more('"zzzz":"\\ud83d"')
    case 'depth':
      return more(`"zzzz":${'['.repeat(16)}${']'.repeat(16)}`)
    case 'tail':
      return `${text}{}`
    default:
      return text
  }
}

control<(text: string) => unknown, unknown>('a body being read as it is meant, or not at all', {
  real: parseStrict,
  planted: {
    'lets the last of two keys win': (text) => JSON.parse(text),
    'compares keys as they are spelled': (text) => {
      const keys = [...text.matchAll(/"(zzzz|\\u007azzz)":/g)].map(([key]) => key)
      return new Set(keys).size < keys.length ? parseStrict('{') : JSON.parse(text)
    },
  },
  property: (parse) =>
    fc.property(document, ({ value, fault }) => {
      const text = written(value, fault)
      if (fault !== 'none') return refuses(() => parse(text))
      return JSON.stringify(parse(text)) === text
    }),
  runs: 5_000,
})

// Webhooks that come in

const webhookSecret = utf8('0123456789abcdef0123456789abcdef')
const delivered = '{"id":"pred-1","status":"succeeded"}'

type Receive = (headers: Headers, body: string, now: number) => Promise<boolean>
const receive: Receive = async (headers, body, at) =>
  !('refused' in (await verifyDelivery(headers, utf8(body), [webhookSecret], at)))

control<Receive, unknown>('a delivery being taken whole, in its time, or not', {
  real: receive,
  planted: {
    'looks at no clock': (headers, body) => receive(headers, body, Number(headers.get('webhook-timestamp')) * 1000),
    'signs no body': (headers, _, at) => receive(headers, delivered, at),
  },
  property: (received) =>
    fc.asyncProperty(
      fc.constantFrom('nothing', 'webhook-id', 'webhook-timestamp', 'webhook-signature', 'body'),
      change,
      fc.integer({ min: -2 * toleranceSeconds, max: 2 * toleranceSeconds }),
      async (what, how, skew) => {
        const good = await signedHeaders('msg_1', now / 1000, utf8(delivered), [webhookSecret])
        const headers = { ...good }
        const body = what === 'body' ? changed(delivered, how) : delivered
        if (good[what] !== undefined) headers[what] = changed(good[what], how)
        const same = body === delivered && headers[what] === good[what]
        const wanted = same && Math.abs(skew) <= toleranceSeconds
        return (await received(new Headers(headers), body, now + skew * 1000)) === wanted
      },
    ),
  runs: 2_000,
})

// Retry-After

type Wait = (header: string | null, now: number, random: number) => number

control<Wait, unknown>('a wait being a number within its bounds, and never early', {
  real: retryAfterMs,
  planted: {
    'takes any text for a number': (header) => Number(header) * 1000,
    'shortens by chance': (header, at, random) => retryAfterMs(header, at, 0) * (1 - random / 5),
    'has no cap': (header, at, random) =>
      /^\d+$/.test(header ?? '') ? Number(header) * 1000 : retryAfterMs(header, at, random),
  },
  property: (wait) =>
    fc.property(
      fc.oneof(
        fc.constantFrom(null, '', ' ', '-1', '1e9', '0x10', 'Infinity', '9'.repeat(400), 'Wed, 99 Foo 1', '1.5'),
        fc.string(),
        fc.nat(100).map(String),
        fc.integer({ min: -100, max: 100 }).map((seconds) => new Date(now + seconds * 1000).toUTCString()),
      ),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (header, random) => {
        const waited = wait(header, now, random)
        const seconds = /^\d+$/.test(header ?? '') ? Number(header) : 0
        const least = Math.min(retryCapMs, seconds * 1000)
        return waited >= least && waited <= retryCapMs * 1.2
      },
    ),
  runs: 20_000,
})

// Idempotency keys

interface Notes {
  readonly recall: typeof recall
  readonly remember: typeof remember
}

const day = 86_400_000
const commands = fc.array(
  fc.record({
    key: fc.constantFrom('one', 'two'),
    fingerprint: fc.constantFrom('x', 'y'),
    pause: fc.constantFrom(0, 1, day / 2, day - 1, day),
  }),
  { maxLength: 12 },
)

/** Whether notes over a store say of every command what a map and a clock say. */
function agrees(sql: SqlStorage, notes: Notes, given: readonly { key: string; fingerprint: string; pause: number }[]) {
  sql.exec('DELETE FROM idempotency')
  const known = new Map<string, { fingerprint: string; answer: string; until: number }>()
  let at = now
  for (const [index, { key, fingerprint, pause }] of given.entries()) {
    at += pause
    const entry = known.get(key)
    const there = entry !== undefined && entry.until > at ? entry : undefined
    const said = notes.recall(sql, { key, fingerprint }, at)
    if (there === undefined) {
      if (said !== null) return false
      notes.remember(sql, { key, fingerprint }, `answer ${index}`, at)
      known.set(key, { fingerprint, answer: `answer ${index}`, until: at + day })
    } else if (there.fingerprint !== fingerprint) {
      if (said === null || !('kind' in said) || said.code !== 'idempotency_key_reuse') return false
    } else if (said === null || 'kind' in said || said.answer !== there.answer) return false
  }
  return true
}

/** In the store of an account that nobody else has. */
const inStore = (act: (sql: SqlStorage) => boolean | Promise<boolean>): Promise<boolean> =>
  runInDurableObject(accountOf(bindings, 'controls') as unknown as DurableObjectStub, (_, state) =>
    act(state.storage.sql),
  )

describe('a key standing for one request, for a day', () => {
  const property = (sql: SqlStorage, notes: Notes) => fc.property(commands, (given) => agrees(sql, notes, given))
  const planted: Readonly<Record<string, Notes>> = {
    'forgets what the key was for': {
      recall: (sql, asked, at) => recall(sql, asked && { ...asked, fingerprint: 'x' }, at),
      remember: (sql, asked, answer, at) => remember(sql, asked && { ...asked, fingerprint: 'x' }, answer, at),
    },
    'keeps it a moment too long': { recall: (sql, asked, at) => recall(sql, asked, at - 1), remember },
    'writes every answer anew': {
      recall: (sql, asked, at) => {
        const said = recall(sql, asked, at)
        if (said !== null && 'answer' in said) remember(sql, asked, said.answer, at)
        return said
      },
      remember,
    },
  }
  it('holds over 24,000 commands', async () => {
    expect(await inStore((sql) => !fc.check(property(sql, { recall, remember }), { numRuns: 4_000 }).failed)).toBe(true)
  })
  for (const [bug, notes] of Object.entries(planted))
    it(`is found broken where it ${bug}`, async () => {
      expect(await inStore((sql) => fc.check(property(sql, notes), { numRuns: 4_000 }).failed)).toBe(true)
    })
})

// Browser tokens

type Judge = (token: string, now: number) => Promise<string>
const judge: Judge = async (token, at) => (await verifyToken(token, secrets.tokens, at)).kind
const claimed = (token: string): { readonly iat: number } | undefined => {
  try {
    return JSON.parse(new TextDecoder().decode(fromBase64url(token.split('.')[1] ?? '')))
  } catch {
    return undefined
  }
}

control<Judge, unknown>('a token being good as it was signed, from its beginning to its end', {
  real: judge,
  planted: {
    'looks at no clock': (token) => judge(token, (claimed(token)?.iat ?? 0) * 1000),
    'looks at no signature': async (token) => (claimed(token) === undefined ? 'bad' : 'good'),
  },
  property: (judged) =>
    fc.asyncProperty(
      fc.integer({ min: -100, max: 800 }),
      fc.integer({ min: -10, max: 700 }),
      fc.option(change),
      async (age, life, how) => {
        const iat = now / 1000 - age
        const token = await signToken(
          {
            ...{ sub: 'alice', iat, exp: iat + life, jti: newId('tok'), tenant: 't', scopes: ['video:read'] },
            ...{ models: null, inference_modes: null, max_jobs: 1, max_cost: 1, origin: null },
          },
          secrets.tokens,
        )
        const sent = how === null ? token : changed(token, how)
        const sound = sent === token && life > 0 && life <= 600 && age >= -30
        const wanted = !sound ? 'bad' : age > life + 30 ? 'expired' : 'good'
        return (await judged(sent, now)) === wanted
      },
    ),
  runs: 1_500,
})

// API keys

control<(text: string) => string | undefined, unknown>('a key being known as it was issued alone', {
  real: (text) => parseKey(text)?.id,
  planted: {
    'has no checksum': (text) => /^zoe_(?:live|test)_([a-z2-7]{12})_[a-z2-7]{32}[0-9a-f]{8}$/.exec(text)?.[1],
    'takes blanks around it': (text) => parseKey(text.slice(0, 65).trim())?.id,
  },
  property: (parse) =>
    fc.property(
      fc.constantFrom('live', 'test' as const),
      fc.option(change),
      fc.constantFrom('', ' ', '\n'),
      (kind, how, end) => {
        const { text, id } = newKey(kind as 'live' | 'test')
        const sent = (how === null ? text : changed(text, how)) + end
        return parse(sent) === (sent === text ? id : undefined)
      },
    ),
  runs: 20_000,
})

// Origins

const host = fc.constantFrom('app.test', 'test', 'xapp.test', 'app.test.evil.example', 'APP.test', 'app.test.')
const origin = fc
  .tuple(fc.constantFrom('https', 'http', 'HTTPS'), host, fc.constantFrom('', ':443', ':8443', '/'))
  .map(([scheme, name, rest]) => `${scheme}://${name}${rest}`)

control<typeof isAllowedOrigin, unknown>('an origin being allowed letter for letter', {
  real: isAllowedOrigin,
  planted: {
    'looks at the beginning': (allowed, sent) => allowed.some((each) => sent.startsWith(each)),
    'looks at the end': (allowed, sent) => allowed.some((each) => sent.endsWith(each.slice('https://'.length))),
    'looks at no case': (allowed, sent) => allowed.some((each) => each.toLowerCase() === sent.toLowerCase()),
  },
  property: (isAllowed) =>
    fc.property(origin, fc.oneof(origin, fc.constantFrom('null', '*', '')), (allowed, sent) => {
      return isAllowed([allowed], sent) === (allowed === sent)
    }),
  runs: 20_000,
})

// Addresses that users name

const octets = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255))
const spelled = fc.tuple(octets, fc.nat(4)).map(([[a, b, c, d], way]) => {
  const whole = ((a << 24) >>> 0) + (b << 16) + (c << 8) + d
  const hex = [a, b, c, d].map((each) => `0x${each.toString(16)}`).join('.')
  return [
    `${a}.${b}.${c}.${d}`,
    String(whole),
    hex,
    `${a}.${(b << 16) + (c << 8) + d}`,
    `[::ffff:${a}.${b}.${c}.${d}]`,
  ][way]
})
const label = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/)
const target = fc.oneof(
  spelled.map((name) => ({ name, good: false })),
  fc
    .tuple(label, fc.constantFrom('localhost', 'local', 'internal', 'lan', 'arpa', 'onion', 'home'))
    .map(([one, end]) => ({
      name: `${one}.${end}`,
      good: false,
    })),
  fc.tuple(label, label, fc.constantFrom('dev', 'com', 'org')).map((parts) => ({ name: parts.join('.'), good: true })),
)

control<(address: string) => unknown, unknown>('an address leading to a public name alone', {
  real: (address) => publicUrl(address, '/url'),
  planted: {
    'knows one spelling of numbers': (address) =>
      /^https:\/\/\d+\.\d+\.\d+\.\d+\//.test(address) ? publicUrl('', '/url') : new URL(address),
    'knows one private name': (address) => {
      const { hostname } = new URL(address)
      return /^[\d.[]|(^|\.)localhost$/.test(hostname) ? publicUrl('', '/url') : hostname
    },
  },
  property: (check) => fc.property(target, ({ name, good }) => refuses(() => check(`https://${name}/in`)) !== good),
  runs: 10_000,
})

// Signed addresses

const claims: UrlClaims = {
  ...{ method: 'GET', path: '/v1/videos/x/content', expires: now / 1000 + urlLifeSeconds, tenant: 't' },
  ...{ sha256: 'a'.repeat(64), selection: 'variant=video&index=0' },
}
const [urlKey] = secrets.urls as [CryptoKey]

type Open = (claims: UrlClaims, signature: string, now: number) => Promise<boolean>
const opens: Open = (asked, signature, at) => verifyUrl(secrets.urls, asked, signature, at)

control<Open, unknown>('a signed address opening what it names, while it lasts', {
  real: opens,
  planted: {
    'forgets what the query selects': (asked, ...rest) => opens({ ...asked, selection: claims.selection }, ...rest),
    'forgets the tenant': (asked, ...rest) => opens({ ...asked, tenant: claims.tenant }, ...rest),
    'looks at no clock': (asked, signature) => opens(asked, signature, now),
  },
  property: (open) =>
    fc.asyncProperty(
      fc.constantFrom('nothing', 'path', 'tenant', 'sha256', 'selection', 'expires' as const),
      change,
      fc.integer({ min: -5, max: 2 * urlLifeSeconds }),
      async (what, how, seconds) => {
        const signature = await signUrl(urlKey, claims)
        const asked = { ...claims }
        if (what === 'expires') asked.expires -= 1 + (how.at % 100)
        else if (what !== 'nothing') Object.assign(asked, { [what]: changed(claims[what as 'path'], how) })
        const same = JSON.stringify(asked) === JSON.stringify(claims)
        // A clock may be a second behind the one that signed.
        const wanted = same && seconds <= urlLifeSeconds && seconds >= -1
        return (await open(asked, signature, now + seconds * 1000)) === wanted
      },
    ),
  runs: 2_000,
})
