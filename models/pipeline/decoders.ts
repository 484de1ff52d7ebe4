/**
 * What differs between decoders, as the pipeline sees them: latents in, pieces of pixels out, in order.
 */

import type { LatentShape } from '../../shared/video.ts'
import { input, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { denormalised, ltxReach, ltxVaeDecoder } from '../networks/ltx-vae-decoder.ts'
import { type TaehvDecoderConfig, taehvDecodePiece } from '../networks/taehv-decoder.ts'
import { timestepFeatures } from '../nn/embedding.ts'
import type { PartConfigs } from '../weights/parts.ts'
import type { HostTensor, Session } from './backend.ts'
import { pixelsOf } from './frames.ts'
import { planes, requireFinite } from './generate.ts'

export type DecoderKind = 'taehv-decoder' | 'ltx-vae-decoder'

export interface Decoding<K extends DecoderKind> {
  readonly config: PartConfigs[K]
  readonly shape: LatentShape
  /** [C, F, h, w] */
  readonly latents: Float32Array
  /** A session over the part's weights, kept under a name. */
  readonly load: (name: string, build: () => Record<string, Value>) => Promise<Session>
  /** Standard normal numbers, always the same for one seed. */
  readonly noise: (count: number) => Float32Array
  /** Another window than the decoder's own. */
  readonly window?: DecodingWindow
}

/** Frames [count, H, W, 3], and the share of the clip that is done with them. */
export interface DecodedPiece {
  readonly pixels: Uint8Array
  readonly count: number
  readonly done: number
}

type Decode<K extends DecoderKind> = (decoding: Decoding<K>) => AsyncGenerator<DecodedPiece>

export const decoders: { readonly [K in DecoderKind]: Decode<K> } = {
  'taehv-decoder': decodeByFrame,
  'ltx-vae-decoder': decodeByWindow,
}

/** Latent frame by latent frame, handing the decoder's memory on. */
async function* decodeByFrame({ config, shape, latents, load }: Decoding<'taehv-decoder'>) {
  const { channels, frames, height, width } = shape
  const session = await load(`${height} ${width}`, () => pieceGraph(config, shape))
  let memory: readonly HostTensor[] = memoryShapes(config, shape).map(silence)
  for (let index = 0; index < frames; index++) {
    const data = planes(latents, shape, index)
    const { frames: made, ...kept } = await session.run({
      latents: { dtype: 'float32', shape: [1, 1, channels, height, width], data },
      ...Object.fromEntries(memory.map((each, place) => [`before${place}`, each])),
    })
    memory = memory.map((_, place) => kept[`after${place}`] as HostTensor)
    const values = made?.data as Float32Array
    requireFinite(values, `decoding latent frame ${index + 1} of ${frames}`)
    const [total = 0, tall = 0, wide = 0] = made?.shape ?? []
    const skipped = index === 0 ? Math.min(config.trim, total) : 0
    const pixels = pixelsOf(values.subarray(skipped * tall * wide * 3))
    yield { pixels, count: total - skipped, done: (index + 1) / frames }
  }
}

function pieceGraph(config: TaehvDecoderConfig, shape: LatentShape): Record<string, Value> {
  const { channels, height, width } = shape
  const before = memoryShapes(config, shape).map((each, place) => input(`before${place}`, each))
  const { frames, memory } = taehvDecodePiece(config, input('latents', [1, 1, channels, height, width]), before)
  const [, count, , tall, wide] = frames.shape as [number, number, number, number, number]
  const pictures = op.reshape(op.transpose(frames, [0, 1, 3, 4, 2]), [count, tall, wide, 3])
  // An output may not have the name of an input.
  const kept = memory.map((each, place) => [`after${place}`, each] as const)
  return { frames: op.subtract(op.multiply(pictures, 2), 1), ...Object.fromEntries(kept) }
}

/** What each of the decoder's places remembers: three places a stage, sides doubling from stage to stage. */
function memoryShapes({ channels, growth }: TaehvDecoderConfig, { height, width }: LatentShape): number[][] {
  return growth.flatMap((_, stage) => {
    const shape = [1, 1, op.at(channels, stage), height * 2 ** stage, width * 2 ** stage]
    return [shape, shape, shape]
  })
}

const silence = (shape: readonly number[]): HostTensor => ({
  dtype: 'float32',
  shape,
  data: new Float32Array(shape.reduce((product, size) => product * size, 1)),
})

/** Noise left in the latents, which this decoder removes, and the timestep it is told. */
const decodingNoise = { share: 0.025, timestep: 0.05 }

/** Latent frames shown of one window, and how many more on either side, at least one, are looked at and thrown away. */
export interface DecodingWindow {
  readonly frames: number
  readonly margin: number
}

/** Latent frames of a window: about two hundred pixel frames. */
const windowFrames = 24

/**
 * Short clips at once, long ones in windows that overlap by as much as the network looks, so that no seam can be: this
 * decoder looks both ways in time. Narrower margins cost less, and a seam that depends on the weights.
 */
async function* decodeByWindow(decoding: Decoding<'ltx-vae-decoder'>) {
  const { config, shape, latents, noise, window = { frames: windowFrames, margin: ltxReach(config) } } = decoding
  const random = noise(latents.length)
  const step = shape.frames <= window.frames + 2 * window.margin ? shape.frames : window.frames
  for (let first = 0; first < shape.frames; first += step) {
    const end = Math.min(first + step, shape.frames)
    const [from, to] = [Math.max(0, first - window.margin), Math.min(shape.frames, end + window.margin)]
    const values = await decodeSpan(decoding, random, from, to)
    // Of a span, the first latent frame gives one frame, every other one eight.
    const start = first === 0 ? 0 : 8 * (first - from) - 7
    const stop = 8 * (end - 1 - from) + 1
    const size = values.length / (8 * (to - from) - 7)
    const pixels = pixelsOf(values.subarray(start * size, stop * size))
    yield { pixels, count: stop - start, done: end / shape.frames }
  }
}

/** The latent frames `from`, …, `to` − 1 as if they were a clip, [frames, H, W, 3]. */
async function decodeSpan(
  { config, shape, latents, load }: Decoding<'ltx-vae-decoder'>,
  random: Float32Array,
  from: number,
  to: number,
): Promise<Float32Array> {
  const span = { ...shape, frames: to - from }
  const session = await load(`${span.frames} ${shape.height} ${shape.width}`, () => ltxGraph(config, span))
  const tensor = (whole: Float32Array): HostTensor => ({
    dtype: 'float32',
    shape: [1, shape.channels, span.frames, shape.height, shape.width],
    data: framesOf(whole, shape, from, to),
  })
  const { frames } = await session.run({ latents: tensor(latents), noise: tensor(random) })
  const values = frames?.data as Float32Array
  requireFinite(values, `decoding latent frames ${from + 1} to ${to} of ${shape.frames}`)
  return values
}

function ltxGraph(
  config: PartConfigs['ltx-vae-decoder'],
  { channels, frames, height, width }: LatentShape,
): Record<string, Value> {
  const given = input('latents', [1, channels, frames, height, width])
  const mixed = op.add(
    op.multiply(given, 1 - decodingNoise.share),
    op.multiply(input('noise', given.shape), decodingNoise.share),
  )
  const features = timestepFeatures([decodingNoise.timestep * config.timestepScale], config.featureWidth)
  const made = ltxVaeDecoder(config, denormalised(mixed), op.constant(features, [1, config.featureWidth]))
  const [, , count, tall, wide] = made.shape as [number, number, number, number, number]
  return { frames: op.reshape(op.transpose(made, [0, 2, 3, 4, 1]), [count, tall, wide, 3]) }
}

/** Some frames of [C, F, h, w]. */
function framesOf(whole: Float32Array, shape: LatentShape, from: number, to: number): Float32Array {
  const area = shape.height * shape.width
  const out = new Float32Array(shape.channels * (to - from) * area)
  for (let channel = 0; channel < shape.channels; channel++) {
    const start = (channel * shape.frames + from) * area
    out.set(whole.subarray(start, start + (to - from) * area), channel * (to - from) * area)
  }
  return out
}
