/**
 * LTX-Video's latent upscaler: latents of twice the height and width, frame for frame.
 *
 * Lightricks 2025 (github.com/Lightricks/LTX-Video, version 0.9.7 and later). A residual network over the clip, a
 * convolution that grows channels into space in its middle. Takes and gives latents of the autoencoder's own mean and
 * deviation; what is done about the statistics of the result is the pipeline's.
 *
 *   B clips · F frames · N = B·F · C latent channels · D width · H, W sides
 */

import { scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { clipGroupNorm } from '../nn/norm.ts'
import { channelsIntoSpace, convolution2d, convolution3d } from '../nn/temporal.ts'

export interface LtxUpscalerConfig {
  readonly channels: number
  readonly width: number
  /** Residual blocks before the growing convolution, and as many after it. */
  readonly blocks: number
  readonly groups: number
}

const epsilon = 1e-5

/** latents [B, C, F, H, W] → [B, C, F, 2H, 2W]. */
export function ltxUpscaler(config: LtxUpscalerConfig, latents: Value): Value {
  const { channels, width, blocks, groups } = config
  const [batch, , frames, height, wide] = latents.shape as [number, number, number, number, number]
  const inBatch = op.reshape(op.transpose(latents, [0, 2, 1, 3, 4]), [batch * frames, channels, height, wide])
  const norm = (name: string, x: Value) => clipGroupNorm(name, x, groups, epsilon, frames)
  const convolved = (name: string, x: Value, out: number) =>
    convolution3d(name, x, out, 3, { frames, padding: 'zeros' })
  const residual = (x: Value) => {
    const early = op.silu(norm('norm1', convolved('conv1', x, width))) //                   [N, D, H, W]
    return op.silu(op.add(norm('norm2', convolved('conv2', early, width)), x)) //           [N, D, H, W]
  }
  const stack = (name: string, x: Value) =>
    Array.from({ length: blocks }).reduce<Value>(
      (hidden, _, index) => scope(`${name}.${index}`, () => residual(hidden)),
      x,
    )

  const first = op.silu(norm('initial_norm', convolved('initial_conv', inBatch, width))) // [N, D, H, W]
  const small = stack('res_blocks', first) //                                               [N, D, H, W]
  const grown = channelsIntoSpace(convolution2d('upsampler.0', small, 4 * width, 3), 2) //  [N, D, 2H, 2W]
  const large = stack('post_upsample_res_blocks', grown) //                                 [N, D, 2H, 2W]
  const out = convolved('final_conv', large, channels) //                                   [N, C, 2H, 2W]
  return op.transpose(op.reshape(out, [batch, frames, channels, 2 * height, 2 * wide]), [0, 2, 1, 3, 4])
}

/** The sizes, by name: about 0.13 billion parameters. */
export const ltxUpscalerSizes = {
  'ltx-0.9.8': { channels: 128, width: 512, blocks: 4, groups: 32 },
} as const satisfies Record<string, LtxUpscalerConfig>
