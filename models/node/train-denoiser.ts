/**
 * Trains the text-to-video denoiser on cached latents, in stages of their own batch shapes, resuming where the last
 * checkpoint ends.
 */

import type { LossWeighting, Prediction } from '../../shared/prediction.ts'
import { cosine } from '../../shared/schedule.ts'
import type { DitConfig } from '../networks/dit.ts'
import type { TextEncoderConfig } from '../networks/text-encoder.ts'
import type { Backend } from '../pipeline/backend.ts'
import type { ClipChoice } from '../train/choice.ts'
import { denoisingFeeds, draw, type LatentSet } from '../train/denoising.ts'
import { initialize } from '../train/initialize.ts'
import { type CurvePoint, type Feeds, trainingLoop } from '../train/loop.ts'
import { type DenoiserPart, denoiserObjective } from '../train/objectives.ts'
import { type TrainingState, trainer } from '../train/trainer.ts'
import { type OptimizerName, optimizersOf } from './optimizers.ts'
import { openRun } from './runs.ts'

/** Some steps with one batch shape. */
export interface DenoiserStage {
  readonly steps: number
  readonly parts: readonly DenoiserPart[]
}

export interface DenoiserRun {
  readonly config: DitConfig
  readonly text: TextEncoderConfig
  /** Clips; parts of several frames draw from here. */
  readonly set: LatentSet
  /** Single frames; parts of one frame draw from here. Undefined where no stage has such a part. */
  readonly pictures: LatentSet | undefined
  readonly backend: Backend
  /** Name of the checkpoint. */
  readonly run: string
  readonly seed: number
  readonly stages: readonly DenoiserStage[]
  readonly learningRate: number
  readonly optimizer: OptimizerName
  readonly prediction: Prediction
  readonly weighting: LossWeighting
  /** How much more the puppet's cells count. */
  readonly focus: number
  /** Above one, more of the samples are noisy: t becomes s·t / (1 + (s − 1)·t). */
  readonly shift: number
  /** Which clip comes next; each as often as every other where undefined, as pictures do. */
  readonly choice: ClipChoice | undefined
  readonly emaDecay: number
  /** Share of the run over which the rate falls at the end. */
  readonly decay: number
  /** Kept with the checkpoint. */
  readonly facts: Readonly<Record<string, unknown>>
  readonly signal: AbortSignal
  readonly point: (point: CurvePoint) => void
}

export async function trainDenoiser(options: DenoiserRun): Promise<void> {
  const run = await openRun(options.run)
  const { height, width } = options.set
  const total = options.stages.reduce((sum, each) => sum + each.steps, 0)
  let state: TrainingState = run.state
  let first = 0
  for (const { steps, parts } of options.stages) {
    const [begin, end] = [Math.max(first, run.step), first + steps]
    first = end
    if (begin >= end || options.signal.aborted) continue
    await using learner = await trainer({
      backend: options.backend,
      objective: () => denoiserObjective(options.config, options.text, { height, width }, parts),
      optimizerOf: optimizersOf(options.optimizer),
      clip: 1,
      state,
      initial: initialize(options.seed),
    })
    await trainingLoop({
      learner,
      begin,
      end,
      rates: { peak: options.learningRate, warmup: 100, steps: total, decay: options.decay },
      emaDecay: options.emaDecay,
      feedsOf: (step) => feedsOf(options, parts, step),
      save: (step) => run.save(step, learner.state(), options.facts),
      saveEvery: 200,
      pointEvery: 50,
      point: run.pointed(options.point),
      signal: options.signal,
    })
    state = learner.state()
  }
}

function feedsOf(
  { set: clips, pictures, seed, config, prediction, weighting, focus, shift, choice }: DenoiserRun,
  parts: readonly DenoiserPart[],
  step: number,
): Feeds {
  const each = parts.map(({ name, batch, frames, tokens }, index) => {
    const set = frames === 1 ? pictures : clips
    if (set === undefined) throw new TypeError('denoiser: a stage learns from pictures, and there are none')
    const drawn = draw({
      ...{ set, name, batch, frames, tokens, step },
      ...{ seed: seed + index, dropout: 0.1, given: 0.1, choice: frames === 1 ? undefined : choice },
    })
    return denoisingFeeds(drawn, {
      schedule: cosine(),
      prediction,
      weighting,
      focus,
      timeOf: (t) => (shift * t) / (1 + (shift - 1) * t),
      featureWidth: config.featureWidth,
    })
  })
  return Object.assign({}, ...each) as Feeds
}
