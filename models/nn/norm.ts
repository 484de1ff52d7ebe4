/**
 * Norms with their parameters, and those over other axes than the last.
 *
 * Layer norm: Ba et al. 2016 (1607.06450). RMS norm: Zhang & Sennrich 2019 (1910.07467). Group norm: Wu & He 2018
 * (1803.08494), as a layer norm over each group laid out as one row, which every runtime has a fused operator for.
 * Pixel norm: Karras et al. 2017 (1710.10196).
 */

import { layerNorm, rmsNorm } from '../graph/composites.ts'
import { parameter, scope, sizeOf, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { clipsOf } from './temporal.ts'

/** Layer norm over the last axis with weight and bias [D]. */
export function affineLayerNorm(name: string, x: Value, epsilon: number): Value {
  return scope(name, () => {
    const [weight, bias] = affine(op.at(x.shape, x.shape.length - 1))
    return op.add(op.multiply(layerNorm(x, epsilon), weight), bias)
  })
}

/** RMS norm over the last axis with a weight [D]. */
export function scaledRmsNorm(name: string, x: Value, epsilon: number): Value {
  const width = op.at(x.shape, x.shape.length - 1)
  return scope(name, () => rmsNorm(x, parameter('weight', [width], { kind: 'ones' }), epsilon))
}

/** RMS norm over the last axis without a weight. */
export function plainRmsNorm(x: Value, epsilon: number): Value {
  return rmsNorm(x, op.constant(new Float32Array(op.at(x.shape, x.shape.length - 1)).fill(1)), epsilon)
}

/**
 * Group norm with weight and bias [C]. x [N, C, ...]; statistics are over a group's channels and all later axes, so
 * whoever wants them over the frames of a clip lays those behind the channels.
 */
export function groupNorm(name: string, x: Value, groups: number, epsilon: number): Value {
  return scope(name, () => {
    const [count, channels] = [op.at(x.shape, 0), op.at(x.shape, 1)]
    if (channels % groups !== 0)
      throw new RangeError(`${name}: ${channels} channels do not divide into ${groups} groups`)
    const rows = op.reshape(x, [count, groups, sizeOf(x.shape) / count / groups])
    const column = [channels, ...x.shape.slice(2).map(() => 1)]
    const [weight, bias] = affine(channels).map((each) => op.reshape(each, column)) as [Value, Value]
    return op.add(op.multiply(op.reshape(layerNorm(rows, epsilon), x.shape), weight), bias)
  })
}

/** Group norm with its statistics over all frames of a clip: [B·F, C, H, W] → [B·F, C, H, W]. */
export function clipGroupNorm(name: string, x: Value, groups: number, epsilon: number, frames: number): Value {
  const together = op.transpose(clipsOf(x, frames), [0, 2, 1, 3, 4]) //                    [B, C, F, H, W]
  return op.reshape(op.transpose(groupNorm(name, together, groups, epsilon), [0, 2, 1, 3, 4]), x.shape)
}

/** x / √(mean over channels of x² + ε). x [N, C, ...]. */
export function pixelNorm(x: Value, epsilon: number): Value {
  return op.multiply(x, op.reciprocal(op.sqrt(op.add(op.mean(op.square(x), [1]), epsilon))))
}

function affine(width: number): readonly [Value, Value] {
  return [parameter('weight', [width], { kind: 'ones' }), parameter('bias', [width], { kind: 'zeros' })]
}
