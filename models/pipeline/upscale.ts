/**
 * Between two passes of a plan: latents of twice the side, with the statistics of those they were made of.
 *
 * The upscaler knows latents by the autoencoder's own mean and deviation, so these are put back first. Afterwards each
 * channel gets the mean and deviation that it had before (AdaIN, Huang & Belongie 2017, 1703.06868), which also undoes the
 * first step; then noise is mixed in again for the next pass to take away.
 */

import type { NoiseLevel } from '../../shared/schedule.ts'
import type { LatentShape } from '../../shared/video.ts'
import { input, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { type LtxUpscalerConfig, ltxUpscaler } from '../networks/ltx-upscaler.ts'
import { denormalised } from '../networks/ltx-vae-decoder.ts'

/** Inputs `latents` [1, C, F, h, w], `noise` [1, C, F, 2h, 2w] → `latents2`, of the shape of the noise. */
export function upscaleGraph(config: LtxUpscalerConfig, shape: LatentShape, { alpha, sigma }: NoiseLevel) {
  const latents = input('latents', sizeOf(shape))
  const grown = withStatisticsOf(ltxUpscaler(config, denormalised(latents)), latents)
  const noise = input('noise', sizeOf(doubled(shape)))
  return { latents2: op.add(op.multiply(grown, alpha), op.multiply(noise, sigma)) }
}

export const doubled = (shape: LatentShape): LatentShape => ({
  ...shape,
  height: 2 * shape.height,
  width: 2 * shape.width,
})

const sizeOf = ({ channels, frames, height, width }: LatentShape) => [1, channels, frames, height, width]

/** x with each channel's mean and deviation those of another's; both [1, C, F, h, w]. */
export function withStatisticsOf(x: Value, other: Value): Value {
  const [own, wanted] = [statistics(x), statistics(other)]
  const calm = op.divide(op.subtract(x, own.mean), own.deviation)
  return op.add(op.multiply(calm, wanted.deviation), wanted.mean)
}

/** By channel, over the clip; the deviation is that of a sample. */
function statistics(x: Value): { readonly mean: Value; readonly deviation: Value } {
  const axes = [2, 3, 4]
  const mean = op.mean(x, axes)
  const count = axes.reduce((product, axis) => product * op.at(x.shape, axis), 1)
  const spread = op.multiply(op.sum(op.square(op.subtract(x, mean)), axes), 1 / Math.max(1, count - 1))
  // A clip of one cell has no deviation; it is left where it is.
  return { mean, deviation: op.sqrt(op.add(spread, 1e-12)) }
}
