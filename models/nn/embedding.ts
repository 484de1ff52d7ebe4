/**
 * Features of numbers and positions, computed on the host.
 *
 * Sines and cosines of GPUs differ in the last bits, and some by 1e-4, so whatever depends only on shapes or on the
 * plan is computed here and fed as a table. Sinusoids: Vaswani et al. 2017; rotary angles: Su et al. 2021 (2104.09864),
 * one share of each head per axis.
 */

import { constant } from '../graph/ops.ts'
import type { RotaryTables } from './attention.ts'

/**
 * Sinusoidal features of values in about [0, 1]: cosines then sines over geometric frequencies from 1 to 1000 radians.
 * @returns [values.length, width], row by row.
 */
export function sinusoids(values: ArrayLike<number>, width: number): Float32Array {
  const half = width / 2
  const features = new Float32Array(values.length * width)
  for (let row = 0; row < values.length; row++) {
    for (let pair = 0; pair < half; pair++) {
      const angle = (values[row] as number) * 1000 ** (pair / (half - 1))
      features[row * width + pair] = Math.cos(angle)
      features[row * width + half + pair] = Math.sin(angle)
    }
  }
  return features
}

/**
 * Sinusoidal features of timesteps as released checkpoints want them: cosines, then sines, frequencies from 1 down to
 * 1/10⁴ (Vaswani et al. 2017, cosines first). Timesteps count 0…1000 there.
 * @returns [values.length, width], row by row.
 */
export function timestepFeatures(values: ArrayLike<number>, width: number): Float32Array {
  const half = width / 2
  const features = new Float32Array(values.length * width)
  for (let row = 0; row < values.length; row++) {
    for (let pair = 0; pair < half; pair++) {
      const angle = (values[row] as number) * 10_000 ** (-pair / half)
      features[row * width + pair] = Math.cos(angle)
      features[row * width + half + pair] = Math.sin(angle)
    }
  }
  return features
}

/** How many of a head's rotation pairs each axis gets. */
export type RotaryShares = readonly [frames: number, height: number, width: number]

export interface RotaryGrid {
  readonly frames: number
  readonly height: number
  readonly width: number
}

/**
 * Rotation tables of a grid of tokens in frame, row, column order; each [T, Σ shares].
 * `base` sets the longest wavelength, some six times the base in tokens; small grids want a small base.
 */
export function rotaryTables({ frames, height, width }: RotaryGrid, shares: RotaryShares, base: number): RotaryTables {
  const pairs = shares[0] + shares[1] + shares[2]
  const cos = new Float32Array(frames * height * width * pairs)
  const sin = new Float32Array(cos.length)
  let cursor = 0
  for (let frame = 0; frame < frames; frame++) {
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        for (const [axis, position] of [frame, row, column].entries()) {
          const share = shares[axis] as number
          for (let pair = 0; pair < share; pair++) {
            const angle = position * base ** (-pair / share)
            cos[cursor] = Math.cos(angle)
            sin[cursor++] = Math.sin(angle)
          }
        }
      }
    }
  }
  const shape = [frames * height * width, pairs]
  return { cos: constant(cos, shape), sin: constant(sin, shape) }
}
