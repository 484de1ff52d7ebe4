import fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { utf8 } from './bytes.ts'
import { secretBytes, secretText, signedHeaders, verifyDelivery } from './standard-webhooks.ts'

const secret = crypto.getRandomValues(new Uint8Array(32))
const text = secretText(secret)
const reference = new Webhook(text)
const now = Date.now()
const seconds = Math.floor(now / 1000)
const body = '{"id":"pred-1","status":"succeeded"}'

const mine = async (headers: Record<string, string>, content: string, at = now) =>
  !('refused' in (await verifyDelivery(new Headers(headers), utf8(content), [secret], at)))

const theirs = (headers: Record<string, string>, content: string): boolean => {
  try {
    reference.verify(content, headers, { jsonParse: false } as never)
    return true
  } catch {
    return false
  }
}

describe('webhooks', () => {
  it('that we sign are accepted by the reference library, and the other way round', async () => {
    await fc.assert(
      fc.asyncProperty(fc.stringMatching(/^[!-\-/-~]{1,40}$/), fc.json(), async (id, content) => {
        const ours = await signedHeaders(id, seconds, utf8(content), [secret])
        expect(theirs(ours, content)).toBe(true)
        const signature = reference.sign(id, new Date(seconds * 1000), content)
        const other = { 'webhook-id': id, 'webhook-timestamp': String(seconds), 'webhook-signature': signature }
        expect(await mine(other, content)).toBe(true)
      }),
      { numRuns: 100 },
    )
  })

  it('with any change are refused, and never accepted where the reference refuses', async () => {
    const good = await signedHeaders('msg_1', seconds, utf8(body), [secret])
    const change = fc.record({
      header: fc.constantFrom('webhook-id', 'webhook-timestamp', 'webhook-signature', 'body'),
      at: fc.nat(),
      code: fc.integer({ min: 33, max: 126 }),
      way: fc.constantFrom('replace', 'insert', 'remove'),
    })
    const changed = (value: string, { at, code, way }: { at: number; code: number; way: string }): string => {
      const place = at % value.length
      const rest = way === 'insert' ? value.slice(place) : value.slice(place + 1)
      return value.slice(0, place) + (way === 'remove' ? '' : String.fromCharCode(code)) + rest
    }
    await fc.assert(
      fc.asyncProperty(change, async (what) => {
        const headers = { ...good }
        const content = what.header === 'body' ? changed(body, what) : body
        if (what.header !== 'body') headers[what.header] = changed(good[what.header] ?? '', what)
        if (content === body && headers[what.header] === good[what.header]) return
        const accepted = await mine(headers, content)
        if (accepted) expect(theirs(headers, content)).toBe(true)
        // A change that leaves another good signature is the one way through: a blank between two versions of it.
        expect(accepted).toBe(false)
      }),
      { numRuns: 1_000 },
    )
  })

  it('hold the window to the second: 300 are allowed, 301 are not, either way', async () => {
    for (const [skew, allowed] of [
      [0, true],
      [300, true],
      [-300, true],
      [301, false],
      [-301, false],
    ] as const) {
      const headers = await signedHeaders('msg_1', seconds + skew, utf8(body), [secret])
      expect([skew, await mine(headers, body, seconds * 1000)]).toEqual([skew, allowed])
    }
  })

  it('know v1 alone, among several signatures, under any secret that is still good', async () => {
    const headers = await signedHeaders('msg_1', seconds, utf8(body), [secret])
    const signature = headers['webhook-signature'] as string
    const value = signature.slice(3)
    const vectors: Readonly<Record<string, boolean>> = {
      [signature]: true,
      [`v1,AAAA ${signature}`]: true,
      [`v1a,${value} ${signature}`]: true,
      [`v0,${value}`]: false,
      [`v99,${value}`]: false,
      [`V1,${value}`]: false,
      [value]: false,
      [`v1,${value.replace(/=$/, '')}`]: false,
      [`v1,${value} `.trim().replace('v1,', 'v1,,')]: false,
      'v1,': false,
      '': false,
    }
    for (const [sent, allowed] of Object.entries(vectors)) {
      expect([sent, await mine({ ...headers, 'webhook-signature': sent }, body)]).toEqual([sent, allowed])
    }
    const older = crypto.getRandomValues(new Uint8Array(32))
    const rotated = await signedHeaders('msg_1', seconds, utf8(body), [older, secret])
    expect(await mine(rotated, body)).toBe(true)
  })

  it('with a timestamp that is no plain number, or an id with a dot, are refused though correctly signed', async () => {
    for (const [id, time] of [
      ['msg_1', '2001'],
      ['msg_1', `${seconds}.0`],
      ['msg_1', `+${seconds}`],
      ['msg_1', ` ${seconds} `.trim().padStart(12, '0')],
      ['msg_1', 'now'],
      ['msg_1', ''],
      ['msg.1', String(seconds)],
      ['', String(seconds)],
    ] as const) {
      const signature = reference.sign(id, new Date(seconds * 1000), body)
      const headers = { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': signature }
      expect([id, time, await mine(headers, body)]).toEqual([id, time, false])
    }
  })

  it('have secrets of sixteen bytes at least, written as they were made', () => {
    expect(secretBytes(text)).toEqual(secret)
    for (const bad of ['', 'whsec_', 'whsec_AAAA', text.slice(6), `${text}=`, text.replace('whsec_', 'whpk_')]) {
      expect(secretBytes(bad)).toBeUndefined()
    }
  })
})
