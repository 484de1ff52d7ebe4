import fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { verifyWebhook } from './webhook.ts'

const secret = `whsec_${btoa('a secret of thirty-two bytes, yes')}`
const now = 1_800_000_000_000
const at = new Date(now)
const body = '{"type":"video.completed","timestamp":"2027-01-15T08:00:00Z","data":{"id":"vid_1","status":"completed"}}'
const signed = (id: string, text: string, when = at, by = secret) => new Webhook(by).sign(id, when, text)
const headersOf = (id = 'msg_1', when = at, signature = signed(id, body, when)) => ({
  'webhook-id': id,
  'webhook-timestamp': String(Math.floor(when.getTime() / 1000)),
  'webhook-signature': signature,
})
const verify = (headers: Record<string, string>, text = body, secrets: string | string[] = secret) =>
  verifyWebhook(headers, text, { secret: secrets, now })

describe('verifyWebhook', () => {
  it('accepts what the reference library signs, whatever id and body', async () => {
    await fc.assert(
      fc.asyncProperty(fc.stringMatching(/^[a-zA-Z0-9_-]{1,40}$/), fc.jsonValue(), async (id, value) => {
        const text = JSON.stringify(value)
        expect(JSON.stringify(await verify(headersOf(id, at, signed(id, text)), text))).toBe(
          JSON.stringify(JSON.parse(text)),
        )
      }),
      { seed: 11, numRuns: 200 },
    )
  })

  it('refuses every changed byte that the reference library refuses', async () => {
    const headers = headersOf()
    await fc.assert(
      fc.asyncProperty(fc.nat(body.length - 1), fc.integer({ min: 1, max: 127 }), async (place, mask) => {
        const changed =
          body.slice(0, place) + String.fromCharCode(body.charCodeAt(place) ^ mask) + body.slice(place + 1)
        await expect(verify(headers, changed)).rejects.toMatchObject({ code: 'forbidden' })
      }),
      { seed: 12, numRuns: 300 },
    )
  })

  it('takes five minutes either way and no second more', async () => {
    const off = (seconds: number) => headersOf('msg_1', new Date(now + seconds * 1000))
    for (const seconds of [-300, -299, 0, 299, 300]) await expect(verify(off(seconds))).resolves.toBeDefined()
    for (const seconds of [-301, 301, -86_400]) await expect(verify(off(seconds))).rejects.toThrow('300 s off')
  })

  it('knows both secrets while one is rotated, and only version 1', async () => {
    const other = `whsec_${btoa('another secret, just as long, ok!')}`
    const [old, fresh] = [signed('msg_1', body), signed('msg_1', body, at, other)]
    await expect(verify(headersOf('msg_1', at, `${old} ${fresh}`), body, other)).resolves.toBeDefined()
    await expect(verify(headersOf('msg_1', at, old), body, [other, secret])).resolves.toBeDefined()
    await expect(verify(headersOf('msg_1', at, old), body, other)).rejects.toThrow('no v1 signature')
    await expect(verify(headersOf('msg_1', at, old.replace('v1,', 'v99,')))).rejects.toThrow('no v1 signature')
  })

  const refused: Readonly<Record<string, Partial<Record<string, string>>>> = {
    'a timestamp that is no plain number': { 'webhook-timestamp': '1.8e9' },
    'a timestamp with a sign': { 'webhook-timestamp': '+1800000000' },
    'an id with a dot, which would move the boundary': { 'webhook-id': 'msg.1' },
    'an empty signature': { 'webhook-signature': '' },
    'a signature in another spelling of base64': { 'webhook-signature': `${signed('msg_1', body).replace(/=$/, '')}` },
  }
  for (const [name, change] of Object.entries(refused)) {
    it(`refuses ${name}`, async () => {
      await expect(verify({ ...headersOf(), ...change } as Record<string, string>)).rejects.toMatchObject({
        code: 'forbidden',
      })
    })
  }

  it('refuses a missing header by its name', async () => {
    await expect(verify({ 'webhook-id': 'a' })).rejects.toThrow('webhook-timestamp is missing')
  })
})
