/**
 * How much of a teacher's guidance a student has taken in, on clips that neither has seen, level by level: its one
 * evaluation beside the teacher's two, or one of its few steps beside the teacher's guided steps that it stands for. The
 * first is what folding guidance in has left to do, the second what the whole distillation has.
 */

import { cosine, type NoiseLevel } from '../../shared/schedule.ts'
import { guidanceFeed } from '../pipeline/generate.ts'
import { type Draw, mixed, textFeeds } from '../train/denoising.ts'
import { type Denoise, direct, guidedEstimate, landingTarget } from '../train/distill.ts'
import type { DenoiserSession } from './denoiser-session.ts'

/** Mean squares over all latents at one time of the cosine schedule and one guidance scale. */
export interface FoldingError {
  readonly time: number
  readonly scale: number
  /** Of the student's estimate less the guided one. */
  readonly error: number
  /** Of the guided estimate less the conditional one: the error of a student that knows nothing of guidance. */
  readonly effect: number
}

export const foldingTimes = [0.1, 0.3, 0.5, 0.7, 0.85, 1] as const
export const foldingScales = [2, 4] as const

export interface FoldingPair {
  readonly teacher: DenoiserSession
  readonly student: DenoiserSession
  /** Longest caption. */
  readonly tokens: number
  readonly featureWidth: number
}

/** @param steps of the student's sampler, whose levels are judged then; without it, any student at the folding times. */
export async function foldingErrors(drawn: Draw, pair: FoldingPair, steps?: number): Promise<FoldingError[]> {
  const { name, shape, text, clean, noise } = drawn
  const [batch] = shape
  const conditional = pair.teacher.under(text)
  const unconditional = pair.teacher.under(textFeeds(name, new Array<string>(batch).fill(''), pair.tokens))
  const errors: FoldingError[] = []
  for (const time of steps === undefined ? foldingTimes : gridOf(steps)) {
    const level = schedule(time)
    const [times, levels] = [new Array<number>(batch).fill(time), new Array<NoiseLevel>(batch).fill(level)]
    const latents = mixed(shape, clean, noise, () => [level.alpha, level.sigma])
    const targetOf = (teacher: Denoise) =>
      steps === undefined
        ? teacher(latents, levels)
        : landingTarget(teacher, schedule, shape, latents, times, steps, direct)
    const unguided = await targetOf(conditional)
    for (const scale of foldingScales) {
      const scales = new Array<number>(batch).fill(scale)
      const target = await targetOf(async (latents, levels) =>
        guidedEstimate(shape, await conditional(latents, levels), await unconditional(latents, levels), scales),
      )
      const guidance = { [`${name}.guidance`]: guidanceFeed(scales, pair.featureWidth) }
      const estimate = await pair.student.under({ ...text, ...guidance })(latents, levels)
      errors.push({ time, scale, error: distance(estimate, target), effect: distance(target, unguided) })
    }
  }
  return errors
}

const schedule = cosine()

const gridOf = (steps: number): number[] => Array.from({ length: steps }, (_, n) => (n + 1) / steps)

const distance = (a: Float32Array, b: Float32Array): number =>
  a.reduce((total, value, n) => total + (value - (b[n] as number)) ** 2, 0) / a.length
