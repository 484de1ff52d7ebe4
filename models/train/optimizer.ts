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
  /** What every gradient is multiplied by, so that their norm together stays within its limit. */
  readonly clip: Value
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
    // Every pass is over memory: what is a scalar is worked out as one.
    update: (parameter, gradient, [first, second], { learningRate, clip, correction1, correction2 }) => {
      const m = average(first as Value, gradient, adamBetas[0], clip)
      const v = average(second as Value, op.square(gradient), adamBetas[1], op.square(clip))
      // m/c₁ ÷ (√(v/c₂) + ε) = (√c₂/c₁)·m ÷ (√v + ε·√c₂)
      const root = op.sqrt(correction2)
      const direction = op.divide(m, op.add(op.sqrt(v), op.multiply(root, epsilon)))
      const step = op.multiply(op.multiply(learningRate, rate), op.divide(root, correction1))
      const kept = decayed(parameter, op.multiply(learningRate, rate), weightDecay)
      return { parameter: op.subtract(kept, op.multiply(direction, step)), slots: [m, v] }
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
    update: (parameter, gradient, [velocity], { learningRate, clip }) => {
      const m = average(velocity as Value, gradient, momentum, clip)
      const direction = orthogonalised(average(m, gradient, momentum, clip), iterations)
      const step = op.multiply(learningRate, 0.2 * Math.sqrt(Math.max(...parameter.shape)))
      const kept = decayed(parameter, learningRate, weightDecay)
      return { parameter: op.subtract(kept, op.multiply(direction, step)), slots: [m] }
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

/** past·decay + present·(1 − decay)·factor. */
function average(past: Value, present: Value, decay: number, factor: Value): Value {
  return op.add(op.multiply(past, decay), op.multiply(present, op.multiply(factor, 1 - decay)))
}

/** Weight decay apart from the gradient, as the W of AdamW says. */
function decayed(parameter: Value, rate: Value, weightDecay: number): Value {
  return weightDecay === 0 ? parameter : op.multiply(parameter, op.subtract(1, op.multiply(rate, weightDecay)))
}

/** a + (b − a)·weight. */
export const lerp = (a: Value, b: Value, weight: op.Operand): Value => op.add(a, op.multiply(op.subtract(b, a), weight))
