/**
 * How much of a teacher's guidance a student has taken in: its one evaluation beside the teacher's two, on clips that
 * neither has seen, level by level. What a student of few steps does wrong comes from here or from its halvings; this
 * tells which.
 */

import { cosine } from '../../shared/schedule.ts'
import { guidanceFeed } from '../pipeline/generate.ts'
import { type Draw, mixed, textFeeds } from '../train/denoising.ts'
import { guidedEstimate } from '../train/distill.ts'
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

export async function foldingErrors(drawn: Draw, pair: FoldingPair): Promise<FoldingError[]> {
  const { name, shape, text, clean, noise } = drawn
  const [batch] = shape
  const silence = textFeeds(name, new Array<string>(batch).fill(''), pair.tokens)
  const errors: FoldingError[] = []
  for (const time of foldingTimes) {
    const level = cosine()(time)
    const levels = new Array(batch).fill(level)
    const latents = mixed(shape, clean, noise, () => [level.alpha, level.sigma])
    const conditional = await pair.teacher.under(text)(latents, levels)
    const unconditional = await pair.teacher.under(silence)(latents, levels)
    for (const scale of foldingScales) {
      const scales = new Array<number>(batch).fill(scale)
      const target = guidedEstimate(shape, conditional, unconditional, scales)
      const guidance = { [`${name}.guidance`]: guidanceFeed(scales, pair.featureWidth) }
      const estimate = await pair.student.under({ ...text, ...guidance })(latents, levels)
      errors.push({ time, scale, error: distance(estimate, target), effect: distance(target, conditional) })
    }
  }
  return errors
}

const distance = (a: Float32Array, b: Float32Array): number =>
  a.reduce((total, value, n) => total + (value - (b[n] as number)) ** 2, 0) / a.length
