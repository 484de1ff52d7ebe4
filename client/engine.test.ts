import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
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
