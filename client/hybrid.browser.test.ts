import { afterAll, describe, expect, it } from 'vitest'
import { developmentKey } from '../test/development-key.ts'
import { type Client, createClient, type Hybrid, type JobState, type VideoRequest } from './index.ts'

const clientOn = (executionProvider: 'webgpu' | 'wasm'): Client => {
  const baseUrl = new URL('/edge', location.href).href
  const tokenProvider = async () => developmentKey
  return createClient({ baseUrl, tokenProvider, modelsUrl: '/edge-models/', executionProvider })
}

/** Kept over all tests: a software adapter takes its time to compile, and does so once. */
const clients = { webgpu: clientOn('webgpu'), wasm: clientOn('wasm') }

afterAll(async () => {
  for (const each of Object.values(clients)) each[Symbol.dispose]()
  const storage = await navigator.storage.getDirectory()
  for (const folder of ['zoetrope-weights', 'zoetrope-notes', 'zoetrope-checkpoints'])
    await storage.removeEntry(folder, { recursive: true }).catch(() => {})
})

async function readied(client: Client): Promise<void> {
  for (const { card } of await client.models.list()) await client.models.prefetch(card.id)
}

const request: VideoRequest = { prompt: 'a blue bird flies left over the sea', seed: 0, numInferenceSteps: 8 }

async function latentsOf(client: Client, more: VideoRequest, hybrid?: Hybrid): Promise<[Float32Array, JobState]> {
  const asked: VideoRequest = { ...request, ...more, outputFormat: 'latents' }
  const job = await client.videos.create(asked, hybrid === undefined ? {} : { hybrid })
  const state = await job.result()
  const [output] = state.outputs
  const bytes =
    output?.blob === undefined ? await (await fetch(output?.url ?? '')).arrayBuffer() : output.blob.arrayBuffer()
  return [new Float32Array(await bytes), state]
}

const distance = (one: Float32Array, other: Float32Array): number =>
  one.reduce((most, value, at) => Math.max(most, Math.abs(value - (other[at] as number))), 0)

describe('a browser and the service together', () => {
  it.each(['webgpu', 'wasm'] as const)('make on %s what either makes alone, whoever begins', async (provider) => {
    const client = clients[provider]
    await readied(client)
    const [whole] = await latentsOf(client, { inferenceMode: 'only_in_cloud' })
    const [own] = await latentsOf(client, { inferenceMode: 'only_on_device' })
    expect(distance(own, whole)).toBeLessThan(1e-3)
    for (const first of ['in_cloud', 'on_device'] as const) {
      const [cut, state] = await latentsOf(client, {}, { first, step: 3 })
      expect(state).toMatchObject({ inferenceSource: 'hybrid', routingReason: 'latent_handoff', seed: 0 })
      expect([first, distance(cut, whole) < 1e-3]).toEqual([first, true])
    }
  })

  it('make a video: denoised there, decoded here, as a file that plays', async () => {
    const client = clients.webgpu
    const job = await client.videos.create(
      { ...request, outputFormat: 'mp4' },
      { hybrid: { first: 'in_cloud', step: 8 } },
    )
    const { outputs, receipt } = await job.result()
    const blob = outputs[0]?.blob as Blob
    const bytes = new Uint8Array(await blob.arrayBuffer())
    expect(String.fromCharCode(...bytes.subarray(4, 8))).toBe('ftyp')
    expect(receipt).toMatchObject({ execution_provider: 'webgpu', inference_source: 'hybrid', split_step: 8 })
  })
})
