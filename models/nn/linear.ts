/**
 * Affine maps over the last axis, and the small feed-forward block built from two of them.
 *
 * Weights are stored [out, in], the layout of every released checkpoint. Leading axes are folded into one, so that
 * forward and gradient are rank-2 products, which the lowering turns into single Gemms.
 */

import { type Initializer, parameter, scope, sizeOf, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'

export interface LinearOptions {
  readonly bias?: boolean
  /** Multiplies the standard deviation 1/√in of a fresh weight; 0 starts at zero, as adaLN-Zero wants. */
  readonly gain?: number
}

/** x [..., in] → [..., out]; parameters `weight` [out, in] and `bias` [out] under `name`. */
export function linear(name: string, x: Value, out: number, { bias = true, gain = 1 }: LinearOptions = {}): Value {
  return scope(name, () => {
    const lead = x.shape.slice(0, -1)
    const width = op.at(x.shape, x.shape.length - 1)
    const initializer: Initializer = gain === 0 ? { kind: 'zeros' } : { kind: 'normal', scale: gain / Math.sqrt(width) }
    const weight = parameter('weight', [out, width], initializer)
    const product = op.matmul(op.reshape(x, [sizeOf(lead), width]), op.swapLast(weight))
    const shifted = bias ? op.add(product, parameter('bias', [out], { kind: 'zeros' })) : product
    return op.reshape(shifted, [...lead, out])
  })
}

/**
 * A linear map without bias whose outputs are wanted in equal parts: x [..., in] → parts × [..., out], one parameter `weight`
 * [parts·out, in]. Each part is a product by itself, so none has to be cut out of rows, nor put back into them.
 */
export function linearParts(name: string, x: Value, out: number, parts: number): Value[] {
  return scope(name, () => {
    const [lead, width] = [x.shape.slice(0, -1), op.at(x.shape, x.shape.length - 1)]
    const rows = op.reshape(x, [sizeOf(lead), width])
    const weight = parameter('weight', [parts * out, width], { kind: 'normal', scale: 1 / Math.sqrt(width) })
    return op.split(weight, parts, 0).map((part) => op.reshape(op.matmul(rows, op.swapLast(part)), [...lead, out]))
  })
}

/** Two linear maps around an activation, named by the caller: x [..., D] → [..., out]. */
export function perceptron(
  [up, down]: readonly [string, string],
  x: Value,
  hidden: number,
  out: number,
  activation: (x: Value) => Value,
  gain = 1,
): Value {
  return linear(down, activation(linear(up, x, hidden)), out, { gain })
}

/** The same under the names of this project's own models. */
export function feedForward(
  name: string,
  x: Value,
  hidden: number,
  out: number,
  activation: (x: Value) => Value,
  gain = 1,
): Value {
  return scope(name, () => perceptron(['up', 'down'], x, hidden, out, activation, gain))
}
