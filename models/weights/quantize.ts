/**
 * Weights in blocks of 4- or 8-bit numbers, in the layout of ORT's MatMulNBits.
 *
 * A row of K weights is cut into blocks of 32; a block is its numbers, low nibble first, and one scale: value = scale ·
 * (number − 2^(bits−1)). The scale is signed such that the weight of largest magnitude is the lowest number exactly,
 * which uses the one number that a symmetric range would waste. Scales are float16, and numbers are rounded against the
 * rounded scale. Knows no files.
 */

import { fromFloat16, toFloat16 } from './float16.ts'

export type BlockBits = 4 | 8

export const blockLength = 32

/** Rows of weights as blocks. */
export interface Blocks {
  readonly bits: BlockBits
  /** [rows, K/32, 32·bits/8] */
  readonly data: Uint8Array
  /** float16 bit patterns, [rows, K/32]. */
  readonly scales: Uint16Array
}

/** Whether a matrix [rows, columns] can be kept in blocks: the fused product wants whole blocks both ways. */
export const fitsBlocks = (rows: number, columns: number): boolean =>
  rows % blockLength === 0 && columns % blockLength === 0

/** values [rows, columns], row by row; columns are a multiple of 32. */
export function quantizeBlocks(values: Float32Array, bits: BlockBits): Blocks {
  const count = values.length / blockLength
  if (!Number.isInteger(count))
    throw new RangeError(`blocks: got ${values.length} weights, allowed are multiples of ${blockLength}`)
  const lowest = new Float32Array(count)
  for (let block = 0; block < count; block++) lowest[block] = peakOf(values, block * blockLength) / -(2 ** (bits - 1))
  const scales = toFloat16(lowest)
  const steps = fromFloat16(scales)
  const data = new Uint8Array((values.length * bits) / 8)
  for (let index = 0; index < values.length; index++) {
    const number = numberOf(values[index] as number, steps[(index / blockLength) | 0] as number, bits)
    if (bits === 8) data[index] = number
    else data[index >> 1] = (data[index >> 1] as number) | (index % 2 === 0 ? number : number << 4)
  }
  return { bits, data, scales }
}

/** The weights that blocks stand for. */
export function dequantizeBlocks({ bits, data, scales }: Blocks): Float32Array {
  const steps = fromFloat16(scales)
  const values = new Float32Array(steps.length * blockLength)
  const middle = 2 ** (bits - 1)
  for (let index = 0; index < values.length; index++) {
    const number = bits === 8 ? (data[index] as number) : ((data[index >> 1] as number) >> ((index % 2) * 4)) & 15
    values[index] = (number - middle) * (steps[(index / blockLength) | 0] as number)
  }
  return values
}

/** The value of largest magnitude in a block, with its sign. */
function peakOf(values: Float32Array, start: number): number {
  let peak = 0
  for (let index = start; index < start + blockLength; index++) {
    const value = values[index] as number
    if (Math.abs(value) > Math.abs(peak)) peak = value
  }
  return peak
}

function numberOf(value: number, step: number, bits: BlockBits): number {
  const middle = 2 ** (bits - 1)
  // A block of zeros, or of weights too small for a float16 scale, is all zeros.
  if (step === 0) return middle
  return Math.max(0, Math.min(2 * middle - 1, Math.round(value / step) + middle))
}

/** How far stored weights may be from the given ones, as √(Σ(w − ŵ)² / Σw²). Normal weights err by 0.08 and 0.005. */
export const errorGates: Readonly<Record<BlockBits, number>> = { 4: 0.12, 8: 0.01 }

/** A running sum of squares, so that a tensor may be judged in pieces. */
export function relativeError() {
  let [wrong, whole] = [0, 0]
  return {
    add: (given: Float32Array, stored: Float32Array) => {
      for (let index = 0; index < given.length; index++) {
        const value = given[index] as number
        wrong += (value - (stored[index] as number)) ** 2
        whole += value ** 2
      }
    },
    /** 0 for a tensor of zeros that is kept as zeros; Infinity where a weight is not finite. */
    value: () => {
      const error = whole === 0 ? 0 : Math.sqrt(wrong / whole)
      return Number.isFinite(error) ? error : Number.POSITIVE_INFINITY
    },
  }
}
