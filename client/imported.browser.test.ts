/** An imported model on a page: its files from an address, its text from a node, its video by the SDK. */

import { afterEach, describe, expect, it } from 'vitest'
import { decibels } from './frames.ts'
import { type Client, type ClientEvent, type ClientOptions, createClient } from './index.ts'

const clients: Client[] = []
const client = (options: ClientOptions = {}): Client => {
  const fresh = createClient({ modelsUrl: '/imported-models/', ...options })
  clients.push(fresh)
  return fresh
}
const withNode: ClientOptions = {
  baseUrl: new URL('/node', location.href).href,
  tokenProvider: async () => 'secret',
  inferenceMode: 'only_on_device',
}
const request = { prompt: 'a red fox runs over the sea', seed: 3, size: '48x32', numFrames: 9 }

afterEach(async () => {
  for (const each of clients.splice(0)) each[Symbol.dispose]()
  const root = await navigator.storage.getDirectory()
  for (const folder of ['zoetrope-weights', 'zoetrope-notes', 'zoetrope-checkpoints'])
    await root.removeEntry(folder, { recursive: true }).catch(() => {})
})

async function run(options: ClientOptions, more: object = {}) {
  const job = await client(options).videos.create({ ...request, ...more })
  const events: ClientEvent[] = []
  for await (const event of job.events()) events.push(event)
  return { job: await job.result(), events }
}

const pixelsOf = (events: readonly ClientEvent[]): number[] =>
  events.flatMap((event) => (event.type === 'part' && 'pixels' in event.part ? Array.from(event.part.pixels) : []))

/** What an MP4 says after its first length. */
const formOf = async (blob = new Blob()) => new TextDecoder().decode(await blob.slice(4, 8).arrayBuffer())

describe('an imported model in a browser', () => {
  it('is listed', async () => {
    const [state, ...more] = await client().models.list()
    expect([state?.card.id, state?.card.family, state?.standard, more]).toEqual(['toy-wan', 'wan-dit.16', true, []])
  })

  it('makes an MP4 on WebGPU, and the same frames on wasm', async () => {
    const gpu = await run(withNode)
    expect(gpu.job).toMatchObject({ status: 'completed', seed: 3, warnings: [], inferenceSource: 'on_device' })
    expect(gpu.job.receipt).toMatchObject({ execution_provider: 'webgpu', quantization: 'q8', schedule: 'fastwan-dmd' })
    expect(await formOf(gpu.job.outputs[0]?.blob)).toBe('ftyp')
    const wasm = await run({ ...withNode, executionProvider: 'wasm' })
    const [a, b] = [pixelsOf(gpu.events), pixelsOf(wasm.events)]
    expect(a).toHaveLength(9 * 32 * 48 * 3)
    expect(new Set(a).size).toBeGreaterThan(50)
    expect(decibels(a, b)).toBeGreaterThan(40)
    const other = await run({ ...withNode, executionProvider: 'wasm' }, { prompt: 'a red sea' })
    expect(pixelsOf(other.events)).not.toEqual(b)
    // Shaders of a software GPU take their time to compile.
  }, 600_000)

  it('names the file that is missing where neither a node nor the device has its text encoder', async () => {
    const job = await client({ executionProvider: 'wasm' }).videos.create(request)
    await expect(job.result()).rejects.toThrow('tokenizer.json: got 0 of')
  })
})
