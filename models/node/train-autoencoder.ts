/**
 * Trains the video autoencoder on the sticker world, resuming where the last checkpoint ends.
 */

import { gaussian } from '../../shared/random.ts'
import { type AutoencoderConfig, spatialStride, temporalStride } from '../networks/autoencoder.ts'
import type { Backend, HostTensor } from '../pipeline/backend.ts'
import { initialize } from '../train/initialize.ts'
import { type CurvePoint, trainingLoop } from '../train/loop.ts'
import { autoencoderObjective } from '../train/objectives.ts'
import { trainer } from '../train/trainer.ts'
import { batchQueue } from './batches.ts'
import { type OptimizerName, optimizersOf } from './optimizers.ts'
import { openRun } from './runs.ts'

export interface AutoencoderRun {
  readonly config: AutoencoderConfig
  readonly backend: Backend
  /** Name of the checkpoint. */
  readonly run: string
  readonly seed: number
  readonly steps: number
  readonly batch: number
  readonly frames: number
  /** Side of the squares it learns from. */
  readonly side: number
  readonly learningRate: number
  /** Standard deviation of the noise on the latents. */
  readonly noise: number
  readonly optimizer: OptimizerName
  readonly signal: AbortSignal
  readonly point: (point: CurvePoint) => void
}

export async function trainAutoencoder(options: AutoencoderRun): Promise<void> {
  const { config, batch, frames, side, seed, steps, noise } = options
  const run = await openRun(options.run)
  await using learner = await trainer({
    backend: options.backend,
    objective: () => autoencoderObjective(config, { batch, frames, height: side, width: side }),
    optimizerOf: optimizersOf(options.optimizer),
    clip: 1,
    state: run.state,
    initial: initialize(seed),
  })
  await using queue = batchQueue((n) => ({ kind: 'frames', arguments: [(run.step + n) * batch, batch, frames, side] }))
  const latents = [
    batch,
    config.channels,
    (frames - 1) / temporalStride + 1,
    side / spatialStride,
    side / spatialStride,
  ]
  const size = latents.reduce((product, n) => product * n, 1)
  await trainingLoop({
    learner,
    begin: run.step,
    end: steps,
    rates: { peak: options.learningRate, warmup: 50, steps, decay: 0.4 },
    emaDecay: 0.998,
    feedsOf: async (step) => {
      const made = await queue.next()
      return {
        frames: host([batch, frames, side, side, 3], made.frames),
        weight: host([batch, frames, side, side, 1], made.weight),
        noise: host(
          latents,
          gaussian(seed, 7, step * size, size).map((value) => value * noise),
        ),
      }
    },
    save: (step) => run.save(step, learner.state()),
    saveEvery: 250,
    pointEvery: 50,
    point: run.pointed(options.point),
    signal: options.signal,
  })
}

const host = (shape: readonly number[], data: Float32Array): HostTensor => ({ dtype: 'float32', shape, data })
