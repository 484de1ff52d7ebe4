/**
 * Plans by name: the rows by which a model of ours, or a released one, goes from noise to a clip.
 *
 * A model's card names its plan, so whoever takes a run over knows the rows without the model. Knows no network.
 */

import { GenerationError } from './errors.ts'
import { releasedPlans, releasedSteps } from './released-plans.ts'
import { plan, type Sampler, type SamplerStep } from './sampler.ts'
import { cosine } from './schedule.ts'

/** `cosine` is that of our own models, as many steps as asked for; the others have their own. */
export const planNames = ['cosine', ...(Object.keys(releasedPlans) as (keyof typeof releasedPlans)[])] as const
export type PlanName = (typeof planNames)[number]

const samplers: Readonly<Record<string, Sampler>> = { ddim: { kind: 'ddim' }, dpm2m: { kind: 'dpm2m' } }
/** What a cosine plan may be walked by. */
export const cosineSamplers = Object.keys(samplers)

export interface PlanRequest {
  readonly scheduler: string | null
  readonly num_inference_steps: number | null
}

/** The rows of a request of our own models. @throws GenerationError invalid_parameter for a sampler there is not. */
export function planOf({ scheduler, num_inference_steps: steps }: PlanRequest): SamplerStep[] {
  const sampler = scheduler !== null && Object.hasOwn(samplers, scheduler) ? samplers[scheduler] : undefined
  if (sampler === undefined) {
    throw new GenerationError(
      'invalid_parameter',
      `scheduler: got ${scheduler}, allowed are ${cosineSamplers.join(', ')}`,
    )
  }
  return plan({ schedule: cosine(), sampler, steps: steps ?? 0 })
}

/** The rows of a request under a plan; of a plan of several passes those of the first. */
export function rowsOf(name: PlanName, request: PlanRequest): readonly SamplerStep[] {
  if (name === 'cosine') return planOf(request)
  return releasedSteps(releasedPlans[name], request.num_inference_steps ?? undefined)[0] ?? []
}

/** sigma of every level of some rows, the last one 0. */
export const sigmasOf = (rows: readonly SamplerStep[]): number[] => [...rows.map(({ level }) => level.sigma), 0]

/** Counts of rows after which latents alone carry a run on; the last is the whole plan. */
export function cuts(rows: readonly SamplerStep[]): number[] {
  const counts = rows.map((_, index) => index + 1)
  return counts.filter((count) => count === rows.length || rows[count]?.previous === 0)
}
