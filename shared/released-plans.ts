/**
 * The plans of released models, as data: which noise levels their steps stand at, and what a step keeps.
 *
 * Rows are those of sampler.ts, so these models run as our own do. On a straight path alpha = 1 − sigma: `renoise` gives
 * (1 − σ′)·denoised + σ′·noise, the consistency row (Song et al. 2023, 2303.01469, alg. 1); `euler` gives x + (σ′ − σ)·v,
 * which is DDIM's row. Networks are told 1000·sigma, or their own whole timestep. Distilled models have their levels written
 * down and no guidance; those that are not space any number of steps by a rule, and are guided.
 *
 * LTX-Video: published schedules of Lightricks. Wan 2.1: shift and scale that its authors recommend for 1.3 B. FastWan: Zhang et al. 2025 (2505.13389). Self-Forcing:
 * Huang et al. 2025 (2506.08009). AnimateDiff-Lightning: Lin & Yang 2024 (2403.12706). Shift: Esser et al. 2024
 * (2403.03206).
 */

import type { Prediction } from './prediction.ts'
import { clean, ddimRow, type SamplerStep } from './sampler.ts'
import { levelOfLogsnr, type NoiseLevel, rectifiedFlow, timesteps } from './schedule.ts'

/** What the network is told at a step, and the step. */
export interface ReleasedStep extends SamplerStep {
  /** On the scale 0…1000. */
  readonly timestep: number
}

/** Consecutive steps at one size of the latents. */
export interface Pass {
  readonly rule: 'renoise' | 'euler'
  /** Noise levels of a straight path, falling; the last step ends clean. */
  readonly sigmas: readonly number[]
  /** Side of this pass's latents as a share of the side asked for; frames are brought to that side in the end. */
  readonly scale: number
}

export type ReleasedPlan =
  | { readonly path: 'straight'; readonly prediction: 'flow'; readonly passes: readonly Pass[] }
  | { readonly path: 'discrete'; readonly prediction: 'noise'; readonly steps: number }
  | {
      readonly path: 'spaced'
      readonly prediction: 'flow'
      readonly spacing: Spacing
      /** Steps and guidance scale where a request says nothing. */
      readonly steps: number
      readonly guidance: number
    }

/** How the levels of any number of Euler's steps are found. */
export type Spacing =
  /** Equal steps of t, moved towards noise by t′ = s·t / (1 + (s − 1)·t). */
  | { readonly kind: 'shifted'; readonly shift: number }
  /** Half of the steps in a straight line down to 1 − threshold, the others on a parabola that goes on as steeply. */
  | { readonly kind: 'linearQuadratic'; readonly threshold: number }

const single = (rule: Pass['rule'], sigmas: readonly number[]): ReleasedPlan => ({
  path: 'straight',
  prediction: 'flow',
  passes: [{ rule, sigmas, scale: 1 }],
})
/** t′ = s·t / (1 + (s − 1)·t). */
const shifted = (times: readonly number[], shift: number): number[] => times.map((t) => rectifiedFlow(shift)(t).sigma)
const spaced = (spacing: Spacing, steps: number, guidance: number): ReleasedPlan => ({
  path: 'spaced',
  prediction: 'flow',
  spacing,
  steps,
  guidance,
})
const lightning = (steps: number): ReleasedPlan => ({ path: 'discrete', prediction: 'noise', steps })
const quarters = [1, 0.75, 0.5, 0.25]

/** Plans by name. A plan of two passes doubles its latents between them; the pipeline knows how. */
export const releasedPlans = {
  'ltx-0.9.6-distilled': single('renoise', [1, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875]),
  // The first pass of 0.9.8 alone, where there is no upscaler.
  'ltx-0.9.8-distilled': single('euler', [1, 0.9937, 0.9875, 0.9812, 0.975, 0.9094, 0.725]),
  'ltx-0.9.8-distilled-two-pass': {
    path: 'straight',
    prediction: 'flow',
    passes: [
      { rule: 'euler', sigmas: [1, 0.9937, 0.9875, 0.9812, 0.975, 0.9094, 0.725], scale: 2 / 3 },
      { rule: 'euler', sigmas: [0.9094, 0.725, 0.4219], scale: 4 / 3 },
    ],
  },
  'ltx-base': spaced({ kind: 'linearQuadratic', threshold: 0.025 }, 40, 3),
  'wan2.1-base': spaced({ kind: 'shifted', shift: 8 }, 50, 6),
  'fastwan-dmd': single('renoise', [1, 0.757, 0.522]),
  'self-forcing': single('renoise', shifted(quarters, 5)),
  'lightx2v-4': single('euler', shifted(quarters, 5)),
  'animatediff-lightning-1': lightning(1),
  'animatediff-lightning-2': lightning(2),
  'animatediff-lightning-4': lightning(4),
  'animatediff-lightning-8': lightning(8),
} as const satisfies Record<string, ReleasedPlan>

export type ReleasedPlanName = keyof typeof releasedPlans

/**
 * The rows of a plan, pass by pass.
 * @param steps for a plan of any number of steps; its own number when left out.
 */
export function releasedSteps(plan: ReleasedPlan, steps?: number): ReleasedStep[][] {
  if (plan.path === 'discrete') return [discreteSteps(plan.steps)]
  if (plan.path === 'spaced') return [straightSteps('euler', spacedSigmas(plan.spacing, steps ?? plan.steps))]
  return plan.passes.map(({ rule, sigmas }) => straightSteps(rule, sigmas))
}

/** The guidance scale of a plan where a request names none; undefined where the model was distilled without guidance. */
export const guidanceOf = (plan: ReleasedPlan): number | undefined =>
  plan.path === 'spaced' ? plan.guidance : undefined

function straightSteps(rule: Pass['rule'], sigmas: readonly number[]): ReleasedStep[] {
  return sigmas.map((sigma, index) => {
    const [level, next] = [straight(sigma), straight(sigmas[index + 1] ?? 0)]
    return { ...stepOf(level, next, rule), timestep: 1000 * sigma }
  })
}

function spacedSigmas(spacing: Spacing, steps: number): number[] {
  if (spacing.kind === 'shifted') return shifted(timesteps(steps).slice(0, -1), spacing.shift)
  const { threshold } = spacing
  const half = Math.floor(steps / 2)
  // A parabola through what the line leaves, with the line's slope where it begins, that ends clean.
  const rest = steps - half
  const slope = half === 0 ? 0 : threshold / half
  const bend = (1 - (half === 0 ? 0 : threshold) - slope * rest) / rest ** 2
  return Array.from({ length: steps }, (_, index) => {
    const beyond = Math.max(0, index - half)
    return 1 - slope * index - bend * beyond ** 2
  })
}

/** How strongly a plan of several passes noises its latents again before pass `index`; 1 at the first. */
export const startOf = ({ sigmas: [first = 1] }: Pass): NoiseLevel => straight(first)

const straight = (sigma: number): NoiseLevel => ({ t: sigma, alpha: 1 - sigma, sigma })

function stepOf(level: NoiseLevel, next: NoiseLevel, rule: Pass['rule']): SamplerStep {
  if (next.sigma === 0) return { level, next: clean, latents: 0, denoised: 1, previous: 0, noise: 0 }
  if (rule === 'euler') return { level, next, ...ddimRow(level, next) }
  return { level, next, latents: 0, denoised: next.alpha, previous: 0, noise: next.sigma }
}

/** Euler's steps over √((1 − ᾱ)/ᾱ) are DDIM's on the variance-preserving levels; timesteps trail: 999, 749, … */
function discreteSteps(steps: number): ReleasedStep[] {
  const times = Array.from({ length: steps }, (_, index) => Math.round(1000 - (index * 1000) / steps) - 1)
  const levels = times.map(discreteLevel)
  return levels.map((level, index) => {
    const next = levels[index + 1] ?? clean
    return { ...stepOf(level, next, 'euler'), timestep: times[index] as number }
  })
}

/** The level of a whole timestep where β grows linearly from 0.00085 to 0.012. */
function discreteLevel(timestep: number): NoiseLevel {
  let kept = 1
  for (let step = 0; step <= timestep; step++) kept *= 1 - (0.00085 + ((0.012 - 0.00085) * step) / 999)
  return levelOfLogsnr((timestep + 1) / 1000, Math.log(kept / (1 - kept)))
}

/** What the network of a plan predicts. */
export const predictionOf = ({ prediction }: ReleasedPlan): Prediction => prediction
