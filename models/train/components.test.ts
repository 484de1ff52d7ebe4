import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { principalComponents } from './components.ts'

const size = 24

/** Samples with deviations 1, 1/2, 1/3, … along axes turned by a fixed reflection. */
function covarianceOf(deviations: readonly number[]): { covariance: Float64Array; axes: readonly Float64Array[] } {
  const raw = gaussian(4, 0, 0, size)
  const norm = Math.hypot(...raw)
  const mirror = Array.from(raw, (value) => value / norm)
  const axes = deviations.map((_, axis) =>
    Float64Array.from(mirror, (value, k) => (k === axis ? 1 : 0) - 2 * value * (mirror[axis] as number)),
  )
  const covariance = new Float64Array(size * size)
  axes.forEach((axis, index) => {
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++)
        covariance[i * size + j] =
          (covariance[i * size + j] as number) +
          (deviations[index] as number) ** 2 * (axis[i] as number) * (axis[j] as number)
  })
  return { covariance, axes }
}

describe('principal components', () => {
  const deviations = Array.from({ length: size }, (_, n) => 1 / (n + 1))
  const { covariance, axes } = covarianceOf(deviations)
  const { variances, directions } = principalComponents(covariance, size, 5, 200)

  it('finds the largest variances in order', () => {
    variances.forEach((variance, index) => {
      expect(variance).toBeCloseTo((deviations[index] as number) ** 2, 9)
    })
  })

  it('finds their directions, up to sign', () => {
    for (let row = 0; row < 5; row++) {
      const cosine = (axes[row] as Float64Array).reduce(
        (total, value, k) => total + value * (directions[row * size + k] as number),
        0,
      )
      expect(Math.abs(cosine)).toBeCloseTo(1, 6)
    }
  })

  it('refuses a covariance of another size', () => {
    expect(() => principalComponents(covariance, size + 1, 5)).toThrow(/got 576 numbers for 5 of 25, wants 625/)
  })
})
