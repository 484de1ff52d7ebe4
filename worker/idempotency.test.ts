import { beforeAll, describe, expect, it } from 'vitest'
import { type Caller, callerWith, fakeUpstream, knock, newTenant } from './front-door.ts'

beforeAll(() => {
  fakeUpstream()
})

let tenant: Promise<Caller> | undefined
/** One tenant for all, made by the first test that needs it. */
const someone = (): Promise<Caller> => {
  tenant ??= newTenant()
  return tenant
}

const png = { kind: 'image', content_type: 'image/png', bytes: 10, sha256: '2'.repeat(64) }

/** What creates something, twice with the same key: a body, and one that differs. */
const creating: Readonly<Record<string, readonly [one: object, other: object]>> = {
  '/v1/videos': [{ prompt: 'a fox' }, { prompt: 'a cat' }],
  '/v1/assets': [png, { ...png, sha256: '3'.repeat(64) }],
  '/v1/tokens': [{ subject: 'alice' }, { subject: 'bob' }],
  '/v1/webhook_endpoints': [{ url: 'https://hooks.app.dev/one' }, { url: 'https://hooks.app.dev/two' }],
}

const idOf = (body: Record<string, unknown>) => body.id ?? body.jti

async function post(path: string, body: object, key: string) {
  const response = await (await someone()).call('POST', path, body, { 'idempotency-key': key })
  const told = response.headers.get('idempotency-replayed')
  return { status: response.status, told, body: (await response.json()) as Record<string, unknown> }
}

describe('an Idempotency-Key', () => {
  for (const [path, [one, other]] of Object.entries(creating)) {
    it(`makes one thing of two equal requests, and refuses another body: ${path}`, async () => {
      const first = await post(path, one, `key-of-${path}`)
      const reordered = Object.fromEntries(Object.entries(one).reverse())
      const again = await post(path, reordered, `key-of-${path}`)
      expect([first.told, again.told, again.status < 300]).toEqual([null, 'true', true])
      expect(idOf(again.body)).toBe(idOf(first.body))
      const reused = await post(path, other, `key-of-${path}`)
      expect([reused.status, reused.body.code]).toEqual([422, 'idempotency_key_reuse'])
      expect(idOf((await post(path, one, `another-${path}`)).body)).toBeDefined()
    })

    it(`of a crowd makes one thing: ${path}`, async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => post(path, one, `crowd-${path}`)))
      expect(new Set(answers.map(({ body }) => idOf(body))).size).toBe(1)
      expect(answers.filter(({ told }) => told === null)).toHaveLength(1)
    })
  }

  it('used on one route is spent on the others', async () => {
    await post('/v1/tokens', { subject: 'carol' }, 'everywhere')
    expect((await post('/v1/assets', png, 'everywhere')).body.code).toBe('idempotency_key_reuse')
  })

  it('gives the same token again, which works, and the same secret of an endpoint', async () => {
    const [one, again] = [
      await post('/v1/tokens', { subject: 'dora' }, 't'),
      await post('/v1/tokens', { subject: 'dora' }, 't'),
    ]
    expect(again.body).toEqual(one.body)
    const dora = callerWith(String(again.body.token), (await someone()).tenant)
    expect((await dora.call('GET', '/v1/videos')).status).toBe(200)
    const url = 'https://hooks.app.dev/three'
    const [made, given] = [
      await post('/v1/webhook_endpoints', { url }, 'e'),
      await post('/v1/webhook_endpoints', { url }, 'e'),
    ]
    expect(given.body).toEqual(made.body)
    const rotated = await post('/v1/webhook_endpoints', { url }, 'rotation')
    expect([rotated.body.id, rotated.body.secret === made.body.secret]).toEqual([made.body.id, false])
  })

  it('is given back by an asset that was deleted or whose bytes were refused', async () => {
    const one = await post('/v1/assets', { ...png, sha256: '4'.repeat(64) }, 'again')
    await (await someone()).call('DELETE', `/v1/assets/${one.body.id}`)
    const two = await post('/v1/assets', { ...png, sha256: '4'.repeat(64) }, 'again')
    expect([two.told, two.body.id === one.body.id]).toEqual([null, false])
    const { url } = two.body.upload as { url: string }
    expect((await knock(url.replace('https://edge.test', ''), { method: 'PUT', body: 'not a png!' })).status).toBe(415)
    const three = await post('/v1/assets', { ...png, sha256: '4'.repeat(64) }, 'again')
    expect([three.told, three.body.id === two.body.id, three.body.status]).toEqual([null, false, 'pending'])
  })
})
