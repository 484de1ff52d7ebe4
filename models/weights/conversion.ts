/**
 * How each tensor of a part is to be kept: as it is, wider, narrower or in blocks.
 *
 * Only weights of linear maps inside the repeated layers go into blocks; what stands in front of and behind the layers,
 * embeddings and convolutions stay in half precision, and vectors and tables (norms, biases, modulation) in single, as
 * reference implementations keep them. A tensor that is already stored exactly enough is kept as it is.
 */

import { type Shape, sizeOf } from '../graph/graph.ts'
import { type BlockBits, blockLength, fitsBlocks } from './quantize.ts'
import { type FoundPart, type LocatedTensor, linearWeights } from './recognise.ts'
import { elementBytes } from './safetensors.ts'

export const precisions = ['f32', 'f16', 'q8', 'q4'] as const
export type Precision = (typeof precisions)[number]

export type Target = 'float32' | 'float16' | 'q8' | 'q4'

export interface TensorConversion {
  /** Ours. */
  readonly name: string
  readonly source: LocatedTensor
  readonly shape: Shape
  readonly target: Target
}

/** Bits of a target in blocks. */
export const blockBits: { readonly [K in Target]: BlockBits | undefined } = {
  float32: undefined,
  float16: undefined,
  q8: 8,
  q4: 4,
}

/** What to fall back to when a tensor's error passes its gate. */
export const nextBest: { readonly [K in Target]: Target } = {
  q4: 'q8',
  q8: 'float16',
  float16: 'float32',
  float32: 'float32',
}

const insideLayers = /(^|\.)(blocks|transformer_blocks|block)\.\d+\./

/** The conversions of a part, in the order of its graph. */
export function conversionsOf({ graph, tensors }: Pick<FoundPart, 'graph' | 'tensors'>, precision: Precision) {
  const linear = linearWeights(graph)
  return graph.parameters.flatMap(({ attributes: { name }, shape }): TensorConversion[] => {
    const source = tensors.get(name)
    if (source === undefined) return []
    return [{ name, source, shape, target: targetOf(name, shape, source, precision, linear.has(name)) }]
  })
}

function targetOf(name: string, shape: Shape, { entry }: LocatedTensor, precision: Precision, linear: boolean): Target {
  if (precision === 'f32') return entry.dtype === 'float16' ? 'float16' : 'float32'
  const half = entry.dtype === 'float16' ? 'float16' : 'float32'
  // Vectors, and the few vectors of a modulation table, weigh nothing and matter much.
  if (shape.filter((size) => size > 8).length < 2) return half
  if (precision === 'f16' || !linear || !insideLayers.test(name)) return 'float16'
  const [rows, columns] = shape as [number, number]
  return fitsBlocks(rows, columns) ? precision : 'float16'
}

/** Bytes that a tensor of a shape takes. */
export function bytesOf(shape: Shape, target: Target): number {
  const bits = blockBits[target]
  if (bits === undefined) return sizeOf(shape) * elementBytes[target as 'float32' | 'float16']
  return (sizeOf(shape) * bits) / 8 + (sizeOf(shape) / blockLength) * elementBytes.float16
}

/** Bytes of a whole part at a precision. */
export function partBytes(graph: FoundPart['graph'], precision: Precision): number {
  const linear = linearWeights(graph)
  const source: LocatedTensor = {
    location: '',
    entry: { name: '', dtype: 'bfloat16', shape: [], offset: 0, length: 0 },
  }
  return graph.parameters.reduce((total, { attributes: { name }, shape }) => {
    return total + bytesOf(shape, targetOf(name, shape, source, precision, linear.has(name)))
  }, 0)
}
