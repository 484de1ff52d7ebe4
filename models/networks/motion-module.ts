/**
 * AnimateDiff's motion module: attention over the frames of each position, inserted into an image network.
 *
 * Guo et al. 2023 (2307.04725). Positions are absolute sinusoids, added after each norm. Whether the group norm's
 * statistics are over the clip or over each frame differs between implementations: the config says.
 *
 *   B clips · F frames · N = B·F · C channels · S = H·W positions
 */

import { gelu } from '../graph/composites.ts'
import { scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { projectedAttention } from '../nn/attention.ts'
import { linear } from '../nn/linear.ts'
import { affineLayerNorm, clipGroupNorm, groupNorm } from '../nn/norm.ts'
import { clipsOf } from '../nn/temporal.ts'

export interface MotionModuleConfig {
  readonly channels: number
  readonly groups: number
  readonly heads: number
  readonly depth: number
  /** The most frames that positions exist for. */
  readonly maxFrames: number
  readonly normSpan: 'clip' | 'frame'
}

/** x [B·F, C, H, W] → [B·F, C, H, W]. @throws RangeError for more frames than there are positions. */
export function motionModule(config: MotionModuleConfig, x: Value, frames: number): Value {
  const { channels, depth, maxFrames } = config
  if (frames > maxFrames) throw new RangeError(`motion module: got ${frames} frames, allowed are ${maxFrames}`)
  const places = op.constant(framePositions(frames, channels), [1, frames, channels])

  let hidden = linear('proj_in', byPosition(normalised(config, x, frames), frames), channels) // [B·S, F, C]
  for (let index = 0; index < depth; index++) {
    hidden = scope(`transformer_blocks.${index}`, () => layer(config, hidden, places))
  }
  return op.add(x, byFrame(linear('proj_out', hidden, channels), x, frames)) //            [N, C, H, W]
}

function layer({ channels, heads }: MotionModuleConfig, x: Value, places: Value): Value {
  let hidden = x //                                                                        [B·S, F, C]
  for (const index of [1, 2]) {
    const placed = op.add(affineLayerNorm(`norm${index}`, hidden, 1e-5), places) //        [B·S, F, C]
    const options = { heads, biases: { inner: false, out: true } }
    hidden = op.add(hidden, projectedAttention(`attn${index}`, placed, placed, options))
  }
  const wide = linear('ff.net.0.proj', affineLayerNorm('norm3', hidden, 1e-5), 8 * channels) // [B·S, F, 8C]
  const [content, gate] = op.split(wide, 2, -1) as [Value, Value] //                       [B·S, F, 4C]
  return op.add(hidden, linear('ff.net.2', op.multiply(content, gelu(gate, 'none')), channels))
}

/** Group norm over the clip or each frame by itself; [N, C, H, W] either way. */
function normalised({ groups, normSpan }: MotionModuleConfig, x: Value, frames: number): Value {
  return normSpan === 'frame' ? groupNorm('norm', x, groups, 1e-6) : clipGroupNorm('norm', x, groups, 1e-6, frames)
}

/** [B·F, C, H, W] → [B·S, F, C]. */
function byPosition(x: Value, frames: number): Value {
  const [all, channels, height, width] = x.shape as [number, number, number, number]
  const apart = op.transpose(clipsOf(x, frames), [0, 3, 4, 1, 2])
  return op.reshape(apart, [(all / frames) * height * width, frames, channels])
}

/** The inverse of byPosition, with the shape of `like`. */
function byFrame(x: Value, like: Value, frames: number): Value {
  const [all, channels, height, width] = like.shape as [number, number, number, number]
  const apart = op.reshape(x, [all / frames, height, width, frames, channels])
  return op.reshape(op.transpose(apart, [0, 3, 4, 1, 2]), like.shape)
}

/** Sines at even and cosines at odd channels (Vaswani et al. 2017): [F, C], row by row. */
function framePositions(frames: number, channels: number): Float32Array {
  return Float32Array.from({ length: frames * channels }, (_, index) => {
    const [frame, channel] = [Math.floor(index / channels), index % channels]
    const angle = frame * 10_000 ** (-(channel - (channel % 2)) / channels)
    return channel % 2 === 0 ? Math.sin(angle) : Math.cos(angle)
  })
}

const released = { groups: 32, heads: 8, depth: 1, maxFrames: 32, normSpan: 'clip' } as const

/** The sizes, by name: the widths of Stable Diffusion 1.5. */
export const motionModuleSizes = {
  'sd1.5-320': { ...released, channels: 320 },
  'sd1.5-640': { ...released, channels: 640 },
  'sd1.5-1280': { ...released, channels: 1280 },
} as const satisfies Record<string, MotionModuleConfig>
