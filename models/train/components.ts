/**
 * Principal components: the directions in which samples differ most, found from their covariance.
 *
 * By orthogonal iteration (Golub & Van Loan, Matrix Computations, §8.2): multiply a few directions by the covariance,
 * make them orthonormal, again and again; they turn into the leading eigenvectors in order. Eigenvalues close to each
 * other may share their plane in any rotation, which changes nothing of what the components together keep.
 */

import { gaussian } from '../../shared/random.ts'

export interface Components {
  /** Variance along each component, largest first. */
  readonly variances: Float64Array
  /** Orthonormal rows, [count, size]. */
  readonly directions: Float64Array
}

/** The `count` leading components of a symmetric covariance [size, size]. */
export function principalComponents(covariance: Float64Array, size: number, count: number, rounds = 60): Components {
  if (covariance.length !== size * size || count > size)
    throw new RangeError(
      `components: got ${covariance.length} numbers for ${count} of ${size}, wants ${size * size} and at most ${size}`,
    )
  // A few directions more than asked: the last of them converge last.
  const wide = Math.min(size, count + 16)
  let rows = orthonormal(Float64Array.from(gaussian(1, 0, 0, wide * size)), wide, size)
  for (let round = 0; round < rounds; round++) rows = orthonormal(multiplied(rows, covariance, wide, size), wide, size)
  const turned = multiplied(rows, covariance, wide, size)
  const variances = Float64Array.from({ length: count }, (_, row) => dot(rows, row * size, turned, row * size, size))
  return { variances, directions: rows.slice(0, count * size) }
}

/** Gathers a mean and a covariance from sums over batches of samples. */
export function covarianceOf(size: number) {
  const [products, sums] = [new Float64Array(size * size), new Float64Array(size)]
  let count = 0
  return {
    /** Adds a batch by its products xᵀx [size, size] and its sums [size]. */
    add: (batchProducts: Float32Array, batchSums: Float32Array, samples: number) => {
      batchProducts.forEach((value, index) => {
        products[index] = (products[index] as number) + value
      })
      batchSums.forEach((value, index) => {
        sums[index] = (sums[index] as number) + value
      })
      count += samples
    },
    result: () => {
      const mean = sums.map((sum) => sum / count)
      const at = (index: number) => mean[index] as number
      const matrix = products.map((p, index) => p / count - at(Math.floor(index / size)) * at(index % size))
      return { mean, matrix }
    },
  }
}

/**
 * The affine maps to component coordinates and back. A coordinate is divided by the root of its deviation and all by a
 * common number, so that together they have unit variance: between the scales of pixels, in which noise hides all
 * detail at once, and whitened ones, in which the least detail weighs as much as the sky.
 */
export function componentWeights({ variances, directions }: Components, mean: Float64Array) {
  const [count, size] = [variances.length, mean.length]
  const deviations = variances.map(Math.sqrt)
  const common = Math.sqrt(deviations.reduce((sum, each) => sum + each, 0) / count)
  const scales = deviations.map((deviation) => common * Math.sqrt(deviation))
  const at = (row: number, column: number) => directions[row * size + column] as number
  const encoder = { weight: new Float32Array(count * size), bias: new Float32Array(count) }
  const decoder = { weight: new Float32Array(size * count), bias: Float32Array.from(mean) }
  scales.forEach((scale, row) => {
    let offset = 0
    for (let column = 0; column < size; column++) {
      encoder.weight[row * size + column] = at(row, column) / scale
      decoder.weight[column * count + row] = at(row, column) * scale
      offset -= (at(row, column) * (mean[column] as number)) / scale
    }
    encoder.bias[row] = offset
  })
  return { encoder, decoder }
}

/** rows [count, size] · symmetric [size, size]. */
function multiplied(rows: Float64Array, symmetric: Float64Array, count: number, size: number): Float64Array {
  const out = new Float64Array(count * size)
  for (let row = 0; row < count; row++) {
    const into = out.subarray(row * size, (row + 1) * size)
    for (let k = 0; k < size; k++) {
      const factor = rows[row * size + k] as number
      const from = k * size
      for (let column = 0; column < size; column++)
        into[column] = (into[column] as number) + factor * (symmetric[from + column] as number)
    }
  }
  return out
}

/** Modified Gram–Schmidt over rows, in place. */
function orthonormal(rows: Float64Array, count: number, size: number): Float64Array {
  for (let row = 0; row < count; row++) {
    const at = row * size
    for (let before = 0; before < row; before++) {
      const share = dot(rows, at, rows, before * size, size)
      for (let k = 0; k < size; k++)
        rows[at + k] = (rows[at + k] as number) - share * (rows[before * size + k] as number)
    }
    const norm = Math.sqrt(dot(rows, at, rows, at, size))
    for (let k = 0; k < size; k++) rows[at + k] = (rows[at + k] as number) / Math.max(norm, 1e-300)
  }
  return rows
}

function dot(a: Float64Array, fromA: number, b: Float64Array, fromB: number, size: number): number {
  let sum = 0
  for (let k = 0; k < size; k++) sum += (a[fromA + k] as number) * (b[fromB + k] as number)
  return sum
}
