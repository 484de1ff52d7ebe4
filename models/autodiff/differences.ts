/**
 * Central differences: the oracle that gradient rules are held against, in float64 on the reference interpreter.
 *
 * Knows no rule; the tables to be judged are passed in, so that a test can plant a wrong one. Differences are of fourth
 * order (Fornberg 1988, table 1): with a step of 1e-4 their own error is some 1e-11, far below the bound of the tests.
 */

import { gaussian } from '../../shared/random.ts'
import { evaluateValues } from '../graph/evaluate.ts'
import { input, type Shape, sizeOf, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { gradient } from './gradient.ts'
import { type GradientRules, gradientRules } from './vjp.ts'

export interface GradientCase {
  /** Of the inputs, all float32. */
  readonly shapes: readonly Shape[]
  readonly build: (...inputs: Value[]) => Value
  /** Moves standard normal numbers to where the op is smooth. */
  readonly place?: (x: number) => number
}

const step = 1e-4

/**
 * The largest difference between gradient and differences over all elements, relative to the largest derivative with
 * respect to the same input.
 */
export function worstError(each: GradientCase, rules: GradientRules = gradientRules): number {
  const { inputs, loss } = lossOf(each)
  return disagreement(loss, inputs, each, rules)
}

/** The same for the derivative of the gradient along fixed directions. */
export function worstSecondError(each: GradientCase, rules: GradientRules = gradientRules): number {
  const { inputs, loss } = lossOf(each)
  const along = gradient(loss, inputs, rules).map((part, index) => weighted(part, index + 1))
  return disagreement(
    along.reduce((total, part) => op.add(total, part)),
    inputs,
    each,
    rules,
  )
}

/** The inputs of a case and a scalar of its output. */
export function lossOf({ shapes, build }: GradientCase): { readonly inputs: Value[]; readonly loss: Value } {
  const inputs = shapes.map((shape, index) => input(nameOf(index), shape))
  return { inputs, loss: weighted(build(...inputs), 0) }
}

/** Where a case is judged, by the names of its inputs. */
export function pointOf({ shapes, place = (x) => x }: GradientCase): Record<string, Float64Array> {
  return Object.fromEntries(
    shapes.map((shape, index) => [nameOf(index), Float64Array.from(gaussian(7, index, 0, sizeOf(shape)), place)]),
  )
}

const nameOf = (index: number): string => `x${index}`

/** Weighted by fixed numbers, so that no derivative is zero by symmetry. */
function weighted(y: Value, seed: number): Value {
  const weights = op.constant(gaussian(3, 9 + seed, 0, sizeOf(y.shape)), y.shape)
  return op.reshape(op.sum(op.multiply(y, weights)), [])
}

function disagreement(loss: Value, inputs: readonly Value[], each: GradientCase, rules: GradientRules): number {
  const point = pointOf(each)
  const analytic = evaluateValues(gradient(loss, inputs, rules), { inputs: point })
  const errors = inputs.map((_, index) => {
    const numeric = differences(loss, point, nameOf(index))
    const scale = Math.max(1e-2, ...numeric.map(Math.abs))
    return Math.max(...numeric.map((value, k) => Math.abs(value - (analytic[index]?.data[k] ?? Number.NaN)))) / scale
  })
  return Math.max(...errors)
}

function differences(loss: Value, point: Readonly<Record<string, Float64Array>>, name: string): Float64Array {
  const at = (element: number, move: number) => {
    const moved = Float64Array.from(point[name] as Float64Array)
    moved[element] = (moved[element] as number) + move
    return evaluateValues([loss], { inputs: { ...point, [name]: moved } })[0]?.data[0] as number
  }
  const slope = (element: number, h: number) => at(element, h) - at(element, -h)
  return (point[name] as Float64Array).map(
    (_, element) => (8 * slope(element, step) - slope(element, 2 * step)) / (12 * step),
  )
}
