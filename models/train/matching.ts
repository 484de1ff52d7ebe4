/**
 * Distribution matching: a student learns from what it makes itself.
 *
 * Its estimate x of a clean clip is noised anew, to a time τ, and two denoisers look at it: the teacher, who knows where
 * films lie, and a companion, who learns all the while where the student's clips lie. Where they differ is the gradient
 * of the divergence between the two (Yin et al. 2024, 2311.18828 and 2405.14867), so that
 *
 *   x − (companion(x_τ) − teacher(x_τ)) / mean |x − teacher(x_τ)|
 *
 * is what x should have been; a critic's push may be added. The student is judged on its own way from noise, where it
 * can mend what it did wrong before (Huang et al. 2025, 2506.08009), and after a step to t by nothing that is only to be
 * seen below t (Luo et al. 2025, 2503.06674). Works on host arrays and in clean estimates; knows no network.
 */

import { gaussian } from '../../shared/random.ts'
import { cleanLevel, type NoiseLevel, type Schedule } from '../../shared/schedule.ts'
import { type Draw, mixed } from './denoising.ts'
import { ddimStep } from './distill.ts'

type Shape = Draw['shape']

/** What the estimate should have been, clip by clip: of clips far from the teacher's as of those that are near. */
export function matchingTarget(
  shape: Shape,
  estimate: Float32Array,
  teacher: Float32Array,
  companion: Float32Array,
): Float32Array {
  const size = estimate.length / shape[0]
  const target = new Float32Array(estimate.length)
  for (let from = 0; from < estimate.length; from += size) {
    const part = [estimate, teacher].map((each) => each.subarray(from, from + size)) as [Float32Array, Float32Array]
    const share = 1 / Math.max(distance(...part), 1e-6)
    for (let n = from; n < from + size; n++)
      target[n] = (estimate[n] as number) - share * ((companion[n] as number) - (teacher[n] as number))
  }
  return target
}

/** The mean of what two differ by. */
export function distance(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, n) => sum + Math.abs(value - (b[n] as number)), 0) / a.length
}

/** The times at which clips whose step ends at `ends` are looked at, spread over a batch by an offset in [0, 1). */
export type Looks = (ends: readonly number[], offset: number) => number[]

/** Evenly, from the end of the step up to all but noise. */
export const evenLooks: Looks = (ends, offset) =>
  ends.map((end, clip) => between(Math.max(0.02, end), 0.98, spread(offset, clip)))

/** Where shapes are to be told, and near the end of the step more often. */
export const closeLooks: Looks = (ends, offset) =>
  ends.map((end, clip) => {
    const low = Math.max(0.05, end)
    return Math.min(0.98, between(low, Math.max(low + 0.05, 0.75), spread(offset, clip) ** 1.5))
  })

const between = (low: number, high: number, share: number): number => low + (high - low) * share

/** The golden ratio keeps apart whichever clips share a step. */
const spread = (offset: number, clip: number): number => (offset + clip * 0.6180339887498949) % 1

/** Clean clips noised, each to its own level. */
export const noised = (shape: Shape, clean: Float32Array, levels: readonly NoiseLevel[], noise: Float32Array) =>
  mixed(shape, clean, noise, (clip) => [levels[clip]?.alpha ?? 1, levels[clip]?.sigma ?? 0])

export interface WaysOptions {
  readonly shape: Shape
  readonly schedule: Schedule
  /** Of the student. */
  readonly steps: number
  readonly seed: number
  /** Hears which clip begins anew, so that it gets other words. */
  readonly begin: (clip: number) => void
}

/** A batch of clips on their way from noise. */
export interface Ways {
  readonly latents: () => Float32Array
  /** When each clip is. */
  readonly times: () => number[]
  /** When its next step ends. */
  readonly ends: () => number[]
  /** Takes the step that the estimate of all clips leads to; what has arrived begins anew. */
  readonly advance: (estimate: Float32Array) => void
}

/**
 * Ways of which as many are at each step: in the first round some begin anew before they arrive. So one evaluation of a
 * batch both goes on and is judged, and none is made for the way alone.
 */
export function ways({ shape, schedule, steps, seed, begin }: WaysOptions): Ways {
  const [batch] = shape
  const size = shape.reduce((product, n) => product * n, 1) / batch
  const left = new Array<number>(batch).fill(steps)
  let latents: Float32Array = new Float32Array(batch * size)
  let [begun, round] = [0, 0]
  const start = (clip: number): void => {
    left[clip] = steps
    latents.set(gaussian(seed, 0x50000000 + begun++, 0, size), clip * size)
    begin(clip)
  }
  for (let clip = 0; clip < batch; clip++) start(clip)
  const levelAt = (step: number): NoiseLevel => (step === 0 ? cleanLevel : schedule(step / steps))
  return {
    latents: () => latents,
    times: () => left.map((n) => n / steps),
    ends: () => left.map((n) => (n - 1) / steps),
    advance: (estimate) => {
      const [from, to] = [left.map(levelAt), left.map((n) => levelAt(n - 1))]
      latents = ddimStep(shape, latents, estimate, from, to)
      const early = round++
      left.forEach((n, clip) => {
        left[clip] = n - 1
        if (n === 1 || (early < steps && clip % steps === early)) start(clip)
      })
    },
  }
}
