/**
 * The decoder of LTX-Video's autoencoder, version 0.9.5 and later: latents to frames, 32×32×8 pixels a cell.
 *
 * HaCohen et al. 2024 (2501.00103): it also does the last denoising step, so it is told a timestep. Convolutions see
 * the frames on both sides; the first frame of what an upsampler makes is dropped, so G latent frames give 8G − 7.
 * Takes latents already brought back to their own mean and deviation; the noise to be mixed in is the pipeline's.
 *
 *   B clips · F frames · N = B·F · C channels · H, W sides
 */

import { parameter, scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { perceptron } from '../nn/linear.ts'
import { pixelNorm } from '../nn/norm.ts'
import { convolution3d, convolutionReach } from '../nn/temporal.ts'

export interface LtxVaeDecoderConfig {
  readonly latentChannels: number
  /** Channels of the middle block, then of each upsampling block. */
  readonly channels: readonly number[]
  /** Residual blocks of each. */
  readonly residuals: readonly number[]
  /** Side of the pixel patches that the head gives. */
  readonly patch: number
  /** Width of the sinusoidal features of the timestep. */
  readonly featureWidth: number
  /** What the timestep is multiplied by before it is embedded. */
  readonly timestepScale: number
}

const epsilon = 1e-8

/** latents [B, C, F, H, W] and time [B, featureWidth], timestepFeatures of scale·t → frames [B, 3, 8F−7, 32H, 32W]. */
export function ltxVaeDecoder(config: LtxVaeDecoderConfig, latents: Value, time: Value): Value {
  const { channels, residuals, patch } = config
  const [batch, depth, count, height, width] = latents.shape as [number, number, number, number, number]
  const inBatch = op.reshape(op.transpose(latents, [0, 2, 1, 3, 4]), [batch * count, depth, height, width])

  return scope('decoder', () => {
    let frames = count
    let x = convolved('conv_in.conv', inBatch, op.at(channels, 0), frames) //               [N, C₀, H, W]
    x = scope('mid_block', () => block(x, time, op.at(residuals, 0), frames))
    for (const [index, out] of channels.slice(1).entries()) {
      x = scope(`up_blocks.${index}`, () => {
        const grown = upsampled('upsamplers.0.conv.conv', x, out, frames) //                [B·(2F−1), C, 2H, 2W]
        frames = 2 * frames - 1
        return block(grown, time, op.at(residuals, index + 1), frames)
      })
    }
    const [shift, scale] = modulation(x, embedded(time, 2 * op.at(x.shape, 1)), 2, frames) as [Value, Value]
    const calm = op.silu(modulated(pixelNorm(x, epsilon), shift, scale))
    return pixels(convolved('conv_out.conv', calm, 3 * patch * patch, frames), patch, frames)
  })
}

/** How many latent frames or cells to either side a pixel depends on. */
export function ltxReach({ residuals }: Pick<LtxVaeDecoderConfig, 'residuals'>): number {
  // A residual block convolves twice; each stage ends in an upsampler or in the head, and the first begins with one more.
  return convolutionReach(residuals.map((count, stage) => 2 * count + (stage === 0 ? 2 : 1)))
}

/** Latents as the denoiser gives them, brought back to the autoencoder's own mean and deviation; same shape. */
export function denormalised(latents: Value): Value {
  const channels = op.at(latents.shape, 1)
  const statistic = (name: string, kind: 'ones' | 'zeros') =>
    op.reshape(parameter(name, [channels], { kind }), [1, channels, 1, 1, 1])
  return op.add(op.multiply(latents, statistic('latents_std', 'ones')), statistic('latents_mean', 'zeros'))
}

/** Residual blocks told the time by one embedder: [N, C, H, W] → [N, C, H, W]. */
function block(x: Value, time: Value, count: number, frames: number): Value {
  const level = embedded(time, 4 * op.at(x.shape, 1)) //                                    [B, 4C]
  let hidden = x
  for (let index = 0; index < count; index++) {
    hidden = scope(`resnets.${index}`, () => residual(hidden, level, frames))
  }
  return hidden
}

function residual(x: Value, level: Value, frames: number): Value {
  const channels = op.at(x.shape, 1)
  const [b1, s1, b2, s2] = modulation(x, level, 4, frames) as [Value, Value, Value, Value] // [N, C, 1, 1]
  const early = op.silu(modulated(pixelNorm(x, epsilon), b1, s1)) //                        [N, C, H, W]
  const y = convolved('conv1.conv', early, channels, frames) //                             [N, C, H, W]
  const late = op.silu(modulated(pixelNorm(y, epsilon), b2, s2)) //                         [N, C, H, W]
  return op.add(x, convolved('conv2.conv', late, channels, frames))
}

/** Twice the frames and sides, the first frame dropped, with a shortcut that moves channels into space alone. */
function upsampled(name: string, x: Value, out: number, frames: number): Value {
  const made = unfolded(convolved(name, x, 8 * out, frames), frames) //                     [B·(2F−1), out, 2H, 2W]
  const kept = unfolded(x, frames) //                                                       [B·(2F−1), C/8, 2H, 2W]
  const copies = new Array<Value>(out / op.at(kept.shape, 1)).fill(kept)
  return op.add(made, op.concatenate(copies, 1))
}

/** Channels into frames and sides, channel = c·8 + frame·4 + row·2 + column: [N, 8c, H, W] → [B·(2F−1), c, 2H, 2W]. */
function unfolded(x: Value, frames: number): Value {
  const [all, folded, height, width] = x.shape as [number, number, number, number]
  const [batch, channels] = [all / frames, folded / 8]
  const split = op.reshape(x, [batch, frames, channels, 2, 2, 2, height, width])
  const apart = op.transpose(split, [0, 1, 3, 2, 6, 4, 7, 5]) //                            [B, F, 2, c, H, 2, W, 2]
  const clip = op.slice(op.reshape(apart, [batch, 2 * frames, channels, 2 * height, 2 * width]), 1, 1)
  return op.reshape(clip, [batch * (2 * frames - 1), channels, 2 * height, 2 * width])
}

/** Channels into pixels, channel = colour·p² + column·p + row: [N, 3p², H, W] → [B, 3, F, pH, pW]. */
function pixels(x: Value, patch: number, frames: number): Value {
  const [all, , height, width] = x.shape as [number, number, number, number]
  const split = op.reshape(x, [all / frames, frames, 3, patch, patch, height, width])
  const apart = op.transpose(split, [0, 2, 1, 5, 4, 6, 3]) //                               [B, 3, F, H, p, W, p]
  return op.reshape(apart, [all / frames, 3, frames, height * patch, width * patch])
}

/** A table plus the time's level as single vectors, one row per frame: each [N, C, 1, 1]. */
function modulation(x: Value, level: Value, parts: number, frames: number): Value[] {
  const [all, channels] = x.shape as [number, number]
  const table = parameter('scale_shift_table', [parts, channels], { kind: 'zeros' })
  const batch = all / frames
  const told = op.add(op.reshape(level, [batch, 1, parts, channels]), table) //             [B, 1, parts, C]
  return op.split(told, parts, 2).map((part) => {
    if (batch === 1) return op.reshape(part, [1, channels, 1, 1])
    return op.reshape(op.broadcast(part, [batch, frames, 1, channels]), [all, channels, 1, 1])
  })
}

const modulated = (x: Value, shift: Value, scale: Value): Value => op.add(op.multiply(x, op.add(scale, 1)), shift)

/** The time as a vector of `width`: [B, featureWidth] → [B, width]. */
function embedded(time: Value, width: number): Value {
  return scope('time_embedder.timestep_embedder', () =>
    perceptron(['linear_1', 'linear_2'], time, width, width, op.silu),
  )
}

const convolved = (name: string, x: Value, out: number, frames: number): Value =>
  convolution3d(name, x, out, 3, { frames, padding: 'replicate' })

/** The sizes, by name: about 0.55 billion parameters. */
export const ltxVaeDecoderSizes = {
  'ltx-0.9.5': {
    latentChannels: 128,
    channels: [1024, 512, 256, 128],
    residuals: [5, 5, 5, 5],
    patch: 4,
    featureWidth: 256,
    timestepScale: 1000,
  },
} as const satisfies Record<string, LtxVaeDecoderConfig>
