/**
 * Classifier-free guidance and what tames it.
 *
 * Guidance scale g: guided = unconditional + g · (conditional − unconditional), so g = 1 is off and g = 1 + w for the
 * papers' w (Ho & Salimans 2022, 2207.12598). Noise, sample and velocity may be guided alike, since the two weights
 * sum to one. Dynamic thresholding and the alternation of high and low scales: Saharia et al. 2022 (2205.11487), Ho et
 * al. 2022 (2210.02303). A scale per frame: Blattmann et al. 2023 (2311.15127).
 */

/** Weights of the two predictions; they sum to one. */
export function guidanceWeights(scale: number): { readonly conditional: number; readonly unconditional: number } {
  return { conditional: scale, unconditional: 1 - scale }
}

/** A scale per frame, from `first` to `last` in equal steps. */
export function frameScales(first: number, last: number, frames: number): number[] {
  if (frames === 1) return [first]
  return Array.from({ length: frames }, (_, frame) => first + ((last - first) * frame) / (frames - 1))
}

/** Holds `high` for the first `stretch` of the steps, then alternates low and high. */
export function oscillation(high: number, low: number, steps: number, stretch = 0.1): number[] {
  const held = Math.ceil(stretch * steps)
  return Array.from({ length: steps }, (_, step) => (step < held || (step - held) % 2 === 1 ? high : low))
}

/**
 * Clips the clean estimate to ±s and divides by s, where s is the percentile of |x|, at least one. In place.
 * @param percentile 0…1, for example 0.995.
 */
export function dynamicThreshold(values: Float32Array, percentile: number): number {
  if (!(percentile > 0 && percentile <= 1))
    throw new RangeError(`percentile: got ${percentile}, allowed is above 0, up to 1`)
  const sorted = values.map(Math.abs).sort()
  const rank = Math.min(sorted.length - 1, Math.ceil(percentile * sorted.length) - 1)
  const limit = Math.max(1, sorted[rank] ?? 1)
  for (let index = 0; index < values.length; index++) {
    values[index] = Math.max(-limit, Math.min(limit, values[index] as number)) / limit
  }
  return limit
}
