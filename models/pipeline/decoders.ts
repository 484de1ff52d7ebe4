/**
 * What differs between decoders, as the pipeline sees them: latents in, pieces of pixels out, in order.
 *
 * Long clips are decoded piece by piece in time, and pictures that would hold more than a budget of memory tile by tile
 * (tiles.ts).
 */

import type { LatentShape } from '../../shared/video.ts'
import { input, trace, type Value } from '../graph/graph.ts'
import { memoryOf } from '../graph/memory.ts'
import * as op from '../graph/ops.ts'
import { denormalised, ltxReach, ltxVaeDecoder } from '../networks/ltx-vae-decoder.ts'
import { type TaehvDecoderConfig, taehvDecodePiece, taehvReach } from '../networks/taehv-decoder.ts'
import { timestepFeatures } from '../nn/embedding.ts'
import type { PartConfigs } from '../weights/parts.ts'
import type { HostTensor, Session } from './backend.ts'
import { requireFinite } from './finite.ts'
import { planes } from './generate.ts'
import { type Canvas, canvasOf, cropped, cutTiles, type Tiling, tilesOf, tilingOf } from './tiles.ts'

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
  /** Bytes that a run of the decoder may hold, weights apart. */
  readonly budget: number
  /** Another window than the decoder's own. */
  readonly window?: DecodingWindow
  /** Other tiles than those the budget asks for. */
  readonly tiles?: TileSize
}

/** Tiles of so many latent cells, and how many more they overlap by on either side. */
export interface TileSize {
  readonly height: number
  readonly width: number
  readonly margin: number
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

/** Latent frame by latent frame, handing the decoder's memory on; each tile of the picture has its own. */
async function* decodeByFrame(decoding: Decoding<'taehv-decoder'>) {
  const { config, shape, latents, load } = decoding
  const { channels, frames, height, width } = shape
  const stride = 2 ** config.growth.length * config.patch
  const side = (cells: number) => ({ ...shape, frames: 1, height: cells, width: cells })
  const tiling = tiled(decoding, taehvReach(config), stride, (cells) => pieceGraph(config, side(cells)))
  const tiles = tilesOf(tiling)
  const [tall, wide] = tileSize(tiling)
  const own = { ...shape, height: tall, width: wide }
  const session = await load(`${tall} ${wide}`, () => pieceGraph(config, own))
  const memories = tiles.map((): readonly HostTensor[] => memoryShapes(config, own).map(silence))
  for (let index = 0; index < frames; index++) {
    const canvas = canvasOf([height * stride, width * stride], stride)
    const plane = planes(latents, shape, index)
    for (const [number, tile] of tiles.entries()) {
      const memory = memories[number] as readonly HostTensor[]
      const { frames: made, ...kept } = await session.run({
        latents: tensorOf([1, 1, channels, tall, wide], cropped(plane, shape, tile)),
        ...Object.fromEntries(memory.map((each, place) => [`before${place}`, each])),
      })
      memories[number] = memory.map((_, place) => kept[`after${place}`] as HostTensor)
      canvas.add(finite(made, `decoding latent frame ${index + 1} of ${frames}`), tile)
    }
    const skipped = index === 0 ? Math.min(config.trim, canvas.frames()) : 0
    yield { pixels: canvas.pixels(skipped), count: canvas.frames() - skipped, done: (index + 1) / frames }
  }
}

/** The tiles of a picture: those asked for, or what the budget leaves of it. */
function tiled(
  { shape: { height, width }, budget, tiles }: Decoding<DecoderKind>,
  reach: number,
  stride: number,
  graph: (side: number) => Record<string, Value>,
): Tiling {
  const on = { height, width, reach, stride }
  if (tiles !== undefined) return cutTiles({ ...on, margin: tiles.margin }, [tiles.height, tiles.width])
  const [small, large] = [2, 4].map((side) => memoryOf(trace(() => graph(side))).activations) as [number, number]
  return tilingOf({ ...on, cellBytes: (large - small) / 12, budget })
}

const tileSize = ({ rows: [row], columns: [column] }: Tiling): readonly [number, number] => [
  row === undefined ? 0 : row.to - row.from,
  column === undefined ? 0 : column.to - column.from,
]

const tensorOf = (shape: readonly number[], data: Float32Array): HostTensor => ({ dtype: 'float32', shape, data })

function finite(tensor: HostTensor | undefined, where: string): Float32Array {
  const values = tensor?.data as Float32Array
  requireFinite(values, where)
  return values
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

const silence = (shape: readonly number[]): HostTensor =>
  tensorOf(shape, new Float32Array(shape.reduce((product, size) => product * size, 1)))

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
    // Of a span, the first latent frame gives one frame, every other one eight.
    const start = first === 0 ? 0 : 8 * (first - from) - 7
    const stop = 8 * (end - 1 - from) + 1
    const canvas = await decodeSpan(decoding, random, from, to)
    yield { pixels: canvas.pixels(start, stop), count: stop - start, done: end / shape.frames }
  }
}

/** The latent frames `from`, …, `to` − 1 as if they were a clip. */
async function decodeSpan(
  decoding: Decoding<'ltx-vae-decoder'>,
  random: Float32Array,
  from: number,
  to: number,
): Promise<Canvas> {
  const { config, shape, latents, load } = decoding
  const span = { ...shape, frames: to - from }
  const stride = 2 ** (config.channels.length - 1) * config.patch
  const graphOf = (height: number, width: number) => ltxGraph(config, { ...span, height, width })
  const tiling = tiled(decoding, ltxReach(config), stride, (side) => graphOf(side, side))
  const [tall, wide] = tileSize(tiling)
  const session = await load(`${span.frames} ${tall} ${wide}`, () => graphOf(tall, wide))
  const canvas = canvasOf([shape.height * stride, shape.width * stride], stride)
  const [given, stirred] = [latents, random].map((whole) => framesOf(whole, shape, from, to)) as [
    Float32Array,
    Float32Array,
  ]
  for (const tile of tilesOf(tiling)) {
    const tensor = (whole: Float32Array) =>
      tensorOf([1, shape.channels, span.frames, tall, wide], cropped(whole, shape, tile))
    const { frames } = await session.run({ latents: tensor(given), noise: tensor(stirred) })
    canvas.add(finite(frames, `decoding latent frames ${from + 1} to ${to} of ${shape.frames}`), tile)
  }
  return canvas
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
