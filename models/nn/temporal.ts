/**
 * Convolutions over frames, written as two-dimensional ones (runtimes' three-dimensional kernels are naive or missing).
 *
 * A clip is [B·F, C, H, W], its frames in the batch. A kernel [O, C, kt, kh, kw] is kt kernels [O, C, kh, kw], one for
 * each neighbour in time; their outputs are added. What stands before the first and after the last frame is the
 * caller's choice.
 */

import { parameter, type Shape, scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'

/** Convolution with a square odd kernel, zero borders and stride 1: [N, C, H, W] → [N, out, H, W]. */
export function convolution2d(name: string, x: Value, out: number, size: number, { bias = true } = {}): Value {
  return scope(name, () => {
    const weight = kernel([out, op.at(x.shape, 1), size, size])
    const y = sameSize(x, weight, size)
    return bias ? op.add(y, channelBias(out)) : y
  })
}

export interface FramesOptions {
  /** Frames of each clip in the batch. */
  readonly frames: number
  /** `replicate` repeats the first and last frame; `causal` repeats the first only and looks at no later frame. */
  readonly padding: 'replicate' | 'causal' | 'zeros'
}

/** Convolution with a cubic odd kernel, zero borders in space: [B·F, C, H, W] → [B·F, out, H, W]. */
export function convolution3d(name: string, x: Value, out: number, size: number, options: FramesOptions): Value {
  return scope(name, () => {
    const channels = op.at(x.shape, 1)
    const weight = kernel([out, channels, size, size, size])
    // A gather gives a tap as it is; a slice would be reshaped, one more copy of all weights when a session is made.
    const taps = Array.from({ length: size }, (_, tap) => op.gather(weight, op.constant(Int32Array.of(tap), []), 2))
    const moved = neighboursInTime(x, size, options) //                                   kt × [B·F, C, H, W]
    const parts = taps.map((tap, index) => sameSize(op.at(moved, index), tap, size))
    return op.add(
      parts.reduce((total, part) => op.add(total, part)),
      channelBias(out),
    )
  })
}

/** For each tap of a kernel of `size`, the clip moved so that it holds the frame that the tap sees. */
function neighboursInTime(x: Value, size: number, { frames, padding }: FramesOptions): Value[] {
  const clip = clipsOf(x, frames) //                                                      [B, F, C, H, W]
  const before = padding === 'causal' ? size - 1 : (size - 1) / 2
  const repeated = (frame: Value, count: number) => new Array<Value>(count).fill(frame)
  const edge = (frame: Value) => (padding === 'zeros' ? op.broadcast(op.constant(0), frame.shape) : frame)
  const [first, last] = [edge(op.slice(clip, 1, 0, 1)), edge(op.slice(clip, 1, -1))]
  const padded = op.concatenate([...repeated(first, before), clip, ...repeated(last, size - 1 - before)], 1)
  return Array.from({ length: size }, (_, tap) => op.reshape(op.slice(padded, 1, tap, tap + frames), x.shape))
}

/** [B·F, ...] → [B, F, ...]. */
export function clipsOf(x: Value, frames: number): Value {
  const [all, ...rest] = x.shape as [number, ...number[]]
  return op.reshape(x, [all / frames, frames, ...rest])
}

/** Each frame followed by what stood before it: the clip moved by one, led in by `lead` [B, 1, C, H, W]. */
export function previousFrames(x: Value, frames: number, lead: Value): Value {
  const clip = clipsOf(x, frames)
  return op.reshape(frames === 1 ? lead : op.concatenate([lead, op.slice(clip, 1, 0, -1)], 1), x.shape)
}

/** Channels into space, channel = c·s² + row·s + column: [N, C·s², H, W] → [N, C, sH, sW]. */
export function channelsIntoSpace(x: Value, side: number): Value {
  if (side === 1) return x
  const [count, folded, height, width] = x.shape as [number, number, number, number]
  const channels = folded / (side * side)
  const split = op.transpose(op.reshape(x, [count, channels, side, side, height, width]), [0, 1, 4, 2, 5, 3])
  return op.reshape(split, [count, channels, height * side, width * side])
}

/**
 * How far a stack of convolutions over three neighbours looks to either side, counted on its first level.
 * @param levels convolutions at each level, coarse to fine, sides doubling from one to the next.
 */
export function convolutionReach(levels: readonly number[]): number {
  return levels.reduceRight((reach, count) => Math.ceil(reach / 2) + count, 0)
}

/** Nearest neighbour, twice the height and width: [N, C, H, W] → [N, C, 2H, 2W]. */
export function doubled(x: Value): Value {
  const [count, channels, height, width] = x.shape as [number, number, number, number]
  const apart = op.reshape(x, [count, channels, height, 1, width, 1])
  return op.reshape(op.broadcast(apart, [count, channels, height, 2, width, 2]), [
    count,
    channels,
    2 * height,
    2 * width,
  ])
}

function sameSize(x: Value, weight: Value, size: number): Value {
  const margin = (size - 1) / 2
  return op.convolution(x, weight, [1, 1], [margin, margin, margin, margin])
}

function kernel(shape: Shape): Value {
  const reach = shape.slice(1).reduce((product, size) => product * size, 1)
  return parameter('weight', shape, { kind: 'normal', scale: 1 / Math.sqrt(reach) })
}

const channelBias = (channels: number): Value =>
  op.reshape(parameter('bias', [channels], { kind: 'zeros' }), [1, channels, 1, 1])
