/**
 * Noise schedules: from a time to a noise level.
 *
 * latents = alpha · clean + sigma · noise. Time t runs from 1 (noise) to 0 (clean), for every schedule. The log signal
 * to noise ratio is logsnr = log(alpha² / sigma²); the papers' λ is this number (VDM, Kingma et al. 2021, 2107.00630).
 * Cosine: Nichol & Dhariwal 2021 in the continuous form of Salimans & Ho 2022 (2202.00512), with logsnr held within
 * ±20. Shifted cosine: Hoogeboom et al. 2023 (2301.11093). Rectified flow: Liu et al. 2022 (2209.03003), shift as in
 * Esser et al. 2024 (2403.03206). Karras: Karras et al. 2022 (2206.00364, eq. 5), whose σ is sigma/alpha here.
 * Knows neither predictions nor samplers.
 */

export interface NoiseLevel {
  /** 1 noise … 0 clean. */
  readonly t: number
  readonly alpha: number
  readonly sigma: number
}

/** Where nothing is noise: after the last row, and of a frame that is given. */
export const cleanLevel: NoiseLevel = { t: 0, alpha: 1, sigma: 0 }

export type Schedule = (t: number) => NoiseLevel

/** logsnr stays within ±this, so alpha and sigma are never exactly zero on the cosine schedules. */
export const logsnrLimit = 20

/** The level of a variance-preserving schedule (alpha² + sigma² = 1). */
export function levelOfLogsnr(t: number, logsnr: number): NoiseLevel {
  return { t, alpha: Math.sqrt(sigmoid(logsnr)), sigma: Math.sqrt(sigmoid(-logsnr)) }
}

/** log(alpha²/sigma²); +∞ where sigma is zero. */
export const logsnrOf = ({ alpha, sigma }: NoiseLevel): number => 2 * Math.log(alpha / sigma)

export interface CosineOptions {
  /** Side of the images. With `reference`, shifts logsnr by 2·log(reference/side): larger images take more noise. */
  readonly side?: number
  readonly reference?: number
}

/** logsnr = −2·log tan(a·t + b), with a and b such that the limits are met exactly at t = 1 and t = 0. */
export function cosine({ side = 1, reference = side }: CosineOptions = {}): Schedule {
  const shift = 2 * Math.log(reference / side)
  // The inner limits make up for the shift, so that the outer ones stay ±20.
  const b = Math.atan(Math.exp(-(logsnrLimit - shift) / 2))
  const a = Math.atan(Math.exp((logsnrLimit + shift) / 2)) - b
  return (t) => levelOfLogsnr(t, -2 * Math.log(Math.tan(a * t + b)) + shift)
}

/** Between two shifts: the low reference's at t = 1, the high one's at t = 0. */
export function interpolatedCosine(side: number, low: number, high: number): Schedule {
  const [noisy, clean] = [cosine({ side, reference: low }), cosine({ side, reference: high })]
  return (t) => levelOfLogsnr(t, t * logsnrOf(noisy(t)) + (1 - t) * logsnrOf(clean(t)))
}

/** Straight lines from clean to noise: alpha = 1 − t′, sigma = t′ with t′ = s·t / (1 + (s − 1)·t). */
export function rectifiedFlow(shift = 1): Schedule {
  return (t) => {
    const moved = (shift * t) / (1 + (shift - 1) * t)
    return { t, alpha: 1 - moved, sigma: moved }
  }
}

export interface KarrasOptions {
  readonly min: number
  readonly max: number
  readonly rho?: number
}

/** σ(t) = (min^{1/ρ} + t·(max^{1/ρ} − min^{1/ρ}))^ρ, given as the variance-preserving level of the same ratio. */
export function karras({ min, max, rho = 7 }: KarrasOptions): Schedule {
  const [low, high] = [min ** (1 / rho), max ** (1 / rho)]
  return (t) => levelOfLogsnr(t, -2 * Math.log((low + t * (high - low)) ** rho))
}

/** Times of a run in `steps` equal steps: 1, 1 − 1/steps, …, 0. `from` starts it part of the way. */
export function timesteps(steps: number, from = 1): number[] {
  if (!Number.isInteger(steps) || steps < 1)
    throw new RangeError(`steps: got ${steps}, allowed is a whole number from 1`)
  return Array.from({ length: steps + 1 }, (_, index) => (from * (steps - index)) / steps)
}

/**
 * The level as a share of a quarter turn, arctan(sigma/alpha) / (π/2): what networks are told. Equal to t on the plain
 * cosine schedule up to its limits, and comparable across schedules.
 */
export const noiseAngle = ({ alpha, sigma }: NoiseLevel): number => Math.atan2(sigma, alpha) / (Math.PI / 2)

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
