import { afterAll, describe, expect, it } from 'vitest'
import type { EffectiveRequest } from '../../shared/generation.ts'
import { gaussian } from '../../shared/random.ts'
import { releasedPlans } from '../../shared/released-plans.ts'
import { drawnParameters } from '../../test/checkpoints/random.ts'
import { toyLtx, toyTaehv, toyUpscaler, toyWan } from '../../test/checkpoints/toys.ts'
import { nodeBackend } from '../node/backend.ts'
import { type PartConfigs, partGraph } from '../weights/parts.ts'
import type { PartKind } from '../weights/rename.ts'
import { readSafetensors, writeSafetensors } from '../weights/safetensors.ts'
import { type CheckpointModel, type CheckpointPart, checkpointRunner } from './checkpoint.ts'
import type { FramesEvent } from './generate.ts'
import type { Latents } from './split.ts'

/** A part of random weights, in memory. */
function partOf<K extends PartKind>(kind: K, config: PartConfigs[K]): CheckpointPart<K> {
  const graph = partGraph(kind, config)
  const numbers = drawnParameters(graph)
  const tensors = Object.fromEntries(
    graph.parameters.map(({ attributes: { name }, shape }) => [name, { shape, data: numbers[name] as Float32Array }]),
  )
  const file = readSafetensors(writeSafetensors(tensors, 'float32'))
  return { kind, config, load: async () => ({ [`${kind}.safetensors`]: file }) }
}

const width = 64
const model: CheckpointModel = {
  id: 'toy',
  denoiser: partOf('wan-dit', toyWan['wan-dit'] as PartConfigs['wan-dit']),
  decoder: partOf('taehv-decoder', toyTaehv['taehv-decoder'] as PartConfigs['taehv-decoder']),
  text: async (prompt) => {
    const count = prompt.split(' ').length
    return { data: gaussian(prompt.length, 0, 0, count * width), count, width, truncated: false }
  },
  plan: releasedPlans['fastwan-dmd'],
}

const request: EffectiveRequest = {
  model: 'toy',
  revision: 'toy',
  prompt: 'a red fox',
  negative_prompt: '',
  num_frames: 9,
  fps: 16,
  width: 32,
  height: 32,
  num_inference_steps: 3,
  guidance_scale: 1,
  scheduler: 'ddim',
  seed: 5,
  n: 1,
  output_format: 'mp4',
}

const runner = checkpointRunner(model, nodeBackend({ threads: 1 }))
afterAll(() => runner[Symbol.asyncDispose]())
const signal = new AbortController().signal

async function latentsOf(events: AsyncGenerator<FramesEvent, Latents>): Promise<Latents> {
  for (;;) {
    const { done, value } = await events.next()
    if (done) return value
  }
}

async function pixelsOf(events: AsyncIterable<FramesEvent>): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = []
  for await (const event of events) if (event.type === 'part') parts.push(event.part.pixels)
  return parts
}

describe('a model of parts', () => {
  it('run in two halves does what it does in one', async () => {
    const whole = await latentsOf(runner.denoise(request, signal))
    const first = await latentsOf(runner.denoise(request, signal, { until: 2 }))
    const second = await latentsOf(runner.denoise(request, signal, { from: { data: first.data, step: 2 } }))
    expect([first.step, second.step, whole.step]).toEqual([2, 3, 3])
    expect(second.data).toEqual(whole.data)
    expect(first.data).not.toEqual(whole.data)
    expect(await pixelsOf(runner.decode(request, whole, signal))).toEqual(
      await pixelsOf(runner.generate(request, signal)),
    )
  })

  it('gives as many frames as asked for, in order', async () => {
    const parts = await pixelsOf(runner.generate(request, signal))
    expect(parts.map((pixels) => pixels.length / (32 * 32 * 3))).toEqual([1, 4, 4])
  })

  it('embeds prompts side by side and says how many tokens are their own', async () => {
    const { text, tokens } = await runner.embed(['a red fox', 'rain'])
    expect(tokens).toEqual([3, 1])
    expect(text.shape).toEqual([2, 3, width])
    expect(text.data.subarray(4 * width).every((value) => value === 0)).toBe(true)
  })

  it('refuses sizes that its strides do not fit', async () => {
    await expect(latentsOf(runner.denoise({ ...request, width: 40 }, signal))).rejects.toThrow('multiples of 16')
    await expect(latentsOf(runner.denoise({ ...request, num_frames: 8 }, signal))).rejects.toThrow('4n + 1')
  })
})

const base = {
  'wan2.1-base': { ...model, plan: releasedPlans['wan2.1-base'] },
  'ltx-base': {
    ...model,
    denoiser: partOf('ltx-dit', toyLtx['ltx-dit'] as PartConfigs['ltx-dit']),
    decoder: partOf('ltx-vae-decoder', toyLtx['ltx-vae-decoder'] as PartConfigs['ltx-vae-decoder']),
    plan: releasedPlans['ltx-base'],
  },
}

describe.each(Object.entries(base))('a model that was not distilled, by %s', (_, guided) => {
  const guidedRunner = checkpointRunner(guided, nodeBackend({ threads: 1 }))
  afterAll(() => guidedRunner[Symbol.asyncDispose]())
  const ask = (change: Partial<EffectiveRequest>) =>
    latentsOf(guidedRunner.denoise({ ...request, num_inference_steps: 1, ...change }, signal))

  it('is led from what to keep away from to the prompt, and beyond', async () => {
    // Texts of different lengths, each padded to the longer one.
    const [prompt, negative_prompt] = ['a red fox', Array.from({ length: 20 }, (_, n) => `word${n}`).join(' ')]
    const towards = await ask({ prompt })
    const away = await ask({ prompt: negative_prompt })
    const { data } = await ask({ prompt, negative_prompt, guidance_scale: 4 })
    const wanted = away.data.map((u, index) => u + 4 * ((towards.data[index] as number) - u))
    const largest = wanted.reduce((most, each) => Math.max(most, Math.abs(each)), 0)
    const off = data.map((each, index) => Math.abs(each - (wanted[index] as number)))
    expect(off.reduce((most, each) => Math.max(most, each), 0) / largest).toBeLessThan(1e-4)
    expect(towards.data).not.toEqual(away.data)
  })

  it('takes as many steps as asked for', async () => {
    expect((await ask({ num_inference_steps: 3 })).steps).toBe(3)
  })
})

describe('a plan of two passes', () => {
  const { denoiser, decoder, text } = base['ltx-base']
  const upscaler = partOf('ltx-upscaler', toyUpscaler['ltx-upscaler'] as PartConfigs['ltx-upscaler'])
  const plan = releasedPlans['ltx-0.9.8-distilled-two-pass']
  const twice: CheckpointModel = { id: 'twice', denoiser, decoder, text, plan, upscaler }
  const twiceRunner = checkpointRunner(twice, nodeBackend({ threads: 1 }))
  afterAll(() => twiceRunner[Symbol.asyncDispose]())
  const asked = { ...request, width: 96, height: 64, num_inference_steps: 10 }

  it('begins at two thirds of the side, doubles it and shows the size asked for', async () => {
    const first = await latentsOf(twiceRunner.denoise(asked, signal, { until: 7 }))
    expect([first.shape.height, first.shape.width, first.steps]).toEqual([1, 2, 10])
    const whole = await latentsOf(twiceRunner.denoise(asked, signal))
    expect([whole.shape.height, whole.shape.width]).toEqual([2, 4])
    const parts = await pixelsOf(twiceRunner.decode(asked, whole, signal))
    expect(Buffer.concat(parts).length).toBe(9 * 64 * 96 * 3)
  })

  it.each([3, 7, 8])('cut after %i rows does what it does in one', async (cut) => {
    const whole = await latentsOf(twiceRunner.denoise(asked, signal))
    const { data, step } = await latentsOf(twiceRunner.denoise(asked, signal, { until: cut }))
    const rest = await latentsOf(twiceRunner.denoise(asked, signal, { from: { data, step } }))
    expect(rest.data).toEqual(whole.data)
    expect(rest.shape).toEqual(whole.shape)
  })

  it('says what it lacks', async () => {
    const mute = checkpointRunner({ ...twice, upscaler: undefined }, nodeBackend({ threads: 1 }))
    await expect(latentsOf(mute.denoise(asked, signal))).rejects.toThrow('import an upscaler --as twice')
    await mute[Symbol.asyncDispose]()
  })
})
