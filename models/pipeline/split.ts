/**
 * A run in parts: where it enters its plan, where it leaves it, the latents handed over, and what of the clip is given.
 *
 * A split run cuts the plan at a row; both halves together do what the whole does. Cutting is allowed where the next
 * row does not look back (`previous` is 0), since only latents travel. Knows no file and no wire.
 */

import { GenerationError } from '../../shared/errors.ts'
import { cuts } from '../../shared/plan.ts'
import type { SamplerStep } from '../../shared/sampler.ts'
import type { LatentShape } from '../../shared/video.ts'
import { firstNotFinite } from './finite.ts'

/** Latents after `step` of `steps` rows; [1, C, F, h, w] as one array. */
export interface Latents {
  readonly data: Float32Array
  readonly shape: LatentShape
  readonly step: number
  readonly steps: number
}

/** The part of a plan to run; all of it where both are left out. */
export interface Split {
  /** Latents to begin from, and how many rows they have behind them. */
  readonly from?: { readonly data: Float32Array; readonly step: number }
  /** Rows done in all when the run stops. */
  readonly until?: number
  /** The clip's first latent frame [C, h, w], clean: it begins with a picture (first-frame.ts). */
  readonly given?: Float32Array
}

/** What a whole run may begin with. */
export type Start = Pick<Split, 'given'>

/** The rows `start`, …, `stop` − 1 of a plan. */
export interface Range {
  readonly start: number
  readonly stop: number
}

/**
 * Holds a split to its plan.
 * @throws GenerationError latent_mismatch or invalid_parameter, naming the rows where the plan may be cut.
 */
export function rangeOf(steps: readonly SamplerStep[], { from, until }: Split): Range {
  const [start, stop] = [from?.step ?? 0, until ?? steps.length]
  const allowed = cuts(steps)
  if (from !== undefined && start !== 0 && !allowed.includes(start)) {
    throw new GenerationError(
      'latent_mismatch',
      `start_step: got ${start}, this plan can be entered at 0, ${allowed.join(', ')}; hand over there`,
      { pointer: '/start_step' },
    )
  }
  if (!allowed.includes(stop) || stop < start || (stop === start && stop !== steps.length)) {
    throw new GenerationError(
      'invalid_parameter',
      `stop_step: got ${stop}, this plan can be left at ${allowed.filter((step) => step > start).join(', ')}`,
      { pointer: '/stop_step' },
    )
  }
  return { start, stop }
}

/**
 * Checks that latents fit a request.
 * @throws GenerationError latent_mismatch.
 */
export function requireFit(data: Float32Array, { channels, frames, height, width }: LatentShape): void {
  const wanted = channels * frames * height * width
  if (data.length !== wanted) {
    throw new GenerationError(
      'latent_mismatch',
      `init_latent: got ${data.length} numbers, this request takes [1, ${channels}, ${frames}, ${height}, ${width}], ${wanted} of them; ask for the size and length it was made with`,
      { pointer: '/init_latent' },
    )
  }
  const bad = firstNotFinite(data)
  if (bad >= 0) {
    throw new GenerationError(
      'latent_mismatch',
      `init_latent: number ${bad} is ${data[bad]}, allowed are finite ones`,
      {
        pointer: '/init_latent',
      },
    )
  }
}
