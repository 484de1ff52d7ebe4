/**
 * Runs in two places: the engine of a page, here on wasm, with the real Worker and the real node as `npm start` starts them.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { freePort } from '../models/node/start/ports.ts'
import { GenerationError } from '../shared/errors.ts'
import { developmentKey } from '../test/development-key.ts'
import { deviceHere, engineHere, modelSite, threadsHere } from '../test/engine-here.ts'
import { ended, launch, ready, type Started } from '../test/started.ts'
import type { StaticServer } from '../test/static-server.ts'
import { toyFolder } from '../test/toy-folder.ts'
import { type Client, type CreateOptions, clientOver } from './client.ts'
import type { EngineThread } from './engine-thread.ts'
import type { ClientEvent, JobState, Output, VideoRequest } from './events.ts'
import { serviceAt } from './http.ts'
import type { Hybrid } from './hybrid.ts'

let models: string
let port: number
let stack: Started
let site: StaticServer
let device: EngineThread

beforeAll(async () => {
  models = await mkdtemp(join(tmpdir(), 'zoetrope-hybrid-'))
  await toyFolder(models)
  await toyFolder(models, { id: 'zt-toy-student', guided: true })
  port = await freePort(21_500)
  const nodePort = await freePort(21_505)
  // Many short jobs, one after another.
  const environment = { DEVELOPMENT_KEY: developmentKey, JOBS_BURST: '1000', DEFAULT_MODEL: 'zt-toy' }
  stack = await ready(launch({ port, nodePort, models, environment }))
  site = await modelSite(models, ['zt-toy', 'zt-toy-student'])
  device = engineHere(site.url)
  for (const model of ['zt-toy', 'zt-toy-student']) await device.prefetch(model, forever, () => {})
}, 240_000)

afterAll(async () => {
  await ended(stack, port)
  await site?.[Symbol.asyncDispose]()
  await rm(models, { recursive: true, force: true })
}, 60_000)

afterEach(() => vi.unstubAllGlobals())

const forever = new AbortController().signal

const clientWith = (thread: EngineThread = device, fetch = globalThis.fetch): Client =>
  clientOver({
    threads: threadsHere(thread),
    service: { ...serviceAt(stack.address, async () => developmentKey), fetch },
    probe: deviceHere,
    inferenceMode: 'prefer_on_device',
  })

interface Run {
  readonly state: JobState
  readonly events: readonly ClientEvent[]
}

async function run(request: VideoRequest, options: CreateOptions = {}, client = clientWith()): Promise<Run> {
  const job = await client.videos.create(request, options)
  const events: ClientEvent[] = []
  for await (const event of job.events()) events.push(event)
  return { state: await job.result(), events }
}

/** The numbers of an output of latents, made here or at the service. */
async function numbersOf({ blob, url }: Output): Promise<Float32Array> {
  const bytes = blob === undefined ? await (await fetch(url)).arrayBuffer() : await blob.arrayBuffer()
  return new Float32Array(bytes)
}

const latentsOf = async (request: VideoRequest, options?: CreateOptions): Promise<Float32Array[]> => {
  const { state } = await run({ ...request, outputFormat: 'latents' }, options)
  return Promise.all(state.outputs.map(numbersOf))
}

const distance = (one: Float32Array | undefined, other: Float32Array | undefined): number => {
  if (one === undefined || other === undefined || one.length !== other.length) return Number.POSITIVE_INFINITY
  return one.reduce((most, value, at) => Math.max(most, Math.abs(value - (other[at] as number))), 0)
}

const framesOf = (events: readonly ClientEvent[]): number[] =>
  events.flatMap((event) => (event.type === 'part' && 'pixels' in event.part ? Array.from(event.part.pixels) : []))

const only = <Item>([item]: readonly Item[]): Item => item as Item

const request: VideoRequest = { prompt: 'a blue bird flies left over the sea', seed: 5, outputFormat: 'gif' }
const student: VideoRequest = { ...request, model: 'zt-toy-student', numInferenceSteps: 8 }
const longer: VideoRequest = { ...request, model: 'zt-toy', numInferenceSteps: 32 }
const here: VideoRequest = { ...student, inferenceMode: 'only_on_device' }
const there: VideoRequest = { ...student, inferenceMode: 'only_in_cloud' }

describe('a run in two places', { timeout: 240_000 }, () => {
  const cutsOf = (first: 'in_cloud' | 'on_device', steps: readonly number[]): readonly Hybrid[] =>
    steps.map((step) => ({ first, step }))

  it.each([
    ['begun in the cloud', cutsOf('in_cloud', [1, 2, 3, 4, 5, 6, 7, 8])],
    ['begun here', cutsOf('on_device', [1, 2, 3, 4, 5, 6, 7, 8])],
  ])('is the whole run within a thousandth, %s and cut after any of the eight rows of a student', async (_, cuts) => {
    const wholes = [only(await latentsOf(here)), only(await latentsOf(there))]
    expect(wholes[0]?.some((value) => Math.abs(value) > 0.1)).toBe(true)
    for (const hybrid of cuts) {
      const cut = only(await latentsOf(student, { hybrid }))
      for (const whole of wholes) expect([hybrid, distance(cut, whole)]).toEqual([hybrid, expect.closeTo(0, 3)])
    }
  })

  it('is the whole run of thirty-two guided rows too, wherever it is cut', async () => {
    const whole = only(await latentsOf({ ...longer, inferenceMode: 'only_on_device' }))
    for (const hybrid of [...cutsOf('in_cloud', [1, 13, 31]), ...cutsOf('on_device', [7, 31])]) {
      const cut = only(await latentsOf(longer, { hybrid }))
      expect([hybrid, distance(cut, whole)]).toEqual([hybrid, expect.closeTo(0, 3)])
    }
  })

  it('is told as one job, with what its halves were', async () => {
    const { state, events } = await run(student, { hybrid: { first: 'in_cloud', step: 3 } })
    expect(state).toMatchObject({ status: 'completed', inferenceSource: 'hybrid', routingReason: 'latent_handoff' })
    expect(state.receipt).toMatchObject({ inference_source: 'hybrid', split_step: 3, seed: 5 })
    expect(state.id).toMatch(/^vid_local_/)
    const values = events.flatMap((event) => (event.type === 'progress' && event.value > 0 ? [event.value] : []))
    expect(values).toEqual([...values].sort((one, other) => one - other))
    const sources = events.flatMap((event) => (event.type === 'status' ? [event.job.inferenceSource] : []))
    expect(new Set(sources)).toEqual(new Set(['hybrid']))
    expect(state.outputs.map(({ format, index }) => [format, index])).toEqual([['gif', 0]])
  })

  it('is only decoded here where the cloud has done all its rows', async () => {
    const whole = await run(here)
    const decoded = await run(student, { hybrid: { first: 'in_cloud', step: 8 } })
    const steps = decoded.events.flatMap((event) => (event.type === 'preview' && event.frames ? [event.step] : []))
    // A row taken here would have shown its estimate.
    expect(steps).toEqual([])
    const [one, other] = [framesOf(whole.events), framesOf(decoded.events)]
    expect(one.length).toBe(5 * 32 * 32 * 3)
    expect(Math.max(...one.map((value, at) => Math.abs(value - (other[at] as number))))).toBeLessThanOrEqual(1)
  })

  it.each<Hybrid>([
    { first: 'in_cloud', step: 2 },
    { first: 'on_device', step: 2 },
  ])('keeps seed 0, a batch and a negative prompt: %o', async (hybrid) => {
    const asked: VideoRequest = { ...longer, numInferenceSteps: 4, negativePrompt: 'snow', seed: 0, n: 2 }
    const { state } = await run({ ...asked, outputFormat: 'latents' }, { hybrid })
    expect([state.seed, state.outputs.map(({ index }) => index)]).toEqual([0, [0, 1]])
    const alone = { ...asked, n: 1, inferenceMode: 'only_on_device' } as const
    for (const [index, output] of state.outputs.entries()) {
      const cut = await numbersOf(output)
      expect(distance(cut, only(await latentsOf({ ...alone, seed: index })))).toBeLessThan(1e-3)
      const { negativePrompt: _, ...without } = alone
      expect(distance(cut, only(await latentsOf({ ...without, seed: index })))).toBeGreaterThan(1e-2)
    }
  })

  it('of a draft shows the draft and draws over it in the cloud, from where its strength says', async () => {
    const drawn: VideoRequest = { ...longer, numInferenceSteps: 8, outputFormat: 'latents' }
    const hybrid: Hybrid = { first: 'draft', model: 'zt-toy-student', strength: 0.5 }
    const { state, events } = await run(drawn, { hybrid })
    expect(state).toMatchObject({ status: 'completed', inferenceSource: 'hybrid', routingReason: 'draft_refine' })
    expect(state.receipt).toMatchObject({ model: 'zt-toy', split_step: 4 })
    // The student's four rows, each with a look at the clip.
    expect(events.filter((event) => event.type === 'preview').length).toBeGreaterThan(0)
    const result = await numbersOf(only(state.outputs))
    const [again] = await latentsOf(drawn, { hybrid })
    expect(distance(result, again)).toBeLessThan(1e-6)
    expect(distance(result, only(await latentsOf(drawn, { hybrid: { ...hybrid, strength: 0.9 } })))).toBeGreaterThan(
      1e-2,
    )
    expect(distance(result, only(await latentsOf({ ...drawn, inferenceMode: 'only_in_cloud' })))).toBeGreaterThan(1e-2)
  })

  it('is whole in the cloud, and says so, where the device fails in its half', async () => {
    const broken: EngineThread = {
      ...device,
      // biome-ignore lint/correctness/useYield: it fails before it could.
      generate: async function* () {
        throw new GenerationError('device_lost', 'the GPU is gone')
      },
    }
    const { state, events } = await run(student, { hybrid: { first: 'in_cloud', step: 3 } }, clientWith(broken))
    expect(state).toMatchObject({ status: 'completed', inferenceSource: 'in_cloud' })
    expect(events).toContainEqual(expect.objectContaining({ type: 'warning', code: 'device_failed_midway' }))
  })

  it('is whole in one place where the mode or the device rules the other out', async () => {
    const hybrid: Hybrid = { first: 'in_cloud', step: 3 }
    const client = clientWith()
    const routeOf = async (more: VideoRequest) => {
      const { source, reason } = await client.videos.route({ ...student, ...more }, { hybrid })
      return [source, reason]
    }
    expect(await routeOf({ prompt: 'a fox' })).toEqual(['hybrid', 'latent_handoff'])
    expect(await routeOf({ prompt: 'a fox', inferenceMode: 'only_on_device' })).toEqual(['on_device', 'mode_forced'])
    expect(await routeOf({ prompt: 'a fox', inferenceMode: 'only_in_cloud' })).toEqual(['in_cloud', 'mode_forced'])
  })

  it('is refused where the plan cannot be cut', async () => {
    await expect(run(student, { hybrid: { first: 'in_cloud', step: 9 } })).rejects.toMatchObject({
      code: 'invalid_parameter',
      message: expect.stringContaining('this plan can be left at 1, 2, 3, 4, 5, 6, 7, 8'),
    })
  })
})

describe('a run in the cloud that begins from a similar one', { timeout: 240_000 }, () => {
  it('is the whole run, where the words are the same, and says that it is not', async () => {
    const asked: VideoRequest = { ...there, seed: 77, cache: { similar: true } }
    const first = await run({ ...asked, outputFormat: 'gif' })
    expect(first.state.cache).toEqual({ status: 'miss' })
    const { state } = await run({ ...asked, outputFormat: 'latents' })
    expect(state.cache).toEqual({ status: 'similar', score: 1, job: first.state.id, step: 4 })
    expect([state.warnings, state.receipt?.split_step]).toEqual([[], 4])
    const whole = only(await latentsOf({ ...there, seed: 77 }))
    expect(distance(await numbersOf(only(state.outputs)), whole)).toBeLessThan(1e-6)
  })
})

describe('prompts embedded by the service', { timeout: 240_000 }, () => {
  it('are what the clip is drawn from, so that no text is encoded here', async () => {
    const other = 'a red fox jumps in the snow'
    /** Sends another prompt on the way. */
    const swapping: typeof fetch = (url, init) => {
      const asked = String(url).endsWith('/embeddings/prompt')
      const body = asked ? JSON.stringify({ ...JSON.parse(String(init?.body)), prompt: other }) : init?.body
      return globalThis.fetch(url, { ...init, ...(body === undefined ? {} : { body }) } as RequestInit)
    }
    for (const asked of [here, { ...longer, numInferenceSteps: 4, inferenceMode: 'only_on_device' } as const]) {
      const own = only(await latentsOf(asked))
      const embedded = only(await latentsOf(asked, { textEncoder: 'in_cloud' }))
      // They travel in half precision.
      expect(distance(own, embedded)).toBeLessThan(0.02)
      const swapped = await run(
        { ...asked, outputFormat: 'latents' },
        { textEncoder: 'in_cloud' },
        clientWith(device, swapping),
      )
      const [drawn, wanted] = [
        await numbersOf(only(swapped.state.outputs)),
        only(await latentsOf({ ...asked, prompt: other })),
      ]
      expect(distance(drawn, wanted)).toBeLessThan(0.02)
      expect(distance(drawn, own)).toBeGreaterThan(0.1)
    }
  })
})

describe('weights that are still to come', { timeout: 240_000 }, () => {
  /** An engine with nothing in its store, whose weights come when they are let. */
  function cold(): { thread: EngineThread; release: () => void; fails: (error: GenerationError) => void } {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    promise.catch(() => {})
    const fresh = engineHere(site.url)
    const prefetch: EngineThread['prefetch'] = async (...words) => {
      await promise
      return fresh.prefetch(...words)
    }
    return { thread: { ...fresh, prefetch }, release: resolve, fails: reject }
  }
  const jobs = async () => {
    const answer = await fetch(`${stack.address}/v1/videos?limit=100`, {
      headers: { authorization: `Bearer ${developmentKey}` },
    })
    return ((await answer.json()) as { data: { id: string; status: string }[] }).data
  }

  it('do not hold a clip up: the service draws it, as one job', async () => {
    const { thread, release } = cold()
    const before = (await jobs()).length
    const { state } = await run({ ...student, seed: 60 }, {}, clientWith(thread))
    expect(state).toMatchObject({
      status: 'completed',
      inferenceSource: 'in_cloud',
      routingReason: 'weights_not_cached',
    })
    expect((await jobs()).length).toBe(before + 1)
    release()
  })

  it('let the device take over when they are here, and the service’s job is cancelled then', async () => {
    const { thread, release } = cold()
    // Too long for the service to end first.
    const asked: VideoRequest = { ...longer, numInferenceSteps: 64, numFrames: 17, size: '64x64', seed: 61, n: 4 }
    const started = await clientWith({
      ...thread,
      // The device is quick at it: it draws one small clip in place of four large ones.
      generate: (sent, signal) =>
        thread.generate(
          {
            ...sent,
            request: { ...(sent.request as object), n: 1, size: '32x32', num_inference_steps: 1, num_frames: 5 },
          },
          signal,
        ),
    }).videos.create(asked)
    for await (const event of started.events()) if (event.type === 'progress') break
    release()
    const state = await started.result()
    expect(state).toMatchObject({ status: 'completed', inferenceSource: 'on_device', id: started.id, seed: 61 })
    expect(started.id).toMatch(/^vid_(?!local)/)
    await vi.waitFor(
      async () => expect((await jobs()).find(({ id }) => id === started.id)?.status).toBe('cancelled'),
      60_000,
    )
  })

  it('that never come leave the service’s answer', async () => {
    const { thread, fails } = cold()
    fails(new GenerationError('offline', 'no weights today'))
    const { state } = await run({ ...student, seed: 62 }, {}, clientWith(thread))
    expect(state).toMatchObject({ status: 'completed', inferenceSource: 'in_cloud' })
  })
})
