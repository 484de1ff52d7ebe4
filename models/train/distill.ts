/**
 * Guided progressive distillation: targets for a student that needs half the steps, and no second evaluation.
 *
 * First guidance is folded in: the student, told the scale, learns what two evaluations of the teacher combine to (Meng
 * et al. 2022, 2210.03142). Then halvings: one step of the student must land where two steps of its teacher land
 * (Salimans & Ho 2022, 2202.00512, alg. 2). For z at t, two DDIM steps through t − ½/N to t − 1/N end at z″, and
 *
 *   x̃ = (z″ − (σ″/σ)·z) / (α″ − (σ″/σ)·α)
 *
 * is the clean estimate whose single DDIM step ends there too. Works on host arrays and in clean estimates, so it does
 * not know what a network predicts; a network is a function.
 */

import { guidanceWeights } from '../../shared/guidance.ts'
import { ddimRow } from '../../shared/sampler.ts'
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

/** Steps of the teacher behind one of a student's whom it teaches itself, without halvings in between. */
export const directSteps = 8

/**
 * The clean estimate that a student of `steps` steps should make at z: the one whose single DDIM step lands where some
 * of the teacher's land.
 * @param times each clip's time, a multiple of 1/steps.
 * @param count how many steps of the teacher.
 */
export async function landingTarget(
  teacher: Denoise,
  schedule: Schedule,
  shape: Shape,
  latents: Float32Array,
  times: readonly number[],
  steps: number,
  count = 2,
): Promise<Float32Array> {
  // A last step ends clean, whatever the schedule's own limit says.
  const levelAt = (t: number) => (t < 1e-9 ? cleanLevel : schedule(t))
  const levels = Array.from({ length: count + 1 }, (_, done) => times.map((t) => levelAt(t - done / count / steps)))
  let landed = latents
  for (let done = 0; done < count; done++) {
    const [from, to] = [levels[done], levels[done + 1]] as [NoiseLevel[], NoiseLevel[]]
    landed = await teacherStep(teacher, shape, landed, from, to)
  }
  return mixed(shape, landed, latents, (clip) => {
    const [from, to] = [levels[0]?.[clip], levels[count]?.[clip]] as [NoiseLevel, NoiseLevel]
    const ratio = to.sigma / from.sigma
    const share = 1 / (to.alpha - ratio * from.alpha)
    return [share, -ratio * share]
  })
}

/** One DDIM step of the teacher. */
async function teacherStep(
  teacher: Denoise,
  shape: Shape,
  latents: Float32Array,
  from: readonly NoiseLevel[],
  to: readonly NoiseLevel[],
): Promise<Float32Array> {
  return ddimStep(shape, latents, await teacher(latents, from), from, to)
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
