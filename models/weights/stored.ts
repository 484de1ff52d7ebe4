/**
 * Finds a network's parameters in weight files as `zoetrope import` writes them, and in unmodified checkpoints.
 *
 * A tensor is stored under its name, or in blocks (`NAME.blocks4`, `NAME.scales`), or, where it is too large for one
 * buffer of a GPU, in pieces along its first axis (`NAME.piece.0`, …). Shapes are checked before anything is loaded.
 */

import { type Shape, sizeOf } from '../graph/graph.ts'
import type { OnnxBytes } from '../onnx/encode.ts'
import type { StoredTensor } from '../onnx/store.ts'
import { blockLength } from './quantize.ts'
import {
  elementBytes,
  type SafetensorsHeader,
  type StoredDType,
  type TensorEntry,
  WeightsFormatError,
} from './safetensors.ts'

/** A tensor as files are to hold it. */
export interface PlacedTensor {
  readonly name: string
  readonly dtype: Extract<StoredDType, 'float32' | 'float16' | 'uint8'>
  readonly shape: Shape
}

/** The tensors that stand for a matrix in blocks: its numbers, then its scales. */
export function blockTensors(name: string, [rows, columns]: Shape, bits: 4 | 8): [PlacedTensor, PlacedTensor] {
  const grid = [rows as number, (columns as number) / blockLength]
  return [
    { name: `${name}.blocks${bits}`, dtype: 'uint8', shape: [...grid, (blockLength * bits) / 8] },
    { name: `${name}.scales`, dtype: 'float16', shape: grid },
  ]
}

/** A plain tensor whole, or in equal pieces of at most `limit` bytes along its first axis, the last one shorter. */
export function plainTensors(name: string, dtype: 'float32' | 'float16', shape: Shape, limit: number): PlacedTensor[] {
  const [rows = 1, ...rest] = shape
  const rowBytes = sizeOf(rest) * elementBytes[dtype]
  if (rows * rowBytes <= limit) return [{ name, dtype, shape }]
  const step = Math.max(1, Math.floor(limit / rowBytes))
  return Array.from({ length: Math.ceil(rows / step) }, (_, index) => ({
    name: `${name}.piece.${index}`,
    dtype,
    shape: [Math.min(step, rows - index * step), ...rest],
  }))
}

/**
 * A finder over files by location.
 * @throws WeightsFormatError when a parameter is not there, or not in the shape that the network wants.
 */
export function storedTensors(
  headers: Readonly<Record<string, SafetensorsHeader>>,
  ours: (name: string) => string = (name) => name,
): (name: string, shape: Shape) => StoredTensor {
  const places = new Map<string, readonly [string, TensorEntry]>()
  for (const [location, { entries }] of Object.entries(headers))
    for (const entry of entries.values()) places.set(entry.name, [location, entry])
  const placed = (tensor: PlacedTensor): OnnxBytes | undefined => {
    const [location, entry] = places.get(tensor.name) ?? []
    if (location === undefined || entry === undefined) return undefined
    if (entry.dtype !== tensor.dtype || entry.shape.join() !== tensor.shape.join()) {
      const got = `${entry.dtype} [${entry.shape}]`
      throw new WeightsFormatError(
        `weights: ${tensor.name} is ${got}, the network wants ${tensor.dtype} [${tensor.shape}]`,
      )
    }
    return { kind: 'external', location, offset: entry.offset, length: entry.length }
  }
  const plain = (name: string, shape: Shape): StoredTensor | undefined => {
    const dtype = places.get(name)?.[1].dtype === 'float16' ? 'float16' : 'float32'
    const data = placed({ name, dtype, shape })
    return data && { dtype, data }
  }
  const inBlocks = (name: string, shape: Shape): StoredTensor | undefined => {
    const bits = places.has(`${name}.blocks4`) ? 4 : 8
    const [numbers, steps] = blockTensors(name, shape, bits)
    const data = placed(numbers)
    const scales = data && placed(steps)
    return data && scales && { dtype: 'blocks', bits, data, scales }
  }
  const inPieces = (name: string, shape: Shape): StoredTensor | undefined => {
    const pieces: { readonly shape: Shape; readonly data: OnnxBytes }[] = []
    let dtype: 'float32' | 'float16' = 'float16'
    for (let index = 0; places.has(`${name}.piece.${index}`); index++) {
      const entry = places.get(`${name}.piece.${index}`)?.[1] as TensorEntry
      dtype = entry.dtype === 'float32' ? 'float32' : 'float16'
      const piece = { name: entry.name, dtype, shape: [entry.shape[0] ?? 0, ...shape.slice(1)] }
      pieces.push({ shape: piece.shape, data: placed(piece) as OnnxBytes })
    }
    const rows = pieces.reduce((total, piece) => total + (piece.shape[0] as number), 0)
    return pieces.length > 0 && rows === shape[0] ? { dtype, pieces } : undefined
  }
  return (name, shape) => {
    const held = ours(name)
    const found = plain(held, shape) ?? inBlocks(held, shape) ?? inPieces(held, shape)
    if (found !== undefined) return found
    throw new WeightsFormatError(`weights: there is no ${held}; the files hold ${places.size} other tensors`)
  }
}
