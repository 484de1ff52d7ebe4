/**
 * Guided progressive distillation: targets for a student that needs half the steps, and no second evaluation.
 *
 * First guidance is folded in: the student, told the scale, learns what two evaluations of the teacher combine to (Meng
 * et al. 2022, 2210.03142). Then halvings: one step of the student must land where two steps of its teacher land
 * (Salimans & Ho 2022, 2202.00512, alg. 2). For z at t, two DDIM steps through t − ½/N to t − 1/N end at z″, and
 *
 *   x̃ = (z″ − (σ″/σ)·z) / (α″ − (σ″/σ)·α)
 *
 * is the clean estimate whose single DDIM step ends there too; and so it is for more steps of the teacher, those of
 * DPM-Solver++ 2M (Lu et al. 2022, 2211.01095) among them. Works on host arrays and in clean estimates, so it does not
 * know what a network predicts; a network is a function.
 */

import { guidanceWeights } from '../../shared/guidance.ts'
import { ddimRow, extrapolation } from '../../shared/sampler.ts'
import { cleanLevel, type NoiseLevel, type Schedule } from '../../shared/schedule.ts'
import { type Draw, mixed } from './denoising.ts'

type Shape = Draw['shape']

/** The network's clean estimate for noisy latents, each clip at its own level. */
export type Denoise = (latents: Float32Array, levels: readonly NoiseLevel[]) => Promise<Float32Array>

/** The guided estimate, clip by clip: unconditional + scale · (conditional − unconditional). */
export function guidedEstimate(
  shape: Shape,
  conditional: Float32Array,
  unconditional: Float32Array,
  scales: readonly number[],
): Float32Array {
  return mixed(shape, conditional, unconditional, (clip) => {
    const weights = guidanceWeights(scales[clip] as number)
    return [weights.conditional, weights.unconditional]
  })
}

/** Times of a student of N steps: i/N for the i of a uniform number in (0, 1]. */
export const studentTime = (uniform: number, steps: number): number => Math.max(1, Math.ceil(uniform * steps)) / steps

/** The teacher's way behind one step of a student. */
export interface Landing {
  readonly steps: number
  /** By DPM-Solver++ 2M in place of DDIM: its first step is DDIM's, each other one looks back at the one before. */
  readonly multistep: boolean
}

export const halving: Landing = { steps: 2, multistep: false }
/**
 * Of a student of eight steps whom the teacher teaches itself: as many as the teacher's own plan of 32 has there. At middle
 * levels four that look back are nearer to endless ones than eight of DDIM, for half the evaluations.
 */
export const direct: Landing = { steps: 4, multistep: true }

/**
 * The clean estimate that a student of `steps` steps should make at z: the one whose single DDIM step lands where some
 * of the teacher's land.
 * @param times each clip's time, a multiple of 1/steps.
 */
export async function landingTarget(
  teacher: Denoise,
  schedule: Schedule,
  shape: Shape,
  latents: Float32Array,
  times: readonly number[],
  steps: number,
  landing = halving,
): Promise<Float32Array> {
  // A last step ends clean, whatever the schedule's own limit says.
  const levelAt = (t: number) => (t < 1e-9 ? cleanLevel : schedule(t))
  const levels = Array.from({ length: landing.steps + 1 }, (_, done) =>
    times.map((t) => levelAt(t - done / landing.steps / steps)),
  )
  let [landed, before]: [Float32Array, Float32Array | undefined] = [latents, undefined]
  for (let done = 0; done < landing.steps; done++) {
    const way = [done - 1, done, done + 1].map((n) => levels[n]) as Way
    const estimate = await teacher(landed, way[1])
    const taken = landing.multistep ? lookingBack(shape, estimate, before, way) : estimate
    landed = ddimStep(shape, landed, taken, way[1], way[2])
    before = estimate
  }
  return mixed(shape, landed, latents, (clip) => {
    const [from, to] = [levels[0]?.[clip], levels[landing.steps]?.[clip]] as [NoiseLevel, NoiseLevel]
    const ratio = to.sigma / from.sigma
    const share = 1 / (to.alpha - ratio * from.alpha)
    return [share, -ratio * share]
  })
}

/** Each clip's level before the last step, now, and after this one. */
type Way = [last: readonly NoiseLevel[] | undefined, from: readonly NoiseLevel[], to: readonly NoiseLevel[]]

/** An estimate taken further the way it went. What ends clean is the teacher's own last word, as in a sampler's plan. */
function lookingBack(shape: Shape, estimate: Float32Array, before: Float32Array | undefined, [last, from, to]: Way) {
  if (before === undefined || last === undefined) return estimate
  return mixed(shape, estimate, before, (clip) => {
    const [was, now, next] = [last[clip], from[clip], to[clip]] as [NoiseLevel, NoiseLevel, NoiseLevel]
    const further = next.sigma === 0 ? 0 : extrapolation(now, next, was)
    return [1 + further, -further]
  })
}

/** Moves every clip from its level to the next by DDIM. */
export function ddimStep(
  shape: Shape,
  latents: Float32Array,
  estimate: Float32Array,
  from: readonly NoiseLevel[],
  to: readonly NoiseLevel[],
): Float32Array {
  return mixed(shape, latents, estimate, (clip) => {
    const row = ddimRow(from[clip] as NoiseLevel, to[clip] as NoiseLevel)
    return [row.latents, row.denoised]
  })
}
