import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Receipt } from '../shared/receipt.ts'
import { engineHere, modelSite } from '../test/engine-here.ts'
import type { StaticServer } from '../test/static-server.ts'
import { toyFolder } from '../test/toy-folder.ts'
import type { EngineRequest } from './engine.ts'
import type { EngineThread } from './engine-thread.ts'

let models: string
let site: StaticServer
let engine: EngineThread

beforeAll(async () => {
  models = await mkdtemp(join(tmpdir(), 'zoetrope-engine-'))
  await toyFolder(models, { guided: true })
  site = await modelSite(models, ['zt-toy'])
  engine = engineHere(site.url)
})

afterAll(async () => {
  await site?.[Symbol.asyncDispose]()
  await rm(models, { recursive: true, force: true })
})

const request = { prompt: 'a fox jumps', seed: 0, n: 2, num_inference_steps: 8, output_format: 'latents' }

async function latentsOf(more: object, from?: EngineRequest['from']): Promise<Float32Array[]> {
  const found: Float32Array[] = []
  const sent = { request: { ...request, ...more }, seed: 9, ...(from === undefined ? {} : { from }) }
  for await (const event of engine.generate(sent, new AbortController().signal))
    if (event.type === 'output') found.push(new Float32Array(await event.output.blob.arrayBuffer()))
  return found
}

describe('a run of the engine that is cut in two', () => {
  it('gives the bits of the whole at every row, for each of a batch', async () => {
    const whole = await latentsOf({})
    expect(whole[0]).not.toEqual(whole[1])
    for (let step = 1; step <= 8; step++) {
      const halves = await latentsOf({ stop_step: step })
      const from = halves.map((data) => ({ data, step }))
      expect([step, await latentsOf({}, from)]).toEqual([step, whole])
      // Before the last row it is not the result yet, or nothing was cut.
      if (step < 8) expect(halves[0]).not.toEqual(whole[0])
    }
  })

  it('goes on from its own checkpoint in its second half, too', async () => {
    const [half] = await latentsOf({ stop_step: 3, n: 1, seed: 4 })
    const from = [{ data: half as Float32Array, step: 3 }]
    const stop = new AbortController()
    const steps: number[] = []
    const heard = async (signal: AbortSignal, until: number) => {
      const found: Float32Array[] = []
      for await (const event of engine.generate({ request: { ...request, n: 1, seed: 4 }, seed: 9, from }, signal)) {
        if (event.type === 'preview') steps.push(event.step)
        if (event.type === 'preview' && event.step === until) stop.abort(new Error('enough'))
        if (event.type === 'output') found.push(new Float32Array(await event.output.blob.arrayBuffer()))
      }
      return found
    }
    await expect(heard(stop.signal, 5)).rejects.toThrow('enough')
    const resumed = await heard(new AbortController().signal, 99)
    expect(steps).toEqual([4, 5, 6, 7, 8])
    expect(resumed).toEqual(await latentsOf({ n: 1, seed: 4 }))
  })

  it('refuses to stop at a row that is not there', async () => {
    await expect(latentsOf({ stop_step: 9 })).rejects.toMatchObject({ code: 'invalid_parameter' })
  })
})

describe('a run of the engine that begins with a picture', () => {
  const one = { ...request, n: 1 }
  const picture = (shade: number) => ({ width: 40, height: 32, pixels: new Uint8Array(40 * 32 * 3).fill(shade) })

  async function begun(firstFrame?: EngineRequest['firstFrame'], more: object = {}) {
    const sent = { request: { ...one, ...more }, seed: 9, ...(firstFrame === undefined ? {} : { firstFrame }) }
    const events = engine.generate(sent, new AbortController().signal)
    let [latents, receipt]: [Float32Array | undefined, Receipt | undefined] = [undefined, undefined]
    for await (const event of events) {
      if (event.type === 'output') latents = new Float32Array(await event.output.blob.arrayBuffer())
      if (event.type === 'finished') receipt = event.receipt
    }
    return { latents: latents as Float32Array, receipt: receipt as Receipt }
  }

  it('is another for another picture, and its receipt names the picture by its hash', async () => {
    const [free, dark, light] = [await begun(), await begun(picture(20)), await begun(picture(200))]
    expect(new Set([free, dark, light].map(({ latents }) => String(latents))).size).toBe(3)
    expect(new Set([free, dark, light].map(({ receipt }) => receipt.content_key)).size).toBe(3)
    expect(free.receipt.effective.frame_images).toBeUndefined()
    expect(dark.receipt.effective.frame_images).toEqual([
      { image: expect.stringMatching(/^[0-9a-f]{64}$/), frame_type: 'first_frame' },
    ])
    expect(await begun(picture(20))).toEqual(dark)
  })

  it('holds every output of a batch to it', async () => {
    const sent = { request: { ...request, n: 2 }, seed: 9, firstFrame: picture(20) }
    const found: number[][] = []
    for await (const event of engine.generate(sent, new AbortController().signal)) {
      if (event.type !== 'output') continue
      // The first of two latent frames, in each of the sixteen channels; the clip is 32 by 32.
      const latents = new Float32Array(await event.output.blob.arrayBuffer())
      found.push(
        Array.from({ length: 16 }, (_, channel) => [...latents.subarray(channel * 32, channel * 32 + 16)]).flat(),
      )
    }
    expect(found[0]).toEqual(found[1])
  })
})

describe('what a step takes here', () => {
  const told = async (there: EngineThread) => (await there.models(signal)).map(({ msPerStep }) => msPerStep)
  const signal = new AbortController().signal

  it('is not known before, found out by a rehearsal, and known from then on', async () => {
    const fresh = engineHere(site.url)
    expect(await told(fresh)).toEqual([undefined])
    await fresh.rehearse('zt-toy', signal)
    const [first] = await told(fresh)
    expect(first).toBeGreaterThan(0)
    await fresh.rehearse('zt-toy', signal)
    expect(await told(fresh)).toEqual([first])
  })

  it('is what the last run took, and a run does not wait for the finding out', async () => {
    const fresh = engineHere(site.url)
    const finding = fresh.rehearse('zt-toy', signal)
    for await (const _ of fresh.generate({ request, seed: 9 }, signal));
    await finding
    const [first] = await told(fresh)
    expect(first).toBeGreaterThan(0)
    for await (const _ of fresh.generate({ request: { ...request, seed: 5 }, seed: 9 }, signal));
    expect(await told(fresh)).not.toEqual([first])
  })
})
