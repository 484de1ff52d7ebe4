/**
 * Learning rate and EMA decay over a run.
 */

export interface RateOptions {
  readonly peak: number
  readonly warmup: number
  readonly steps: number
  /** Share of the run, at its end, over which the rate falls linearly to zero ("warm-up, stable, decay"). */
  readonly decay: number
}

/** Linear warm-up, a plateau, a linear fall. */
export function learningRateAt({ peak, warmup, steps, decay }: RateOptions, step: number): number {
  const rise = Math.min(1, (step + 1) / warmup)
  const fall = Math.min(1, (steps - step) / Math.max(1, decay * steps))
  return peak * Math.min(rise, Math.max(0, fall))
}

/** Short memory at first, then `most`: (1 + step) / (10 + step), as in the original EMA schedules. */
export const emaDecayAt = (most: number, step: number): number => Math.min(most, (1 + step) / (10 + step))
