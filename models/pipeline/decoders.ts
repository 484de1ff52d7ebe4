/**
 * What differs between decoders, as the pipeline sees them: latents in, pieces of pixels out, in order.
 */

import type { LatentShape } from '../../shared/video.ts'
import { input, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { denormalised, ltxVaeDecoder } from '../networks/ltx-vae-decoder.ts'
import { type TaehvDecoderConfig, taehvDecodePiece } from '../networks/taehv-decoder.ts'
import { timestepFeatures } from '../nn/embedding.ts'
import type { PartConfigs } from '../weights/parts.ts'
import type { HostTensor, Session } from './backend.ts'
import { pixelsOf, planes, requireFinite } from './generate.ts'

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
  'ltx-vae-decoder': decodeWhole,
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

/** All at once: every frame depends on later ones. */
async function* decodeWhole({ config, shape, latents, load, noise }: Decoding<'ltx-vae-decoder'>) {
  const { channels, frames, height, width } = shape
  const session = await load(`${frames} ${height} ${width}`, () => {
    const given = input('latents', [1, channels, frames, height, width])
    const mixed = op.add(
      op.multiply(given, 1 - decodingNoise.share),
      op.multiply(input('noise', given.shape), decodingNoise.share),
    )
    const features = timestepFeatures([decodingNoise.timestep * config.timestepScale], config.featureWidth)
    const made = ltxVaeDecoder(config, denormalised(mixed), op.constant(features, [1, config.featureWidth]))
    const [, , count, tall, wide] = made.shape as [number, number, number, number, number]
    return { frames: op.reshape(op.transpose(made, [0, 2, 3, 4, 1]), [count, tall, wide, 3]) }
  })
  const tensor = (data: Float32Array): HostTensor => ({
    dtype: 'float32',
    shape: [1, channels, frames, height, width],
    data,
  })
  const { frames: made } = await session.run({ latents: tensor(latents), noise: tensor(noise(latents.length)) })
  const values = made?.data as Float32Array
  requireFinite(values, 'decoding')
  yield { pixels: pixelsOf(values), count: made?.shape[0] ?? 0, done: 1 }
}
