import { Webhook } from 'standardwebhooks'
import { describe, expect, it, vi } from 'vitest'
import { fakeUpstream, knock, newTenant } from './front-door.ts'

interface Endpoint {
  readonly id: string
  readonly secret: string
}

describe('webhooks out', () => {
  it('tell each status once, signed so that the reference library accepts them', async () => {
    const upstream = fakeUpstream()
    const bodies: { type: string; data: { id: string } }[] = []
    const caller = await newTenant()
    const answer = await caller.call('POST', '/v1/webhook_endpoints', { url: 'https://hooks.app.dev/in' })
    const endpoint = (await answer.json()) as Endpoint
    const verifier = new Webhook(endpoint.secret)
    upstream.answerOthers = async (request) => {
      bodies.push(verifier.verify(await request.text(), Object.fromEntries(request.headers)) as (typeof bodies)[number])
      return new Response(null, { status: 204 })
    }
    const job = await caller.run({ seed: 1, webhook: { endpoint_id: endpoint.id } })
    await vi.waitFor(() => expect(bodies).toHaveLength(3), { timeout: 120_000 })
    expect(bodies.map(({ type }) => type)).toEqual(['video.queued', 'video.started', 'video.completed'])
    expect(new Set(bodies.map(({ data }) => data.id))).toEqual(new Set([job.id]))
  })

  it('are tried again after a failure, and a redirect is one', async () => {
    const upstream = fakeUpstream()
    let attempts = 0
    upstream.answerOthers = () => {
      attempts += 1
      return attempts === 1
        ? new Response(null, { status: 302, headers: { location: 'https://elsewhere.example/' } })
        : new Response(null, { status: 200 })
    }
    const caller = await newTenant()
    const webhook = { url: 'https://hooks.app.dev/one', events: ['video.completed'] }
    await caller.run({ seed: 1, webhook })
    await vi.waitFor(() => expect(attempts).toBe(2), { timeout: 120_000 })
    expect(new Set(upstream.others.map(({ url }) => url))).toEqual(new Set(['https://hooks.app.dev/one']))
  })

  it('sign with the old secret too for a day after it was replaced', async () => {
    const caller = await newTenant()
    const name = async () =>
      (await (
        await caller.call('POST', '/v1/webhook_endpoints', { url: 'https://hooks.app.dev/r' })
      ).json()) as Endpoint
    const [older, newer] = [await name(), await name()]
    expect([newer.id, newer.secret === older.secret]).toEqual([older.id, false])
    const upstream = fakeUpstream()
    const heard: (readonly [string, Record<string, string>])[] = []
    upstream.answerOthers = async (request) => {
      heard.push([await request.text(), Object.fromEntries(request.headers)])
      return new Response(null, { status: 200 })
    }
    await caller.run({ seed: 1, webhook: { endpoint_id: newer.id, events: ['video.completed'] } })
    await vi.waitFor(() => expect(heard).toHaveLength(1), { timeout: 120_000 })
    const [[body, headers]] = heard as [readonly [string, Record<string, string>]]
    for (const { secret } of [older, newer]) expect(new Webhook(secret).verify(body, headers)).toBeTruthy()
  })
})

describe('a provider’s hook', () => {
  it('wakes its job, whose result still comes from the provider’s own answer', async () => {
    const { node } = fakeUpstream()
    node.life = 'stuck'
    const caller = await newTenant()
    const job = await caller.create({ seed: 1 })
    await vi.waitFor(() => expect(node.predictions.size).toBe(1), { timeout: 120_000 })
    const [prediction] = [...node.predictions.values()] as [NonNullable<ReturnType<typeof node.predictions.get>>]
    const path = new URL(prediction.webhook as string).pathname
    const body = JSON.stringify({ id: prediction.id, status: 'succeeded', output: 'https://evil.example/x.mp4' })
    const send = async (address: string, headers: Headers, content = body) =>
      (await knock(address, { method: 'POST', body: content, headers })).status
    const good = () => node.signedHook('msg-1', body, Date.now())
    expect(await send(path, await good())).toBe(204)
    expect(await send(path, await good())).toBe(204)
    expect(await send(path, await node.signedHook('msg-2', body, Date.now() - 301_000))).toBe(403)
    expect(await send(path, await good(), `${body} `)).toBe(403)
    expect(await send(path, new Headers())).toBe(403)
    expect(await send(`${path.slice(0, -1)}${path.endsWith('A') ? 'B' : 'A'}`, await good())).toBe(404)
    expect(await send(path.replace('/1/', '/2/'), await good())).toBe(404)
    expect(await send(path, await good(), 'x'.repeat(262_145))).toBe(413)
    const other = await caller.create({ seed: 2 })
    expect(await send(path.replace(job.id, other.id), await good())).toBe(404)
    const now = (await (await caller.call('GET', `/v1/videos/${job.id}`)).json()) as { status: string }
    expect(['queued', 'in_progress']).toContain(now.status)
  })
})
