/**
 * Trains the video autoencoder on the sticker world, resuming where the last checkpoint ends.
 */

import { gaussian } from '../../shared/random.ts'
import { type AutoencoderConfig, spatialStride, temporalStride } from '../networks/autoencoder.ts'
import { initialize } from '../train/initialize.ts'
import { autoencoderObjective } from '../train/objectives.ts'
import { adamW, isHiddenMatrix, muon } from '../train/optimizer.ts'
import { emaDecayAt, learningRateAt } from '../train/rates.ts'
import { trainer } from '../train/trainer.ts'
import type { Backend, HostTensor } from '../pipeline/backend.ts'
import { batchQueue } from './batches.ts'
import { loadCheckpoint, saveCheckpoint } from './checkpoints.ts'

export interface AutoencoderRun {
  readonly config: AutoencoderConfig
  readonly backend: Backend
  readonly checkpoint: string
  readonly seed: number
  readonly steps: number
  readonly batch: number
  readonly frames: number
  readonly side: number
  readonly learningRate: number
  /** Standard deviation of the noise on the latents. */
  readonly noise: number
  readonly optimizer: 'muon' | 'adamw'
  readonly signal: AbortSignal
  readonly report: (line: TrainingLine) => void
  /** Steps between checkpoints. */
  readonly saveEvery: number
}

export interface TrainingLine {
  readonly step: number
  readonly steps: number
  readonly scalars: Readonly<Record<string, number>>
  /** Milliseconds of this step. */
  readonly ms: number
}

export async function trainAutoencoder(run: AutoencoderRun): Promise<void> {
  const { config, batch, frames, side } = run
  const known = await loadCheckpoint(run.checkpoint)
  const begin = known?.step ?? 0
  const shape = { batch, frames, height: side, width: side }
  const decay = adamW({ rate: run.optimizer === 'muon' ? 0.15 : 1, epsilon: 1e-8, weightDecay: 0 })
  const turn = muon({ momentum: 0.95, weightDecay: 0.01, iterations: 5 })
  await using learner = await trainer({
    backend: run.backend,
    objective: () => autoencoderObjective(config, shape),
    optimizerOf: (parameter) => (run.optimizer === 'muon' && isHiddenMatrix(parameter) ? turn : decay),
    clip: 1,
    state: known?.state ?? {},
    initial: initialize(run.seed),
  })
  await using queue = batchQueue((n) => ({ kind: 'frames', arguments: [(begin + n) * batch, batch, frames, side] }))
  const latents = [batch, config.channels, (frames - 1) / temporalStride + 1, side / spatialStride, side / spatialStride]
  const size = latents.reduce((product, n) => product * n, 1)
  const rates = { peak: run.learningRate, warmup: 50, steps: run.steps, decay: 0.4 }
  const save = (step: number) => saveCheckpoint(run.checkpoint, { step, state: learner.state(), notes: '' })
  for (let step = begin; step < run.steps && !run.signal.aborted; step++) {
    const made = await queue.next()
    const start = performance.now()
    const noise = gaussian(run.seed, 7, step * size, size).map((value) => value * run.noise)
    const feeds = {
      frames: host([batch, frames, side, side, 3], made.frames),
      weight: host([batch, frames, side, side, 1], made.weight),
      noise: host(latents, noise),
    }
    const options = { learningRate: learningRateAt(rates, step), emaDecay: emaDecayAt(0.998, step), step }
    const { scalars } = await learner.step(feeds, options)
    run.report({ step, steps: run.steps, scalars, ms: performance.now() - start })
    if ((step + 1) % run.saveEvery === 0 || step + 1 === run.steps) await save(step + 1)
    else if (run.signal.aborted) await save(step + 1)
  }
}

const host = (shape: readonly number[], data: Float32Array): HostTensor => ({ dtype: 'float32', shape, data })
