/**
 * Optimizers as graph: each says which slots a parameter needs and how one update is written.
 *
 * AdamW: Loshchilov & Hutter 2017 (1711.05101). Muon: Jordan et al. 2024, momentum made orthogonal by a Newton–Schulz
 * iteration, with the step scaled to AdamW's size as in Liu et al. 2025 (2502.16982), so one learning rate serves
 * both. Clipping is by the global norm. Knows no training loop; scalars that change from step to step are inputs.
 */

import type { ParameterDescription, Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'

/** What changes with the step and is fed to it. */
export interface StepScalars {
  readonly learningRate: Value
  /** 1 − β₁ᵗ and 1 − β₂ᵗ, AdamW's bias corrections. */
  readonly correction1: Value
  readonly correction2: Value
}

export interface Updated {
  readonly parameter: Value
  readonly slots: readonly Value[]
}

export interface Optimizer {
  /** How many tensors of the parameter's shape it remembers. */
  readonly slots: number
  readonly update: (parameter: Value, gradient: Value, slots: readonly Value[], scalars: StepScalars) => Updated
}

export interface AdamWOptions {
  /** Its share of the learning rate that is fed; below one beside Muon, whose steps bear larger rates. */
  readonly rate: number
  readonly epsilon: number
  readonly weightDecay: number
}

/** Decay of AdamW's first and second moment; the bias corrections fed to a step follow from them. */
export const adamBetas = [0.9, 0.99] as const

export function adamW({ rate, epsilon, weightDecay }: AdamWOptions): Optimizer {
  return {
    slots: 2,
    update: (parameter, gradient, [first, second], { learningRate, correction1, correction2 }) => {
      const m = lerp(first as Value, gradient, 1 - adamBetas[0])
      const v = lerp(second as Value, op.square(gradient), 1 - adamBetas[1])
      const scale = op.add(op.sqrt(op.divide(v, correction2)), epsilon)
      const direction = op.divide(m, op.multiply(scale, correction1))
      const step = op.multiply(learningRate, rate)
      return { parameter: descend(parameter, direction, step, weightDecay), slots: [m, v] }
    },
  }
}

export interface MuonOptions {
  readonly momentum: number
  readonly weightDecay: number
  /** Newton–Schulz iterations; five bring singular values near one. */
  readonly iterations: number
}

/** For matrices only. */
export function muon({ momentum, weightDecay, iterations }: MuonOptions): Optimizer {
  return {
    slots: 1,
    update: (parameter, gradient, [velocity], { learningRate }) => {
      const m = lerp(velocity as Value, gradient, 1 - momentum)
      const ahead = lerp(gradient, m, momentum)
      const direction = op.multiply(orthogonalised(ahead, iterations), 0.2 * Math.sqrt(Math.max(...parameter.shape)))
      return { parameter: descend(parameter, direction, learningRate, weightDecay), slots: [m] }
    },
  }
}

/** Which parameters Muon serves: matrices inside numbered layers; tables, ends and modulations are AdamW's. */
export function isHiddenMatrix({ name, shape }: ParameterDescription): boolean {
  return shape.length === 2 && /\.\d+\./.test(name) && !name.includes('modulation')
}

/** The factor that brings the norm of all gradients together down to `limit`, and that norm. */
export function globalClip(
  gradients: readonly Value[],
  limit: number,
): { readonly factor: Value; readonly norm: Value } {
  const squares = gradients.map((each) => op.reshape(op.sum(op.square(each)), []))
  const norm = op.sqrt(squares.reduce((total, each) => op.add(total, each)))
  return { norm, factor: op.minimum(op.divide(limit, op.add(norm, 1e-6)), 1) }
}

/** The nearest semi-orthogonal matrix, roughly: singular values land in about 0.7…1.2. */
export function orthogonalised(matrix: Value, iterations: number): Value {
  const tall = op.at(matrix.shape, 0) > op.at(matrix.shape, 1)
  const wide = tall ? op.swapLast(matrix) : matrix
  let x = op.divide(wide, op.add(op.sqrt(op.sum(op.square(wide))), 1e-7))
  for (let round = 0; round < iterations; round++) {
    const gram = op.matmul(x, op.swapLast(x))
    const inner = op.add(op.multiply(gram, -4.775), op.multiply(op.matmul(gram, gram), 2.0315))
    x = op.add(op.multiply(x, 3.4445), op.matmul(inner, x))
  }
  return tall ? op.swapLast(x) : x
}

function descend(parameter: Value, direction: Value, learningRate: Value, weightDecay: number): Value {
  const whole = weightDecay === 0 ? direction : op.add(direction, op.multiply(parameter, weightDecay))
  return op.subtract(parameter, op.multiply(whole, learningRate))
}

/** a + (b − a)·weight. */
export const lerp = (a: Value, b: Value, weight: op.Operand): Value => op.add(a, op.multiply(op.subtract(b, a), weight))
