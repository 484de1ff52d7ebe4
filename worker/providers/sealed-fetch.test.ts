import Replicate from 'replicate'
import { describe, expect, it } from 'vitest'
import { sealedFetch } from './sealed-fetch.ts'

const never = new AbortController().signal

/** What the official client does with a network that behaves so, behind the seal and without it. */
async function posts(network: () => Promise<Response>, sealed: boolean) {
  let sent = 0
  const send = (async () => {
    sent += 1
    return network()
  }) as unknown as typeof fetch
  const seal = sealedFetch(send, 30_000, never)
  const client = new Replicate({ auth: 'r8_x', fetch: sealed ? seal.fetch : send })
  const outcome = client.request('/predictions', { method: 'POST', data: { input: {} } })
  await Promise.race([outcome.catch(() => undefined), enough(() => sent > 1)])
  return { sent, outcome: seal.outcome() }
}

/** Resolves once a condition holds, turning the event loop over rather than waiting. */
async function enough(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 2_000 && !condition(); turn++) await new Promise((resolve) => setTimeout(resolve, 0))
}

const networks: Readonly<Record<string, () => Promise<Response>>> = {
  'a reset': () => Promise.reject(new TypeError('connection reset')),
  'a 429': async () => new Response('{}', { status: 429, headers: { 'retry-after': '0' } }),
  'a 500': async () => new Response('{}', { status: 500 }),
  'a 503 with a page': async () => new Response('<html>', { status: 503 }),
  'a redirect': async () => new Response(null, { status: 307, headers: { location: 'https://elsewhere.example' } }),
  'a 201': async () => new Response('{"id":"p1"}', { status: 201 }),
}

describe('a sealed dispatch', () => {
  for (const [name, network] of Object.entries(networks)) {
    it(`is exactly one POST on ${name}`, async () => {
      const { sent, outcome } = await posts(network, true)
      expect([sent, outcome.kind]).toEqual([1, name === 'a reset' ? 'thrown' : 'response'])
    })
  }

  it('matters: without the seal the client repeats a lost POST', async () => {
    const { sent } = await posts(networks['a 429'] as () => Promise<Response>, false)
    expect(sent).toBeGreaterThan(1)
  })

  it('keeps the answer and the time to wait, and refuses a second request without a network', async () => {
    let sent = 0
    const busy = async () => {
      sent += 1
      return new Response('busy', { status: 429, headers: { 'retry-after': '7' } })
    }
    const seal = sealedFetch(busy as unknown as typeof fetch, 30_000, never)
    expect((await seal.fetch('https://a.example')).status).toBe(424)
    expect((await seal.fetch('https://a.example')).status).toBe(424)
    expect(sent).toBe(1)
    expect(seal.outcome()).toEqual({ kind: 'response', status: 429, retryAfter: '7', body: 'busy' })
  })
})
