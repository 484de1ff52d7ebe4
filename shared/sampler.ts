/**
 * Samplers as tables of numbers.
 *
 * Every sampler here is one affine row per step,
 *
 *   next = x · latents + d · denoised + p · previous + n · noise,
 *
 * with `previous` the last step's denoised and `noise` fresh standard normal. A plan is the list of rows; edge, cloud
 * and browser run the same plan, and a split run cuts it where `previous` is 0. Rows are computed from alpha and sigma,
 * never from their quotient alone, so a run may start at pure noise.
 *
 * DDIM: Song et al. 2020 (2010.02502). Ancestral with γ between the two variances: VDM (2107.00630) as in Ho et al.
 * 2022 (2204.03458). Consistency: Song et al. 2023 (2303.01469), alg. 1. DPM-Solver++ 2M and SDE: Lu et al. 2022
 * (2211.01095), eqs. 4.1 and app. The stochastic N-step sampler: Salimans & Ho 2022 as used for Imagen Video
 * (2210.02303): two steps down, one step of noise back up.
 */

import { type NoiseLevel, type Schedule, timesteps } from './schedule.ts'

/** One step, from `level` to `next`. */
export interface SamplerStep {
  readonly level: NoiseLevel
  readonly next: NoiseLevel
  readonly latents: number
  readonly denoised: number
  readonly previous: number
  readonly noise: number
}

export type Sampler =
  | { readonly kind: 'ddim' }
  | { readonly kind: 'ancestral'; readonly gamma: number }
  | { readonly kind: 'consistency' }
  | { readonly kind: 'stochastic' }
  | { readonly kind: 'dpm2m' }
  | { readonly kind: 'dpm2mSde' }

export interface PlanOptions {
  readonly schedule: Schedule
  readonly sampler: Sampler
  readonly steps: number
  /** Where to begin: 1 is pure noise. */
  readonly from?: number
}

type Row = Pick<SamplerStep, 'latents' | 'denoised' | 'previous' | 'noise'>

/** What a sampler may look at to write its row. */
interface Situation {
  readonly level: NoiseLevel
  readonly next: NoiseLevel
  /** The level of the step before; absent at the first. */
  readonly last: NoiseLevel | undefined
  readonly schedule: Schedule
  readonly stride: number
}

/** The rows of a run. The last one ends at t = 0 and gives the clean estimate. */
export function plan({ schedule, sampler, steps, from = 1 }: PlanOptions): SamplerStep[] {
  const times = timesteps(steps, from)
  const levels = times.map(schedule)
  const rule = rowRules[sampler.kind] as (situation: Situation, sampler: Sampler) => Row
  return levels.slice(0, -1).map((level, index) => {
    const next = levels[index + 1] as NoiseLevel
    // The last step gives the clean estimate itself: at t = 0 nothing of the noise may remain.
    if (index === steps - 1) return { level, next: clean, latents: 0, denoised: 1, previous: 0, noise: 0 }
    return { level, next, ...rule({ level, next, last: levels[index - 1], schedule, stride: from / steps }, sampler) }
  })
}

/** Where every run ends. */
export const clean: NoiseLevel = { t: 0, alpha: 1, sigma: 0 }

const rowRules = {
  ddim: ({ level, next }) => ddimRow(level, next),
  ancestral: ({ level, next }, { gamma }) => ancestralRow(level, next, gamma),
  consistency: ({ next }) => ({ latents: 0, denoised: next.alpha, previous: 0, noise: next.sigma }),
  stochastic: ({ level, next, schedule, stride }) => stochasticRow(level, next, schedule(Math.max(0, next.t - stride))),
  dpm2m: ({ level, next, last }) => multistepRow(level, next, last, false),
  dpm2mSde: ({ level, next, last }) => multistepRow(level, next, last, true),
} satisfies { readonly [K in Sampler['kind']]: (situation: Situation, sampler: Extract<Sampler, { kind: K }>) => Row }

/** z_s = (σ_s/σ_t)·z + (α_s − α_t·σ_s/σ_t)·x̂; Euler's step on a straight path is the same row. */
export function ddimRow(level: NoiseLevel, next: NoiseLevel): Row {
  const ratio = next.sigma / level.sigma
  return { latents: ratio, denoised: next.alpha - level.alpha * ratio, previous: 0, noise: 0 }
}

/**
 * q(z_s | z_t, x̂), its variance between the posterior's (γ = 0) and the forward transition's (γ = 1), geometrically.
 * The mean is the posterior's for every γ.
 */
export function ancestralRow(level: NoiseLevel, next: NoiseLevel, gamma: number): Row {
  const forward = transitionVariance(level, next)
  const kept = (level.alpha * next.sigma ** 2) / (next.alpha * level.sigma ** 2)
  const posterior = (forward * next.sigma ** 2) / level.sigma ** 2
  const variance = posterior ** (1 - gamma) * forward ** gamma
  return { latents: kept, denoised: next.alpha - level.alpha * kept, previous: 0, noise: Math.sqrt(variance) }
}

/** Down to `beyond` by DDIM, then up to `next` by the forward transition. */
function stochasticRow(level: NoiseLevel, next: NoiseLevel, beyond: NoiseLevel): Row {
  const down = ddimRow(level, beyond)
  const up = next.alpha / beyond.alpha
  const noise = Math.sqrt(transitionVariance(next, beyond))
  return { latents: down.latents * up, denoised: down.denoised * up, previous: 0, noise }
}

/** σ²_{t|s} = σ_t² − (α_t/α_s)²·σ_s²: the noise that the way from s up to t adds. */
export function transitionVariance(noisier: NoiseLevel, cleaner: NoiseLevel): number {
  return Math.max(0, noisier.sigma ** 2 - (noisier.alpha / cleaner.alpha) ** 2 * cleaner.sigma ** 2)
}

/**
 * DPM-Solver++ 2M, deterministic or SDE. With h = λ_s − λ_t (λ = log α/σ) the clean estimate is extrapolated by
 * 1/(2r), r = h_last/h. The first step has no memory; from pure noise h is large and the extrapolation vanishes.
 */
function multistepRow(level: NoiseLevel, next: NoiseLevel, last: NoiseLevel | undefined, stochastic: boolean): Row {
  // For a constant clean estimate the reverse SDE's exact solution is the posterior.
  const row = stochastic ? ancestralRow(level, next, 0) : ddimRow(level, next)
  if (last === undefined) return row
  const further = extrapolation(level, next, last)
  return { ...row, denoised: row.denoised * (1 + further), previous: -row.denoised * further }
}

/** 1/(2r) of DPM-Solver++ 2M: how much further a clean estimate is taken the way it went since the step before. */
export function extrapolation(level: NoiseLevel, next: NoiseLevel, last: NoiseLevel): number {
  const [h, before] = [halfLogsnr(next) - halfLogsnr(level), halfLogsnr(level) - halfLogsnr(last)]
  return h / (2 * before)
}

/** λ = log(alpha/sigma), finite at pure noise as the schedules' limits are. */
function halfLogsnr({ alpha, sigma }: NoiseLevel): number {
  return Math.log(Math.max(alpha, 1e-9) / Math.max(sigma, 1e-9))
}
