/**
 * Trains the text-to-video denoiser on cached latents, in stages of their own batch shapes, resuming where the last
 * checkpoint ends.
 */

import { cosine } from '../../shared/schedule.ts'
import type { LossWeighting } from '../../shared/prediction.ts'
import { type DitConfig } from '../networks/dit.ts'
import type { TextEncoderConfig } from '../networks/text-encoder.ts'
import { denoisingFeeds, draw, type LatentSet } from '../train/denoising.ts'
import { initialize } from '../train/initialize.ts'
import { type DenoiserPart, denoiserObjective } from '../train/objectives.ts'
import { adamW, isHiddenMatrix, muon } from '../train/optimizer.ts'
import { emaDecayAt, learningRateAt } from '../train/rates.ts'
import { type Trainer, trainer, type TrainingState } from '../train/trainer.ts'
import type { Backend } from '../pipeline/backend.ts'
import { loadCheckpoint, saveCheckpoint } from './checkpoints.ts'
import type { TrainingLine } from './train-autoencoder.ts'

/** Some steps with one batch shape. */
export interface DenoiserStage {
  readonly steps: number
  readonly parts: readonly DenoiserPart[]
}

export interface DenoiserRun {
  readonly config: DitConfig
  readonly text: TextEncoderConfig
  readonly set: LatentSet
  readonly backend: Backend
  readonly checkpoint: string
  readonly seed: number
  readonly stages: readonly DenoiserStage[]
  readonly tokens: number
  readonly learningRate: number
  readonly optimizer: 'muon' | 'adamw'
  readonly weighting: LossWeighting
  readonly emaDecay: number
  readonly signal: AbortSignal
  readonly report: (line: TrainingLine) => void
  readonly saveEvery: number
}

export async function trainDenoiser(run: DenoiserRun): Promise<void> {
  const known = await loadCheckpoint(run.checkpoint)
  let state: TrainingState = known?.state ?? {}
  let first = 0
  for (const stage of run.stages) {
    const begin = Math.max(first, known?.step ?? 0)
    if (begin < first + stage.steps && !run.signal.aborted) {
      await using learner = await learnerOf(run, stage, state)
      await runStage(run, stage, learner, begin, first + stage.steps)
      state = learner.state()
    }
    first += stage.steps
  }
}

function learnerOf(run: DenoiserRun, { parts }: DenoiserStage, state: TrainingState): Promise<Trainer> {
  const { height, width } = run.set
  const decay = adamW({ rate: run.optimizer === 'muon' ? 0.15 : 1, epsilon: 1e-8, weightDecay: 0 })
  const turn = muon({ momentum: 0.95, weightDecay: 0.01, iterations: 5 })
  return trainer({
    backend: run.backend,
    objective: () => denoiserObjective(run.config, run.text, { height, width, tokens: run.tokens }, parts),
    optimizerOf: (parameter) => (run.optimizer === 'muon' && isHiddenMatrix(parameter) ? turn : decay),
    clip: 1,
    state,
    initial: initialize(run.seed),
  })
}

async function runStage(run: DenoiserRun, stage: DenoiserStage, learner: Trainer, begin: number, end: number): Promise<void> {
  const steps = run.stages.reduce((total, each) => total + each.steps, 0)
  const rates = { peak: run.learningRate, warmup: 100, steps, decay: 0.3 }
  let feeds = feedsOf(run, stage, begin)
  for (let step = begin; step < end && !run.signal.aborted; step++) {
    const start = performance.now()
    const options = { learningRate: learningRateAt(rates, step), emaDecay: emaDecayAt(run.emaDecay, step), step }
    const running = learner.step(feeds, options)
    // Drawn while the step runs on the runtime's threads.
    feeds = feedsOf(run, stage, step + 1)
    const { scalars } = await running
    run.report({ step, steps, scalars, ms: performance.now() - start })
    if ((step + 1) % run.saveEvery === 0 || step + 1 === end || run.signal.aborted) {
      await saveCheckpoint(run.checkpoint, { step: step + 1, state: learner.state(), notes: '' })
    }
  }
}

function feedsOf({ set, tokens, seed, config, weighting }: DenoiserRun, { parts }: DenoiserStage, step: number) {
  const each = parts.map(({ name, batch, frames }, index) => {
    const drawn = draw({ set, name, batch, frames, tokens, seed: seed + index, step, dropout: 0.1, given: 0.1 })
    return denoisingFeeds(drawn, { schedule: cosine(), prediction: 'velocity', weighting, featureWidth: config.featureWidth })
  })
  return Object.assign({}, ...each) as (typeof each)[number]
}
