import { beforeAll, describe, expect, it } from 'vitest'
import { allRoutes } from './app.ts'
import { sha256 } from './bytes.ts'
import type { Route } from './context.ts'
import { type Caller, callerWith, fakeUpstream, knock, mintFor, newTenant } from './front-door.ts'
import { newId } from './ids.ts'

/** Ids of things that exist and belong to one tenant, by the parameter and route they fit. */
interface Owned {
  readonly video: string
  readonly asset: string
  readonly token: string
  readonly endpoint: string
}

const principals = ['foreign key', 'foreign token', 'other subject', 'weak key', 'unknown key', 'none'] as const
type PrincipalName = (typeof principals)[number]

let owned: Owned
let owner: Caller
let alice: Caller
const callers = {} as Record<PrincipalName, Caller>

beforeAll(async () => {
  fakeUpstream()
  owner = await newTenant()
  alice = await mintFor(owner, 'alice')
  const job = await alice.run({ seed: 1 })
  const json = async (response: Promise<Response>) => (await response).json() as Promise<{ id: string; jti: string }>
  const asset = await json(
    alice.call('POST', '/v1/assets', { kind: 'image', content_type: 'image/png', bytes: 10, sha256: '0'.repeat(64) }),
  )
  const token = await json(owner.call('POST', '/v1/tokens', { subject: 'bob' }))
  const endpoint = await json(owner.call('POST', '/v1/webhook_endpoints', { url: 'https://hooks.app.dev/in' }))
  owned = { video: job.id, asset: asset.id, token: token.jti, endpoint: endpoint.id }
  const foreign = await newTenant()
  callers['foreign key'] = foreign
  callers['foreign token'] = await mintFor(foreign, 'alice')
  callers['other subject'] = await mintFor(owner, 'mallory')
  callers['weak key'] = await mintFor(foreign, 'reader', { scopes: [] })
  callers['unknown key'] = callerWith('zoe_live_aaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa00000000', 'nobody')
  callers.none = callerWith('', 'nobody')
})

const named = allRoutes.filter(({ path }) => path.includes('{') && !path.includes('{provider}'))

function idsOf({ path }: Route): readonly [theirs: string, unknown: string] {
  if (path.includes('assets')) return [owned.asset, newId('ast')]
  if (path.includes('tokens')) return [owned.token, newId('tok')]
  if (path.includes('webhook_endpoints')) return [owned.endpoint, newId('whe')]
  return [owned.video, newId('vid')]
}

/** Everything a caller can see, with the names of this request and its id taken out. */
async function seen(route: Route, caller: Caller, id: string): Promise<string> {
  const path = route.path.replace(/\{\w+\}/, id)
  const body = route.body === undefined ? undefined : {}
  const response = await caller.call(route.method, path, body)
  const headers = [...response.headers].filter(([name]) => name !== 'request-id' && name !== 'date').sort()
  const text = await response.text()
  return JSON.stringify([response.status, headers, text])
    .replaceAll(/req_[a-z2-7]{26}/g, 'req')
    .replaceAll(id, 'id')
}

describe('a foreign id', () => {
  for (const route of named) {
    for (const principal of principals) {
      it(`is byte for byte an unknown one: ${route.method} ${route.path}, ${principal}`, async () => {
        const [theirs, unknown] = idsOf(route)
        const [one, other] = [
          await seen(route, callers[principal], theirs),
          await seen(route, callers[principal], unknown),
        ]
        expect(one).toBe(other)
        expect(Number(JSON.parse(one)[0])).toBeGreaterThanOrEqual(400)
      })
    }
  }
})

describe('a closed door', () => {
  for (const route of allRoutes.filter(({ access }) => access !== 'open')) {
    it(`stays closed without a credential: ${route.method} ${route.path}`, async () => {
      const path = route.path.replaceAll(/\{\w+\}/g, 'vid_aaaaaaaaaaaaaaaaaaaaaaaaaa')
      const response = await knock(path, { method: route.method, ...(route.body ? { body: '{}' } : {}) })
      expect([401, 404]).toContain(response.status)
      expect(response.headers.get('request-id')).toMatch(/^req_/)
    })
  }

  it('opens for the owner and for the key of its tenant, so that the matrix above means something', async () => {
    for (const caller of [alice, owner]) {
      expect((await caller.call('GET', `/v1/videos/${owned.video}`)).status).toBe(200)
      expect((await caller.call('GET', `/v1/assets/${owned.asset}`)).status).toBe(200)
    }
    expect(await (await callers['other subject'].call('GET', '/v1/videos')).json()).toMatchObject({ data: [] })
  })

  it('has no way round by what is the same: another subject’s bytes and keys are not given to it', async () => {
    const mallory = callers['other subject']
    const read = async (response: Promise<Response>) =>
      (await response).json() as Promise<{ id: string; status: string }>
    const kind = { kind: 'latent', content_type: 'application/octet-stream' }
    const bytes = new Uint8Array(8).fill(3)
    const fields = { ...kind, bytes: bytes.length, sha256: await sha256(bytes) }
    const [once, again] = [{ 'idempotency-key': 'the-same' }, { 'idempotency-key': 'one-more' }]
    const theirs = (await (await alice.call('POST', '/v1/assets', fields, once)).json()) as {
      readonly id: string
      readonly upload: { readonly url: string }
    }
    const address = theirs.upload.url.replace('https://edge.test', '')
    expect((await knock(address, { method: 'PUT', body: bytes })).status).toBe(200)
    const mine = await read(mallory.call('POST', '/v1/assets', fields, once))
    expect([mine.id === theirs.id, mine.status]).toEqual([false, 'pending'])
    expect((await read(alice.call('POST', '/v1/assets', fields))).id).toBe(theirs.id)
    const [one, other] = [await alice.create({ seed: 5 }, again), await mallory.create({ seed: 5 }, again)]
    expect(one.id).not.toBe(other.id)
    const begun = await mallory.call('POST', '/v1/videos', { prompt: 'a fox', init_latent: theirs.id })
    expect(begun.status).toBe(422)
  })
})
