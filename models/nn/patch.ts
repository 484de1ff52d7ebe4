/**
 * Clips of latents as tokens: one token per spacetime patch, in frame, row, column order, and back.
 *
 * A patch's numbers lie in the order channel, frame, row, column going in, as a convolution kernel stores them, and
 * frame, row, column, channel coming out: that is how released heads are trained.
 */

import type { Shape, Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import type { RotaryGrid } from './embedding.ts'

/** Frames, rows and columns of a patch. */
export type Patch = readonly [frames: number, height: number, width: number]

/** Patches of latents [B, C, F, H, W] along each axis. @throws RangeError when a side is no multiple of the patch. */
export function patchGrid(shape: Shape, patch: Patch): RotaryGrid {
  const sides = shape.slice(2)
  const [frames, height, width] = sides.map((side, axis) => side / op.at(patch, axis)) as [number, number, number]
  if (![frames, height, width].every(Number.isInteger)) {
    throw new RangeError(`latents of ${sides.join('×')}: allowed are multiples of the patch ${patch.join('×')}`)
  }
  return { frames, height, width }
}

/** [B, C, F, H, W] → [B, T, C·pf·ph·pw]. */
export function patchify3d(latents: Value, patch: Patch): Value {
  const [batch, channels] = latents.shape as [number, number]
  const { frames, height, width } = patchGrid(latents.shape, patch)
  const [deep, tall, wide] = patch
  const split = op.reshape(latents, [batch, channels, frames, deep, height, tall, width, wide])
  const tokens = op.transpose(split, [0, 2, 4, 6, 1, 3, 5, 7])
  return op.reshape(tokens, [batch, frames * height * width, channels * deep * tall * wide])
}

/** [B, T, pf·ph·pw·C] → [B, C, F, H, W], with the frames and sides of `shape`. */
export function unpatchify3d(tokens: Value, shape: Shape, patch: Patch): Value {
  const { frames, height, width } = patchGrid(shape, patch)
  const [deep, tall, wide] = patch
  const [batch, , numbers] = tokens.shape as [number, number, number]
  const channels = numbers / (deep * tall * wide)
  const split = op.reshape(tokens, [batch, frames, height, width, deep, tall, wide, channels])
  return op.reshape(op.transpose(split, [0, 7, 1, 4, 2, 5, 3, 6]), [batch, channels, ...shape.slice(2)])
}
