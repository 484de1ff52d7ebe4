/**
 * Parameters as initializers: where their stored bytes lie, and the nodes that bring them to float32.
 *
 * Bytes are referred to, never copied. Half precision is cast, and pieces are joined, when the session is created; blocks
 * (weights/quantize.ts) stay as they are and serve linear maps alone, through ORT's MatMulNBits.
 */

import type { Shape, ValueOf } from '../graph/graph.ts'
import { blockLength } from '../weights/quantize.ts'
import type { OnnxAttribute, OnnxBytes, OnnxInitializer, OnnxNode } from './encode.ts'

/** Where a parameter's stored bytes lie. */
export type StoredTensor = StoredWhole | StoredPieces | StoredBlocks

export interface StoredWhole {
  readonly dtype: 'float32' | 'float16'
  readonly data: OnnxBytes
}

/** A tensor in pieces along its first axis, each small enough for one buffer. */
export interface StoredPieces {
  readonly dtype: 'float32' | 'float16'
  readonly pieces: readonly { readonly shape: Shape; readonly data: OnnxBytes }[]
}

export interface StoredBlocks {
  readonly dtype: 'blocks'
  readonly bits: 4 | 8
  /** uint8 [out, in/32, 32·bits/8] */
  readonly data: OnnxBytes
  /** float16 [out, in/32] */
  readonly scales: OnnxBytes
}

/** The inputs and attributes of MatMulNBits that stand for a weight. */
export interface BlocksOperand {
  readonly inputs: readonly string[]
  readonly attributes: OnnxNode['attributes']
}

export interface ParameterStore {
  /** Writes a parameter's initializers; gives its name as float32, or what stands for it in blocks. */
  readonly add: (parameter: ValueOf<'parameter'>, stored: StoredTensor) => string | BlocksOperand
}

const integer = (value: number): OnnxAttribute => ({ kind: 'integer', value })

/** Appends to the initializers and nodes of a model that is being written. */
export function parameterStore(initializers: Map<string, OnnxInitializer>, nodes: OnnxNode[]): ParameterStore {
  const emit = (type: string, inputs: readonly string[], output: string, attributes: OnnxNode['attributes']) =>
    nodes.push({ name: `${output}/${type}`, type, domain: '', inputs, outputs: [output], attributes })
  const whole = (name: string, shape: Shape, { dtype, data }: StoredWhole): string => {
    const held = dtype === 'float32' ? name : `${name}.stored`
    initializers.set(held, { name: held, dtype, shape, data })
    if (dtype === 'float16') emit('Cast', [held], name, { to: integer(1) })
    return name
  }
  const joined = (name: string, { dtype, pieces }: StoredPieces): string => {
    const parts = pieces.map(({ shape, data }, index) => whole(`${name}.piece.${index}`, shape, { dtype, data }))
    emit('Concat', parts, name, { axis: integer(0) })
    return name
  }
  const inBlocks = (name: string, [rows, columns]: Shape, { bits, data, scales }: StoredBlocks): BlocksOperand => {
    const grid = [rows as number, (columns as number) / blockLength]
    const packed = `${name}.blocks`
    const shape = [...grid, (blockLength * bits) / 8]
    initializers.set(packed, { name: packed, dtype: 'uint8', shape, data })
    const sizes = { N: rows as number, K: columns as number, bits, block_size: blockLength }
    return {
      inputs: [packed, whole(`${name}.scales`, grid, { dtype: 'float16', data: scales })],
      attributes: Object.fromEntries(Object.entries(sizes).map(([key, value]) => [key, integer(value)])),
    }
  }
  return {
    add: ({ attributes: { name }, shape }, stored) => {
      if ('pieces' in stored) return joined(name, stored)
      return stored.dtype === 'blocks' ? inBlocks(name, shape, stored) : whole(name, shape, stored)
    },
  }
}
