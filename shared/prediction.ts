/**
 * What a network predicts, as coefficients: nothing else in the project restates them.
 *
 * With latents = alpha·clean + sigma·noise a prediction is one of
 *   noise      ε
 *   sample     the clean latents
 *   velocity   v = alpha·noise − sigma·clean (Salimans & Ho 2022): the derivative of the latents by the noise angle on a
 *              variance-preserving schedule. Not the flow below.
 *   flow       u = noise − clean: the derivative by t of the straight path (Lipman et al. 2022, 2210.02747).
 * The inverse maps divide by alpha or by alpha + sigma only where they must, so pure noise (alpha = 0) is finite for
 * velocity, flow and sample.
 */

import type { NoiseLevel } from './schedule.ts'

export const predictions = ['noise', 'sample', 'velocity', 'flow'] as const
export type Prediction = (typeof predictions)[number]

/** value = latents · L + output · O. */
export interface Affine {
  readonly latents: number
  readonly output: number
}

/** The clean estimate from the latents and the network's output. */
export function denoisedFrom(prediction: Prediction, { alpha, sigma }: NoiseLevel): Affine {
  switch (prediction) {
    case 'noise':
      return { latents: 1 / alpha, output: -sigma / alpha }
    case 'sample':
      return { latents: 0, output: 1 }
    case 'velocity': {
      const power = alpha * alpha + sigma * sigma
      return { latents: alpha / power, output: -sigma / power }
    }
    case 'flow':
      return { latents: 1 / (alpha + sigma), output: -sigma / (alpha + sigma) }
    default:
      return prediction satisfies never
  }
}

/** The noise estimate from the latents and the network's output. */
export function noiseFrom(prediction: Prediction, { alpha, sigma }: NoiseLevel): Affine {
  switch (prediction) {
    case 'noise':
      return { latents: 0, output: 1 }
    case 'sample':
      return { latents: 1 / sigma, output: -alpha / sigma }
    case 'velocity': {
      const power = alpha * alpha + sigma * sigma
      return { latents: sigma / power, output: alpha / power }
    }
    case 'flow':
      return { latents: 1 / (alpha + sigma), output: alpha / (alpha + sigma) }
    default:
      return prediction satisfies never
  }
}

/** What the network should have said: target = clean · C + noise · N. */
export function targetOf(
  prediction: Prediction,
  { alpha, sigma }: NoiseLevel,
): { readonly clean: number; readonly noise: number } {
  switch (prediction) {
    case 'noise':
      return { clean: 0, noise: 1 }
    case 'sample':
      return { clean: 1, noise: 0 }
    case 'velocity':
      return { clean: -sigma, noise: alpha }
    case 'flow':
      return { clean: -1, noise: 1 }
    default:
      return prediction satisfies never
  }
}

/** The network's output that says this clean estimate, the inverse of `denoisedFrom`: latents · latents + estimate · output. */
export function outputFrom(
  prediction: Prediction,
  level: NoiseLevel,
): { readonly latents: number; readonly estimate: number } {
  const { latents, output } = denoisedFrom(prediction, level)
  return { latents: -latents / output, estimate: 1 / output }
}

/** Weightings of ‖denoised − clean‖², in terms of snr = alpha²/sigma². */
export const lossWeightings = ['noise', 'sample', 'velocity', 'clamped', 'truncated', 'minSnr'] as const
export type LossWeighting = (typeof lossWeightings)[number]

/**
 * The factor on the squared error of the clean estimate. `truncated`: max(snr, 1) (Salimans & Ho 2022). `minSnr`:
 * min(snr, 5) (Hang et al. 2023, 2303.09556). `clamped`: the velocity's, held where it would divide by nearly nothing
 * (Li & He 2025, 2511.13720).
 */
export function lossWeight(weighting: LossWeighting, { alpha, sigma }: NoiseLevel): number {
  const snr = (alpha * alpha) / (sigma * sigma)
  switch (weighting) {
    case 'noise':
      return snr
    case 'sample':
      return 1
    case 'velocity':
      return snr + 1
    case 'clamped':
      return Math.min(snr + 1, 10)
    case 'truncated':
      return Math.max(snr, 1)
    case 'minSnr':
      return Math.min(snr, 5)
    default:
      return weighting satisfies never
  }
}

/** The same weighting as a factor on the squared error of the network's output. */
export function outputLossWeight(prediction: Prediction, weighting: LossWeighting, level: NoiseLevel): number {
  return lossWeight(weighting, level) * denoisedFrom(prediction, level).output ** 2
}
