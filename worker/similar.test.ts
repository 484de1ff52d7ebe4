import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { Job } from '../shared/job.ts'
import { bindings, mintFor, newTenant } from './front-door.ts'
import { inside } from './inside.ts'

const at = inside()

const [bird, robin, fox] = ['a blue bird flies left', 'the blue bird flies to the left', 'a fox'] as const
/** As like the bird as its cosine says. */
const like = (cosine: number) => [cosine, Math.sqrt(1 - cosine ** 2), 0, 0]
const similar = { cache: { similar: true } }

beforeEach(() => {
  for (const [prompt, meaning] of [
    [bird, like(1)],
    [robin, like(0.97)],
    [fox, like(0.5)],
  ] as const)
    at.upstream.node.meanings.set(prompt, meaning)
})

const inputOf = ({ id }: Job) => at.upstream.node.predictions.get(`${id}-1`)?.input
const runs = () => at.upstream.node.predictions.size
const keptOf = ({ id }: Job) => at.upstream.node.predictions.get(`${id}-1`)?.kept?.envelope
const codes = ({ warnings }: Job) => warnings.map(({ code }) => code)

/** A run of the bird that left latents. */
const donor = async (who = at.caller, fields: object = {}) => {
  const job = await who.run({ prompt: bird, seed: 7, ...similar, ...fields })
  expect([job.cache, inputOf(job)?.keep_step, keptOf(job)?.step]).toEqual([{ status: 'miss' }, 4, 4])
  return job
}

/** What becomes of a request like the bird's. */
const follow = (who = at.caller, fields: object = {}) => who.run({ prompt: robin, ...similar, ...fields })

const expectOwnRun = (job: Job) => {
  expect([job.status, job.cache, inputOf(job)?.envelope]).toEqual(['completed', { status: 'miss' }, undefined])
}

describe('a request like one that left latents', () => {
  it('begins from these, takes their seed, runs the rows that are left, and says all of it', async () => {
    const first = await donor()
    const job = await follow()
    const cache = { status: 'similar', score: 0.97, job: first.id, step: 4 }
    expect([job.status, job.cache, job.seed, job.inference_source]).toEqual(['completed', cache, 7, 'in_cloud'])
    expect(inputOf(job)).toMatchObject({ prompt: robin, seed: 7, envelope: { step: 4, sha256: keptOf(first)?.sha256 } })
    expect(inputOf(job)).not.toHaveProperty('keep_step')
    expect(at.upstream.node.files.get(`sha256-${keptOf(first)?.sha256}`)?.length).toBe(keptOf(first)?.bytes)
    expect(job.receipt).toMatchObject({ split_step: 4, similar: { job: first.id, score: 0.97, step: 4 } })
    const events = await (await at.caller.call('GET', `/v1/videos/${job.id}/events`)).text()
    const told = [...events.matchAll(/^event: status\ndata: (.*)$/gm)].map(([, data]) => JSON.parse(data ?? '').job)
    expect(told.length).toBeGreaterThan(1)
    for (const status of told) expect(status.cache).toEqual(cache)
    // The bytes it began from are still the other's alone to erase.
    await at.caller.call('DELETE', `/v1/videos/${first.id}`)
    expect(await bindings.BUCKET.head(`t/${at.caller.tenant}/${keptOf(first)?.sha256}`)).toBeNull()
    expect((await at.caller.call('GET', `/v1/videos/${job.id}/content`)).status).toBe(200)
  })

  it('is told so in a quote, which runs nothing', async () => {
    const first = await donor()
    const answer = await at.caller.call('POST', '/v1/videos/quote', { prompt: robin, seed: 7, ...similar })
    expect(await answer.json()).toMatchObject({
      cache: { status: 'similar', score: 0.97, job: first.id, step: 4 },
      content_key: null,
    })
    expect(runs()).toBe(1)
  })

  it('begins from the likest of several', async () => {
    const first = await donor()
    at.upstream.node.meanings.set('a bird', like(0.96))
    await at.caller.run({ prompt: 'a bird', seed: 8, cache: { similar: true, min_score: 1 } })
    expect((await follow()).cache.job).not.toBe(first.id)
  })

  it('runs whole where nobody asked: neither is it given a start, nor does it leave one', async () => {
    const unasked = await at.caller.run({ prompt: bird, seed: 7 })
    expect(inputOf(unasked)).not.toHaveProperty('keep_step')
    expectOwnRun(await follow())
    expectOwnRun(await at.caller.run({ prompt: bird, seed: 9 }))
  })

  it('runs whole where it is less like than it asks for', async () => {
    await donor()
    expectOwnRun(await follow(at.caller, { cache: { similar: true, min_score: 0.98 } }))
    expectOwnRun(await at.caller.run({ prompt: fox, ...similar }))
    expect(
      (await follow(at.caller, { cache: { similar: true, min_score: 0.8 }, negative_prompt: '' })).cache.status,
    ).toBe('similar')
  })

  it('is given nobody else’s start: of no other tenant, and of no other subject', async () => {
    const [alice, bob] = [await mintFor(at.caller, 'alice'), await mintFor(at.caller, 'bob')]
    await donor(alice)
    for (const other of [bob, at.caller, await newTenant()]) expectOwnRun(await follow(other))
    expect((await follow(alice)).cache.status).toBe('similar')
  })

  it('runs whole where anything else that decides latents differs', async () => {
    await donor()
    const others: object[] = [
      { seed: 8 },
      { size: '80x64' },
      { num_frames: 13 },
      { num_inference_steps: 9 },
      { guidance_scale: 2 },
      { negative_prompt: 'rain' },
    ]
    for (const fields of others) expectOwnRun(await follow(at.caller, fields))
    expect((await follow(at.caller, { seed: 7, fps: 8, output_format: 'mp4' })).cache.status).toBe('similar')
  })

  it('of the same prompt is another clip where it names no seed', async () => {
    await donor()
    expectOwnRun(await at.caller.run({ prompt: bird, ...similar }))
  })

  it('is given the exact result where there is one', async () => {
    const first = await donor()
    const again = await at.caller.run({ prompt: bird, seed: 7, ...similar })
    expect([again.cache, again.outputs[0]?.sha256, runs()]).toEqual([{ status: 'hit' }, first.outputs[0]?.sha256, 1])
  })

  it('runs whole from a model or a request that leaves nothing to begin from, and is told so', async () => {
    await donor()
    for (const fields of [{ n: 2 }, { model: 'wan-2.2-t2v-fast' }, { stop_step: 3 }, { scheduler: 'dpm2m' }]) {
      const answer = await at.caller.call('POST', '/v1/videos/quote', { prompt: robin, ...similar, ...fields })
      const { cache, warnings } = (await answer.json()) as Job
      const unsupported = { code: 'similar_unsupported', pointer: '/cache/similar', requested: true, effective: false }
      expect([cache, warnings]).toEqual([{ status: 'miss' }, expect.arrayContaining([unsupported])])
    }
    const job = await follow(at.caller, { n: 2 })
    expectOwnRun(job)
    expect(codes(job)).toEqual(['similar_unsupported'])
  })

  it('runs whole where its prompt cannot be embedded, and is told so', async () => {
    await donor()
    for (const fault of ['reset', 503, 'late'] as const) {
      at.upstream.node.embeddingFaults.push(fault)
      const job = await follow()
      expect([job.status, job.cache.status, codes(job)]).toEqual(['completed', 'miss', ['similar_unavailable']])
    }
  })
})

describe('the result of a similar start', () => {
  it('is given to no exact request, and not stored under its key', async () => {
    await donor()
    const job = await follow()
    const exact = await at.caller.run({ prompt: robin, seed: job.seed })
    expectOwnRun(exact)
    expect([exact.content_key, job.content_key]).toEqual([
      expect.stringMatching(/^zt1_[\w-]{43}$/),
      expect.not.stringMatching(/^zt1_[\w-]{43}$/),
    ])
    // From here on the exact one is what there is.
    expect((await follow(at.caller, { seed: job.seed })).cache).toEqual({ status: 'hit' })
  })

  it('is given again to the same request, still as similar and for nothing', async () => {
    const first = await donor()
    const [job, again] = [await follow(), await follow()]
    expect([again.cache, again.usage.cached, runs()]).toEqual([
      { status: 'similar', score: 0.97, job: first.id, step: 4 },
      true,
      2,
    ])
    expect([again.routing_reason, again.content_key]).toEqual([job.routing_reason, job.content_key])
    expect(again.routing_reason).not.toBe('exact_cache_hit')
  })

  it('is no start for another', async () => {
    const first = await donor()
    await follow()
    at.upstream.node.meanings.set('the bird', like(0.971))
    expect((await at.caller.run({ prompt: 'the bird', ...similar })).cache.job).toBe(first.id)
  })
})

describe('latents that were left', () => {
  it('are gone with the job that left them', async () => {
    const first = await donor()
    await at.caller.call('DELETE', `/v1/videos/${first.id}`)
    expectOwnRun(await follow())
  })

  it('are gone when its result is', async () => {
    const first = await donor()
    await runInDurableObject(at.account(), (_, { storage }) => {
      storage.sql.exec('UPDATE executions SET expires_at = 1 WHERE id = ?', first.id)
    })
    expectOwnRun(await follow())
    await runDurableObjectAlarm(at.account())
    expect(await bindings.BUCKET.head(`t/${at.caller.tenant}/${keptOf(first)?.sha256}`)).toBeNull()
  })

  it('stay for a run that has begun from them, though the job is erased meanwhile', async () => {
    const first = await donor()
    at.upstream.node.faults.push('rate_limited', 'rate_limited')
    const job = await at.caller.create({ prompt: robin, ...similar })
    await at.caller.call('DELETE', `/v1/videos/${first.id}`)
    await (await at.caller.call('GET', `/v1/videos/${job.id}/events`)).text()
    const ended = (await (await at.caller.call('GET', `/v1/videos/${job.id}`)).json()) as Job
    expect([ended.status, ended.cache.status]).toEqual(['completed', 'similar'])
    await at.caller.call('DELETE', `/v1/videos/${job.id}`)
    expect(await bindings.BUCKET.head(`t/${at.caller.tenant}/${keptOf(first)?.sha256}`)).toBeNull()
  })

  it('that are not what they say are not kept, and the job is none the worse', async () => {
    at.upstream.node.spoilsLatents = true
    const silent = vi.spyOn(console, 'warn').mockReturnValue()
    await donor()
    silent.mockRestore()
    expectOwnRun(await follow())
  })
})
