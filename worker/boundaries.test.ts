import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crc32, newKey, parseKey } from './auth/api-key.ts'
import { signToken, type TokenClaims, verifyToken } from './auth/browser-token.ts'
import { base64url, fromBase64, fromBase64url, utf8 } from './bytes.ts'
import { newId } from './ids.ts'
import { publicUrl } from './public-url.ts'
import { spanOf } from './ranges.ts'
import { retryAfterMs } from './retry-after.ts'
import { deriveSecrets } from './secrets.ts'
import { signUrl, type UrlClaims, verifyUrl } from './signed-url.ts'

const root = btoa('0123456789abcdef0123456789abcdef')
const secrets = await deriveSecrets([root, btoa('fedcba9876543210fedcba9876543210')])
const now = 1_900_000_000_000

describe('Retry-After', () => {
  it('is never early: seconds and dates are waited out up to the cap', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.double({ min: 0, max: 1, noNaN: true }), (seconds, random) => {
        expect(retryAfterMs(String(seconds), now, random)).toBeGreaterThanOrEqual(seconds * 1000)
        const date = new Date(now + seconds * 1000).toUTCString()
        expect(retryAfterMs(date, now, random)).toBeGreaterThanOrEqual(seconds * 1000)
      }),
    )
  })
})

describe('an API key', () => {
  it('is recognised as it was issued, and in no other spelling', () => {
    const key = newKey('live').text
    expect(parseKey(key)?.id).toBe(key.slice(9, 21))
    fc.assert(
      fc.property(fc.nat(key.length - 1), fc.integer({ min: 33, max: 126 }), (at, code) => {
        const changed = key.slice(0, at) + String.fromCharCode(code) + key.slice(at + 1)
        expect(parseKey(changed)?.text).toBe(changed === key ? key : undefined)
      }),
      { numRuns: 3_000 },
    )
  })

  it('has the checksum of IEEE 802.3', () => {
    expect(crc32('123456789')).toBe('cbf43926')
  })
})

const claims = (): Omit<TokenClaims, 'iss' | 'aud'> => ({
  sub: 'alice',
  iat: now / 1000,
  exp: now / 1000 + 300,
  jti: newId('tok'),
  tenant: 't',
  scopes: ['video:read'],
  models: null,
  inference_modes: null,
  max_jobs: 1,
  max_cost: 1,
  origin: null,
})

/** A token with any header and body, signed as ours would be. */
async function forged(header: object, body: object): Promise<string> {
  const text = `${base64url(utf8(JSON.stringify(header)))}.${base64url(utf8(JSON.stringify(body)))}`
  const signature = await crypto.subtle.sign('Ed25519', secrets.tokens.privateKey, utf8(text))
  return `${text}.${base64url(signature)}`
}

describe('a browser token', () => {
  it('is good as it was minted, within its time', async () => {
    const token = await signToken(claims(), secrets.tokens)
    expect((await verifyToken(token, secrets.tokens, now)).kind).toBe('good')
    expect((await verifyToken(token, secrets.tokens, now + 329_000)).kind).toBe('good')
    expect((await verifyToken(token, secrets.tokens, now + 331_000)).kind).toBe('expired')
    expect((await verifyToken(token, secrets.tokens, now - 31_000)).kind).toBe('bad')
  })

  it('is bad with another algorithm, key name, issuer or life, and with any claim missing or added', async () => {
    const { kid } = secrets.tokens
    const header = { alg: 'EdDSA', typ: 'JWT', kid }
    const body = { iss: 'zoetrope', aud: 'zoetrope', ...claims() }
    expect((await verifyToken(await forged(header, body), secrets.tokens, now)).kind).toBe('good')
    const headers = [
      { ...header, alg: 'none' },
      { ...header, alg: 'HS256' },
      { ...header, kid: '../x' },
      { ...header, kid: '__proto__' },
      { ...header, jku: 'https://x' },
      { typ: 'JWT', kid },
      {},
    ]
    for (const each of headers)
      expect((await verifyToken(await forged(each, body), secrets.tokens, now)).kind).toBe('bad')
    const bodies: object[] = [
      { ...body, iss: 'other' },
      { ...body, aud: ['zoetrope'] },
      { ...body, exp: body.iat + 601 },
      { ...body, exp: body.iat },
      { ...body, exp: String(body.exp) },
      { ...body, iat: body.iat + 60 },
      { ...body, admin: true },
      { ...body, scopes: ['everything'] },
      ...Object.keys(body).map((name) => Object.fromEntries(Object.entries(body).filter(([each]) => each !== name))),
    ]
    for (const each of bodies)
      expect((await verifyToken(await forged(header, each), secrets.tokens, now)).kind).toBe('bad')
    for (const each of ['', '.', '..', 'a.b.c', '.'.repeat(5000)]) {
      expect((await verifyToken(each, secrets.tokens, now)).kind).toBe('bad')
    }
  })

  it('of the secret before is still good while it is being replaced', async () => {
    const before = await deriveSecrets([btoa('fedcba9876543210fedcba9876543210')])
    const token = await signToken(claims(), before.tokens)
    expect((await verifyToken(token, secrets.tokens, now)).kind).toBe('good')
    const strangers = await deriveSecrets([btoa('another secret of thirty-two byt')])
    expect((await verifyToken(token, strangers.tokens, now)).kind).toBe('bad')
  })
})

describe('a signed address', () => {
  const good: UrlClaims = {
    method: 'GET',
    path: '/v1/videos/x/content',
    expires: now / 1000 + 900,
    tenant: 't',
    sha256: 'a'.repeat(64),
    selection: 'variant=video&index=0',
  }

  it('opens what it names and nothing else', async () => {
    const [key] = secrets.urls as [CryptoKey]
    const signature = await signUrl(key, good)
    expect(await verifyUrl(secrets.urls, good, signature, now)).toBe(true)
    const field = fc.constantFrom('method', 'path', 'expires', 'tenant', 'sha256', 'selection' as const)
    await fc.assert(
      fc.asyncProperty(field, fc.string(), fc.integer({ min: 1, max: 900 }), async (name, text, seconds) => {
        const other = { ...good, [name]: name === 'expires' ? good.expires - seconds : `${text}` }
        if (JSON.stringify(other) === JSON.stringify(good)) return
        expect(await verifyUrl(secrets.urls, other as UrlClaims, signature, now)).toBe(false)
      }),
      { numRuns: 500 },
    )
    // Parts that run into one another would let a tenant and a hash trade letters.
    const moved = { ...good, tenant: `${good.tenant}a`, sha256: 'a'.repeat(63) }
    expect(await signUrl(key, moved)).not.toBe(signature)
  })

  it('closes with its time and cannot be made to last', async () => {
    const [key] = secrets.urls as [CryptoKey]
    expect(await verifyUrl(secrets.urls, good, await signUrl(key, good), now + 901_000)).toBe(false)
    const long = { ...good, expires: good.expires + 3600 }
    expect(await verifyUrl(secrets.urls, long, await signUrl(key, long), now)).toBe(false)
  })
})

describe('a webhook address', () => {
  const allowed = (url: string): boolean => {
    try {
      publicUrl(url, '/url')
      return true
    } catch (error) {
      expect(error).toMatchObject({ code: 'invalid_parameter' })
      return false
    }
  }

  it('is https on a public host', () => {
    for (const url of [
      'https://app.dev/in',
      'https://hooks.app.co.uk/a?b=c',
      'https://xn--bcher-kva.ch/',
      'https://a-b.io',
    ]) {
      expect([url, allowed(url)]).toEqual([url, true])
    }
  })

  it('is no address in numbers, no private name, no other scheme or port', () => {
    const bad = [
      'http://app.dev/',
      'https://127.0.0.1/',
      'https://127.1/',
      'https://2130706433/',
      'https://0x7f000001/',
      'https://0177.0.0.1/',
      'https://[::1]/',
      'https://[::ffff:127.0.0.1]/',
      'https://[fd00::1]/',
      'https://10.0.0.1/',
      'https://169.254.169.254/latest',
      'https://①②⑦.⓪.⓪.①/',
      'https://localhost/',
      'https://LOCALHOST./',
      'https://app.localhost/',
      'https://metadata.google.internal/',
      'https://router.lan/',
      'https://printer.local/',
      'https://intranet/',
      'https://app.dev:8443/',
      'https://app.dev:80/',
      'https://user:pass@app.dev/',
      'https://user@app.dev/',
      'https://app.dev/#x',
      'https://app.dev\\@evil.dev/',
      ' https://app.dev/',
      'https://app.dev/\n',
      'https://app.dev/a b',
      'ftp://app.dev/',
      'file:///etc/passwd',
      'javascript:alert(1)',
      'https:///x',
      'https://',
      'app.dev',
      '',
      'https://app..dev/',
      'https://-app.dev/',
      'https://1.2.3.4.in-addr.arpa/',
      'https://x.onion/',
      'https://app.1/',
    ]
    for (const url of bad) expect([url, allowed(url)]).toEqual([url, false])
  })

  it('in any spelling of a number is refused', () => {
    const octet = fc.nat(255)
    const spelled = (value: number, way: number): string =>
      [`${value}`, `0x${value.toString(16)}`, `0${value.toString(8)}`][way] as string
    fc.assert(
      fc.property(
        octet,
        octet,
        octet,
        octet,
        fc.array(fc.nat(2), { minLength: 4, maxLength: 4 }),
        fc.nat(3),
        (a, b, c, d, ways, form) => {
          const parts = [a, b, c, d].map((value, index) => spelled(value, ways[index] as number))
          const whole = ((a << 24) >>> 0) + (b << 16) + (c << 8) + d
          const host = [
            parts.join('.'),
            String(whole),
            `0x${whole.toString(16)}`,
            `${parts[0]}.${(b << 16) + (c << 8) + d}`,
          ][form]
          expect(allowed(`https://${host}/`)).toBe(false)
        },
      ),
      { numRuns: 2_000 },
    )
  })
})

describe('base64', () => {
  it('is read only as it is written', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const own = Uint8Array.from(bytes)
        expect(fromBase64url(base64url(own))).toEqual(own)
      }),
    )
    for (const bad of ['QQ', 'QR==', 'Q===', 'QQ=', 'Q Q=', 'QQ==\n']) expect(fromBase64(bad)).toBeUndefined()
  })
})

describe('a range', () => {
  it('lies within the object, or is none', () => {
    fc.assert(
      fc.property(fc.nat(5_000), fc.nat(5_000), fc.integer({ min: 1, max: 4_000 }), (from, to, size) => {
        const span = spanOf(`bytes=${from}-${to}`, size)
        if (to < from) expect(span).toBeNull()
        else if (from >= size) expect(span).toBe('unsatisfiable')
        else expect(span).toEqual({ offset: from, length: Math.min(to, size - 1) - from + 1 })
      }),
    )
    expect(spanOf('bytes=-5', 10)).toEqual({ offset: 5, length: 5 })
    expect(spanOf('bytes=-50', 10)).toEqual({ offset: 0, length: 10 })
    expect(spanOf('bytes=-0', 10)).toBe('unsatisfiable')
    expect(spanOf('bytes=3-', 10)).toEqual({ offset: 3, length: 7 })
    for (const odd of ['bytes=', 'bytes=-', 'items=1-2', 'bytes=1-2,4-5', 'bytes=a-b', ''])
      expect(spanOf(odd, 10)).toBeNull()
  })
})
