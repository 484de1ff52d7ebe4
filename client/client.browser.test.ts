import { afterEach, describe, expect, it } from 'vitest'
import { commands } from 'vitest/browser'
import { type Client, type ClientEvent, createClient, type JobState } from './index.ts'

declare module 'vitest/browser' {
  interface BrowserCommands {
    ffprobe: (base64: string, extension: string) => Promise<{ streams: Record<string, string | number>[] }>
  }
}

const prompt = 'a blue bird flies left over the sea'
const clients: Client[] = []
const client = (...options: Parameters<typeof createClient>): Client => {
  const fresh = createClient(...options)
  clients.push(fresh)
  return fresh
}

afterEach(async () => {
  for (const each of clients.splice(0)) each[Symbol.dispose]()
  const root = await navigator.storage.getDirectory()
  for (const folder of ['zoetrope-weights', 'zoetrope-notes', 'zoetrope-checkpoints'])
    await root.removeEntry(folder, { recursive: true }).catch(() => {})
})

async function run(zoetrope: Client, request: object = {}): Promise<{ job: JobState; events: ClientEvent[] }> {
  const job = await zoetrope.videos.create({ prompt, seed: 7, ...request })
  const events: ClientEvent[] = []
  for await (const event of job.events()) events.push(event)
  return { job: await job.result(), events }
}

const framesOf = (events: readonly ClientEvent[]): number[] =>
  events.flatMap((event) => (event.type === 'part' && 'pixels' in event.part ? Array.from(event.part.pixels) : []))

async function base64Of(blob: Blob | undefined): Promise<string> {
  const bytes = new Uint8Array(await (blob as Blob).arrayBuffer())
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
}

describe('a client without a service', () => {
  it('makes an MP4 on WebGPU that ffprobe reads, with every stage told', async () => {
    const zoetrope = client()
    const { job, events } = await run(zoetrope)
    expect((await zoetrope.models.list())[0]).toMatchObject({ cached: true, golden: 'pass' })
    const [output] = job.outputs
    const { streams } = await commands.ffprobe(await base64Of(output?.blob), 'mp4')
    expect(streams).toEqual([
      expect.objectContaining({ width: 32, height: 32, nb_read_frames: '9', avg_frame_rate: '8/1' }),
    ])
    expect(job).toMatchObject({
      status: 'completed',
      seed: 7,
      inferenceSource: 'on_device',
      routingReason: 'device_capable',
    })
    expect(job.receipt).toMatchObject({ execution_provider: 'webgpu', seed: 7, outputs_sha256: [output?.sha256] })
    const stages = new Set(events.flatMap((event) => (event.type === 'progress' ? [event.stage] : [])))
    expect([...stages]).toEqual(['download', 'denoise', 'vae_decode', 'mux'])
    expect(events.filter(({ type }) => type === 'preview').length).toBeGreaterThan(0)
    expect(framesOf(events)).toHaveLength(9 * 32 * 32 * 3)
  })

  it('makes the same frames on wasm, WebM and GIF files too, and zero is a seed', async () => {
    const zoetrope = client({ executionProvider: 'wasm' })
    const { job, events } = await run(zoetrope, { seed: 0, outputFormat: 'gif' })
    expect([job.seed, job.receipt?.execution_provider]).toEqual([0, 'wasm'])
    const gif = await commands.ffprobe(await base64Of(job.outputs[0]?.blob), 'gif')
    expect(gif.streams).toEqual([expect.objectContaining({ codec_name: 'gif', width: 32, nb_read_frames: '9' })])
    const [webp] = (await run(zoetrope, { seed: 0, outputFormat: 'webp' })).job.outputs
    if (webp?.blob === undefined || webp.poster === undefined) throw new Error('a file and its poster are missing')
    const decoder = new ImageDecoder({ type: 'image/webp', data: await webp.blob.arrayBuffer() })
    await decoder.tracks.ready
    expect(decoder.tracks.selectedTrack).toMatchObject({ animated: true, frameCount: 9 })
    const poster = await createImageBitmap(webp.poster)
    expect([poster.width, poster.height, webp.poster.type]).toEqual([32, 32, 'image/png'])
    const again = await run(zoetrope, { seed: 0, outputFormat: 'webm' })
    expect(framesOf(again.events)).toEqual(framesOf(events))
    const webm = await commands.ffprobe(await base64Of(again.job.outputs[0]?.blob), 'webm')
    expect(webm.streams).toEqual([expect.objectContaining({ width: 32, nb_read_frames: '9' })])
  })

  it('goes on from its checkpoint after a stop, and ends with the same frames', async () => {
    const whole = await run(client({ executionProvider: 'wasm' }), { numInferenceSteps: 16 })
    const stopped = await client({ executionProvider: 'wasm' }).videos.create({
      prompt,
      seed: 8,
      numInferenceSteps: 16,
    })
    for await (const event of stopped.events())
      if (event.type === 'progress' && event.step === 5 && event.stage === 'denoise') break
    stopped.cancel()
    await expect(stopped.result()).rejects.toMatchObject({ code: 'aborted' })
    const resumed = await run(client({ executionProvider: 'wasm' }), { seed: 8, numInferenceSteps: 16 })
    // Only the steps that were left made a preview.
    const previews = resumed.events.flatMap((event) => (event.type === 'preview' ? [event.step] : []))
    expect(Math.min(...previews)).toBeGreaterThan(5)
    expect(previews.at(-1)).toBe(16)
    const straight = await run(client({ executionProvider: 'wasm' }), { seed: 8, numInferenceSteps: 16 })
    expect(framesOf(resumed.events)).toEqual(framesOf(straight.events))
    expect(framesOf(straight.events)).not.toEqual(framesOf(whole.events))
  })

  it('refuses what the model does not take, in one sentence', async () => {
    await expect(client().videos.create({ prompt: '' })).rejects.toMatchObject({ code: 'invalid_parameter' })
    await expect(client().videos.create({ prompt, model: 'nowhere' })).rejects.toMatchObject({
      code: 'consent_required',
    })
    const job = await client().videos.create({ prompt, outputFormat: 'frames' })
    await expect(job.result()).rejects.toMatchObject({ code: 'format_unavailable' })
  })
})

describe('the model store', () => {
  it('completes a download that is cut again and again, sending little twice', async () => {
    const received: number[] = []
    await client({ modelsUrl: '/faulty/cut-300000/', executionProvider: 'wasm' }).models.prefetch('toy', {
      onProgress: (bytes) => received.push(bytes),
    })
    const total = received.at(-1) as number
    const { requests, bytes } = await (await fetch('/faulty-log/cut-300000')).json()
    expect(requests).toBeGreaterThan(8)
    // Where the browser drops all that a cut answer brought, every 256 KiB cost 300,000 bytes more, and no more than that.
    expect(bytes / total).toBeLessThan(2.3)
    expect(received).toEqual([...received].sort((a, b) => a - b))
  })

  it('refuses a flipped byte before anything is run, and keeps nothing of it', async () => {
    const zoetrope = client({ modelsUrl: '/faulty/flip-70000/', executionProvider: 'wasm' })
    await expect(zoetrope.models.prefetch('toy')).rejects.toMatchObject({ code: 'weights_integrity' })
    const [toy] = await zoetrope.models.list()
    expect(toy).toMatchObject({ cached: false })
    const good = client({ executionProvider: 'wasm' })
    expect(await good.models.prefetch('toy')).toEqual({ kept: true })
    expect((await good.models.list())[0]).toMatchObject({ cached: true })
  })
})
