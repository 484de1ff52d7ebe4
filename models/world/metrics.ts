/**
 * Figures of a set of clips: how often they show what was asked, how much they flicker, how far they are from real ones.
 *
 * capAcc: every asked attribute read back right; intervals by Wilson 1927. Flicker: mean absolute second difference in
 * time over that of real clips. fd: Fréchet distance (Heusel et al. 2017, 1706.08500) over a frozen random 3-D
 * convolutional net, the stand-in for FVD; its floor is the distance of two sets of real clips.
 */

import { gaussian, randomStream } from '../../shared/random.ts'
import type { Read, Reading } from './oracles.ts'
import type { Frames } from './renderer.ts'
import { type Attributes, attributeNames } from './vocabulary.ts'

/** A figure with its 95 % interval. */
export interface Figure {
  readonly value: number
  readonly low: number
  readonly high: number
  readonly clips: number
}

/** Share of successes with Wilson's interval. */
export function proportion(successes: number, trials: number): Figure {
  if (trials === 0) return { value: Number.NaN, low: 0, high: 1, clips: 0 }
  const [z, p] = [1.96, successes / trials]
  const scale = 1 + (z * z) / trials
  const centre = (p + (z * z) / (2 * trials)) / scale
  const half = (z * Math.sqrt((p * (1 - p)) / trials + (z * z) / (4 * trials * trials))) / scale
  return { value: p, low: Math.max(0, centre - half), high: Math.min(1, centre + half), clips: trials }
}

export interface Accuracy {
  /** All asked attributes right. */
  readonly capAcc: Figure
  readonly attributes: Readonly<Record<keyof Attributes, Figure>>
}

/** Holds readings against what was asked; what was not asked is not judged. */
export function accuracyOf(readings: readonly Reading[], asked: readonly Partial<Attributes>[]): Accuracy {
  const right = (index: number, name: keyof Attributes): boolean | undefined => {
    const wanted = asked[index]?.[name]
    const read = readings[index]?.[name] as Read<string> | undefined
    return wanted === undefined ? undefined : read?.value === wanted
  }
  const attributes = attributeNames.map((name) => {
    const judged = readings.map((_, index) => right(index, name)).filter((each) => each !== undefined)
    return [name, proportion(judged.filter(Boolean).length, judged.length)] as const
  })
  const whole = readings.filter((_, index) => attributeNames.every((name) => right(index, name) !== false))
  return {
    capAcc: proportion(whole.length, readings.length),
    attributes: Object.fromEntries(attributes) as Accuracy['attributes'],
  }
}

/** In how many clips an attribute was read as something else than was asked; the most frequent first. */
export interface Misreading {
  readonly attribute: keyof Attributes
  readonly asked: string
  readonly read: string
  readonly clips: number
}

/** What was asked and read as something else: it says what a model still has to learn. */
export function misreadings(readings: readonly Reading[], asked: readonly Partial<Attributes>[]): Misreading[] {
  const wrong = asked.flatMap((wanted, index) =>
    attributeNames
      .map((attribute) => ({ attribute, asked: wanted[attribute], read: readings[index]?.[attribute].value }))
      .filter(({ asked, read }) => asked !== undefined && read !== undefined && asked !== read),
  )
  const groups = Map.groupBy(wrong, ({ attribute, asked, read }) => `${attribute} ${asked} ${read}`)
  return [...groups.values()]
    .map((group) => ({ ...(group[0] as Omit<Misreading, 'clips'>), clips: group.length }))
    .sort((a, b) => b.clips - a.clips)
}

/** Mean |x(f+1) − 2·x(f) + x(f−1)| of a clip, in grey levels. */
export function secondDifference({ frames, height, width, pixels }: Frames): number {
  const size = height * width * 3
  let total = 0
  for (let index = size; index < (frames - 1) * size; index++) {
    total += Math.abs(
      (pixels[index + size] as number) - 2 * (pixels[index] as number) + (pixels[index - size] as number),
    )
  }
  return total / Math.max(1, (frames - 2) * size)
}

/** How near clips are to the ones they stand for, over all their pixels together, in decibels. */
export function peakSignalToNoise(clips: readonly Frames[], real: readonly Frames[]): number {
  let [squares, count] = [0, 0]
  clips.forEach(({ pixels }, index) => {
    const wanted = (real[index] as Frames).pixels
    pixels.forEach((value, n) => {
      squares += (value - (wanted[n] as number)) ** 2
    })
    count += pixels.length
  })
  return 10 * Math.log10((255 ** 2 * count) / squares)
}

/** Flicker of clips relative to real ones of the same captions; interval by a seeded bootstrap over pairs. */
export function flicker(clips: readonly Frames[], real: readonly Frames[]): Figure {
  const [made, true_] = [clips.map(secondDifference), real.map(secondDifference)]
  const ratio = (chosen: readonly number[]) => sumAt(made, chosen) / Math.max(1e-9, sumAt(true_, chosen))
  return bootstrap(ratio, clips.length)
}

const sumAt = (values: readonly number[], chosen: readonly number[]) =>
  chosen.reduce((total, index) => total + (values[index] ?? 0), 0)

/** A statistic of all clips, with the 2.5th and 97.5th percentile over resampled ones. */
function bootstrap(statistic: (chosen: readonly number[]) => number, count: number, rounds = 200): Figure {
  const random = randomStream(1, 0xb007)
  const all = Array.from({ length: count }, (_, index) => index)
  const resampled = Array.from({ length: rounds }, () => statistic(all.map(() => random.integer(count)))).sort(
    (a, b) => a - b,
  )
  const at = (share: number) => resampled[Math.floor(share * (rounds - 1))] ?? Number.NaN
  return { value: statistic(all), low: at(0.025), high: at(0.975), clips: count }
}

/** Fréchet distance of the features of two sets of clips: ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2·(Σ₁Σ₂)^½). */
export function frechetDistance(clips: readonly Frames[], real: readonly Frames[]): Figure {
  const [made, true_] = [clips.map(featuresOf), real.map(featuresOf)]
  const pick = (features: readonly Float64Array[], chosen: readonly number[]) =>
    chosen.map((index) => features[index] as Float64Array)
  const statistic = (chosen: readonly number[]) => distanceOf(pick(made, chosen), pick(true_, chosen))
  return bootstrap(statistic, Math.min(clips.length, real.length), 20)
}

const kernels = [
  { in: 3, out: 12, stride: [2, 4, 4], size: [3, 5, 5] },
  { in: 12, out: 24, stride: [2, 2, 2], size: [3, 3, 3] },
] as const

/** Means and deviations of the last layer's channels: 48 numbers. The weights are fixed by their seed. */
export function featuresOf({ frames, height, width, pixels }: Frames): Float64Array {
  let current = {
    shape: [frames, height, width, 3] as const,
    data: Float32Array.from(pixels, (value) => value / 127.5 - 1),
  } as Volume
  kernels.forEach((kernel, layer) => {
    current = convolved(current, kernel, weightsOf(layer))
  })
  const [t, h, w, channels] = current.shape
  const features = new Float64Array(2 * channels)
  for (let channel = 0; channel < channels; channel++) {
    let [sum, square] = [0, 0]
    for (let place = 0; place < t * h * w; place++) {
      const value = current.data[place * channels + channel] as number
      sum += value
      square += value * value
    }
    const mean = sum / (t * h * w)
    features[channel] = mean
    features[channels + channel] = Math.sqrt(Math.max(0, square / (t * h * w) - mean * mean))
  }
  return features
}

interface Volume {
  readonly shape: readonly [number, number, number, number]
  readonly data: Float32Array
}

const weightCache = new Map<number, Float32Array>()

function weightsOf(layer: number): Float32Array {
  const { in: inputs, out, size } = kernels[layer] as (typeof kernels)[number]
  const count = inputs * out * size[0] * size[1] * size[2]
  const known =
    weightCache.get(layer) ?? gaussian(77, layer, 0, count).map((value) => value * Math.sqrt(2 / (count / out)))
  weightCache.set(layer, known)
  return known
}

/** Valid 3-D convolution, channels last, then max(x, 0.1·x). */
function convolved(
  { shape, data }: Volume,
  { out, stride, size, in: inputs }: (typeof kernels)[number],
  weights: Float32Array,
): Volume {
  const [T, H, W] = shape
  const steps = [0, 1, 2].map((axis) =>
    Math.max(1, Math.floor(((shape[axis] as number) - (size[axis] as number)) / (stride[axis] as number)) + 1),
  ) as [number, number, number]
  const result = new Float32Array(steps[0] * steps[1] * steps[2] * out)
  const accumulated = new Float32Array(out)
  for (let place = 0; place < steps[0] * steps[1] * steps[2]; place++) {
    const [t, h, w] = [
      Math.floor(place / (steps[1] * steps[2])),
      Math.floor(place / steps[2]) % steps[1],
      place % steps[2],
    ]
    accumulated.fill(0)
    let tap = 0
    for (let dt = 0; dt < size[0]; dt++) {
      const frame = Math.min(T - 1, t * stride[0] + dt)
      for (let dh = 0; dh < size[1]; dh++) {
        const row = Math.min(H - 1, h * stride[1] + dh)
        for (let dw = 0; dw < size[2]; dw++) {
          const base = ((frame * H + row) * W + Math.min(W - 1, w * stride[2] + dw)) * inputs
          for (let channel = 0; channel < inputs; channel++) {
            const value = data[base + channel] as number
            for (let o = 0; o < out; o++)
              accumulated[o] = (accumulated[o] as number) + value * (weights[tap + o] as number)
            tap += out
          }
        }
      }
    }
    for (let o = 0; o < out; o++)
      result[place * out + o] = Math.max(accumulated[o] as number, 0.1 * (accumulated[o] as number))
  }
  return { shape: [...steps, out], data: result }
}

type Matrix = readonly Float64Array[]

function distanceOf(a: readonly Float64Array[], b: readonly Float64Array[]): number {
  const [meanA, meanB] = [meanOf(a), meanOf(b)]
  const [covA, covB] = [covarianceOf(a, meanA), covarianceOf(b, meanB)]
  const root = symmetricRoot(covA)
  // (Σ₁Σ₂)^½ and (Σ₁^½ Σ₂ Σ₁^½)^½ have one trace; the second is symmetric.
  const inner = symmetricRoot(product(product(root, covB), root))
  const apart = meanA.reduce((total, value, index) => total + (value - (meanB[index] as number)) ** 2, 0)
  return apart + traceOf(covA) + traceOf(covB) - 2 * traceOf(inner)
}

function meanOf(rows: readonly Float64Array[]): Float64Array {
  const mean = new Float64Array(rows[0]?.length ?? 0)
  for (const row of rows) {
    row.forEach((value, index) => {
      mean[index] = (mean[index] as number) + value / rows.length
    })
  }
  return mean
}

function covarianceOf(rows: readonly Float64Array[], mean: Float64Array): Matrix {
  const matrix = Array.from(mean, () => new Float64Array(mean.length))
  for (const row of rows) {
    for (let i = 0; i < mean.length; i++) {
      const left = (row[i] as number) - (mean[i] as number)
      const line = matrix[i] as Float64Array
      for (let j = 0; j < mean.length; j++)
        line[j] =
          (line[j] as number) + (left * ((row[j] as number) - (mean[j] as number))) / Math.max(1, rows.length - 1)
    }
  }
  return matrix
}

const traceOf = (matrix: Matrix): number => matrix.reduce((total, row, index) => total + (row[index] as number), 0)

function product(a: Matrix, b: Matrix): Matrix {
  return a.map((row) =>
    Float64Array.from(row, (_, j) => row.reduce((total, value, k) => total + value * (b[k]?.[j] ?? 0), 0)),
  )
}

/** The square root of a symmetric positive matrix, by Jacobi's rotations; tiny negative eigenvalues count as zero. */
export function symmetricRoot(matrix: Matrix): Matrix {
  const size = matrix.length
  const a = matrix.map((row) => row.slice())
  const v = matrix.map((_, i) => Float64Array.from({ length: size }, (__, j) => (i === j ? 1 : 0)))
  for (let sweep = 0; sweep < 30; sweep++) {
    let off = 0
    for (let p = 0; p < size; p++) for (let q = p + 1; q < size; q++) off += rotate(a, v, p, q)
    if (off < 1e-20 * (1 + traceOf(a) ** 2)) break
  }
  const roots = a.map((row, index) => Math.sqrt(Math.max(0, row[index] as number)))
  return v.map((left) =>
    Float64Array.from(left, (_, j) =>
      left.reduce((total, value, k) => total + value * (roots[k] as number) * (v[j]?.[k] ?? 0), 0),
    ),
  )
}

/** Zeroes one off-diagonal pair; gives its former square. */
function rotate(a: Float64Array[], v: Float64Array[], p: number, q: number): number {
  const [rowP, rowQ] = [a[p] as Float64Array, a[q] as Float64Array]
  const between = rowP[q] as number
  if (Math.abs(between) < 1e-300) return 0
  const theta = ((rowQ[q] as number) - (rowP[p] as number)) / (2 * between)
  const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1))
  const c = 1 / Math.sqrt(t * t + 1)
  const s = t * c
  for (const row of a) turn(row, p, q, c, s)
  for (let k = 0; k < a.length; k++) {
    const [x, y] = [rowP[k] as number, rowQ[k] as number]
    rowP[k] = c * x - s * y
    rowQ[k] = s * x + c * y
  }
  for (const row of v) turn(row, p, q, c, s)
  return between * between
}

function turn(row: Float64Array, p: number, q: number, c: number, s: number): void {
  const [x, y] = [row[p] as number, row[q] as number]
  row[p] = c * x - s * y
  row[q] = s * x + c * y
}
