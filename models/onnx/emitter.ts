/**
 * What the rules of a lowering write through. Knows no rule: lower.ts holds the sheet behind it.
 */

import type { Shape, Value } from '../graph/graph.ts'
import type { OnnxAttribute, OnnxNode } from './encode.ts'

export interface Emitter {
  /** The ONNX name of a value. */
  readonly name: (node: Value) => string
  /** The product of rows [M, in] with a weight that is stored in blocks, if the value is one such weight. */
  readonly overBlocks: (rows: Value, weight: Value) => string | undefined
  /** The ONNX name of a value's transpose, written once. */
  readonly transposed: (node: Value, permutation: readonly number[]) => string
  /** The ONNX name of a matrix repeated along a new first axis, written once. */
  readonly repeated: (node: Value, times: number) => string
  readonly forCpu: boolean
  /** How often a value is used. */
  readonly uses: (node: Value) => number
  /** Appends an operator and returns its output's name. */
  readonly emit: (
    type: string,
    inputs: readonly string[],
    attributes?: OnnxNode['attributes'],
    domain?: OnnxNode['domain'],
  ) => string
  /** Writes something the first time, and gives the same name again for the same key. */
  readonly once: (key: string, write: () => string) => string
  /** Asks the operator that wrote `name` for another of its outputs, and for another type where its own has none. */
  readonly further: (name: string, place: number, type?: string) => string
  /** An int64 constant; a list when no shape is given. */
  readonly integers: (values: readonly number[], shape?: Shape) => string
  readonly floats: (data: ArrayLike<number>, shape: Shape) => string
  /** A constant of a graph's own dtypes other than float32. */
  readonly whole: (data: ArrayLike<number>, shape: Shape, dtype: 'int32' | 'bool') => string
}

export const integer = (value: number): OnnxAttribute => ({ kind: 'integer', value })
export const integers = (value: readonly number[]): OnnxAttribute => ({ kind: 'integers', value })
export const float = (value: number): OnnxAttribute => ({ kind: 'float', value })
