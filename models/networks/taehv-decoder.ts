/**
 * TAEHV, a small distilled decoder for the latents of large video autoencoders: latents to frames, convolutions only.
 *
 * Bohan 2025 (github.com/madebyollin/taehv, MIT). Its only memory is the frame before in nine places, so a clip may be
 * decoded at once or in pieces that hand this memory on, with the same numbers.
 *
 *   B clips · T latent frames · N = B·T·(growth so far) · C channels · H, W sides
 */

import { parameter, scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { channelsIntoSpace, clipsOf, convolution2d, convolutionReach, doubled, previousFrames } from '../nn/temporal.ts'

export interface TaehvDecoderConfig {
  readonly latentChannels: number
  /** Channels of each stage, then of the head. */
  readonly channels: readonly number[]
  /** How many frames each stage makes of one. */
  readonly growth: readonly number[]
  /** The same as stored: a file may hold the maps of more frames than are made, of which the last are used. */
  readonly storedGrowth?: readonly number[]
  /** Side of the pixel patches that the head gives. */
  readonly patch: number
  /** Frames at the beginning that are made of no whole past, and dropped. */
  readonly trim: number
}

export interface TaehvDecoding {
  readonly frames: Value //            [B, F, 3, 8H, 8W] in 0…1, nothing trimmed
  readonly memory: readonly Value[] // per place [B, 1, C, h, w]: its last frame
}

/** Blocks of a stage that look at the frame before. */
const blocksPerStage = 3

/** latents [B, T, C, H, W] as the denoiser gives them → frames [B, T·growth − trim, 3, 8H, 8W] in 0…1. */
export function taehvDecoder(config: TaehvDecoderConfig, latents: Value): Value {
  return op.slice(taehvDecodePiece(config, latents).frames, 1, config.trim)
}

/** A piece of a clip, given the memory of the piece before; zeros where there is none. */
export function taehvDecodePiece(config: TaehvDecoderConfig, latents: Value, before?: readonly Value[]): TaehvDecoding {
  const { channels, growth, patch } = config
  const [batch, count, ...rest] = latents.shape as [number, number, number, number, number]
  const memory: Value[] = []
  let frames = count
  return scope('decoder', () => {
    const squashed = op.multiply(op.tanh(op.multiply(latents, 1 / 3)), 3)
    let x = op.reshape(squashed, [batch * count, ...rest]) //                              [N, C, H, W]
    x = op.relu(convolution2d('1', x, op.at(channels, 0), 3)) //                           [N, C₀, H, W]
    for (const [stage, factor] of growth.entries()) {
      const place = 3 + 6 * stage
      for (let index = 0; index < blocksPerStage; index++) {
        const lead = before?.[memory.length] ?? silence(x, batch)
        memory.push(op.slice(clipsOf(x, frames), 1, -1))
        x = scope(`${place + index}`, () => remembering(x, previousFrames(x, frames, lead)))
      }
      x = doubled(x) //                                                                    [N, C, 2H, 2W]
      x = scope(`${place + 4}`, () => grown(x, factor, config.storedGrowth?.[stage] ?? factor))
      frames *= factor
      x = convolution2d(`${place + 5}`, x, op.at(channels, stage + 1), 3, { bias: false }) // [N, C′, 2H, 2W]
    }
    const head = convolution2d(`${4 + 6 * growth.length}`, op.relu(x), 3 * patch * patch, 3) // [N, 3p², H, W]
    const pixels = op.minimum(op.maximum(channelsIntoSpace(head, patch), 0), 1)
    return { frames: clipsOf(pixels, frames), memory }
  })
}

/** How many latent cells to either side a pixel depends on; frames before it add nothing. */
export function taehvReach({ growth }: Pick<TaehvDecoderConfig, 'growth'>): number {
  // A block convolves three times; on each side but the first stands the convolution behind a stage, on the last the head.
  const blocks = 3 * blocksPerStage
  return convolutionReach([...growth.map(() => 1 + blocks), 2])
}

/** A residual block over a frame and the one before it, both [N, C, H, W]. */
function remembering(x: Value, past: Value): Value {
  const channels = op.at(x.shape, 1)
  return scope('conv', () => {
    const first = op.relu(convolution2d('0', op.concatenate([x, past], 1), channels, 3)) // [N, C, H, W]
    const second = op.relu(convolution2d('2', first, channels, 3)) //                       [N, C, H, W]
    return op.relu(op.add(convolution2d('4', second, channels, 3), x)) //                   [N, C, H, W]
  })
}

/** Makes `factor` frames of one, each by its own map of the channels: [N, C, H, W] → [N·factor, C, H, W]. */
function grown(x: Value, factor: number, stored: number): Value {
  const [count, channels, height, width] = x.shape as [number, number, number, number]
  const whole = scope('conv', () =>
    parameter('weight', [stored * channels, channels, 1, 1], { kind: 'normal', scale: 1 / Math.sqrt(channels) }),
  )
  const made = op.convolution(x, op.slice(whole, 0, (stored - factor) * channels)) //       [N, factor·C, H, W]
  return op.reshape(made, [count * factor, channels, height, width])
}

/** What stands before the first frame: zeros, [B, 1, C, H, W]. */
function silence(x: Value, batch: number): Value {
  return op.broadcast(op.constant(0), [batch, 1, ...x.shape.slice(1)])
}

/** The sizes, by name: about 9.8 million parameters. */
export const taehvDecoderSizes = {
  'taew2.1': { latentChannels: 16, channels: [256, 128, 64, 64], growth: [1, 2, 2], patch: 1, trim: 3 },
} as const satisfies Record<string, TaehvDecoderConfig>
