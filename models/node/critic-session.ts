/**
 * A critic at work (train/critic.ts): its trainer, its batches and, for a student, its push. Knows no student.
 */

import type { NoiseLevel } from '../../shared/schedule.ts'
import { trace } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import type { DitConfig } from '../networks/dit.ts'
import type { TextEncoderConfig } from '../networks/text-encoder.ts'
import { encode } from '../onnx/encode.ts'
import { fuseForTraining, lower } from '../onnx/lower.ts'
import type { Backend, HostTensor } from '../pipeline/backend.ts'
import type { ClipChoice } from '../train/choice.ts'
import { type CriticOptions, criticName, criticObjective, criticPush } from '../train/critic.ts'
import { atOneLevel, type Draw, draw, type LatentSet, textFeeds, timeFeed } from '../train/denoising.ts'
import { initialize } from '../train/initialize.ts'
import type { Feeds } from '../train/loop.ts'
import { noised } from '../train/matching.ts'
import { type Trainer, type TrainingState, trainer } from '../train/trainer.ts'
import { parameterFeeds } from './denoiser-session.ts'
import { optimizersOf } from './optimizers.ts'

export interface CriticRun {
  readonly backend: Backend
  /** Of the teacher, whose first layers it has. */
  readonly config: DitConfig
  readonly text: TextEncoderConfig
  /** The films. */
  readonly set: LatentSet
  readonly choice: ClipChoice
  /** Clips of either kind. */
  readonly batch: number
  readonly tokens: number
  readonly seed: number
}

/** Clips noised anew, and to which levels. */
export interface Seen {
  readonly latents: Float32Array
  readonly levels: readonly NoiseLevel[]
}

/** Its batches are half films, half clips of the student. */
export function criticTrainer(options: CriticRun, state: TrainingState): Promise<Trainer> {
  const { backend, seed } = options
  const objective = () => criticObjective(criticOptions(options, 2))
  return trainer({ backend, objective, optimizerOf: optimizersOf('muon'), clip: 1, state, initial: initialize(seed) })
}

/** Of as many latents as a batch of one kind has. */
export const shapeOf = ({ set, batch }: Pick<CriticRun, 'set' | 'batch'>): Draw['shape'] => [
  batch,
  set.channels,
  set.frames,
  set.height,
  set.width,
]

function criticOptions(options: CriticRun, times: number): CriticOptions {
  const [batch, ...rest] = shapeOf(options)
  return { config: options.config, text: options.text, tokens: options.tokens, shape: [times * batch, ...rest] }
}

/** Where its clips would be taken for films sooner. */
export interface Pushing extends AsyncDisposable {
  readonly at: (feeds: Feeds) => Promise<{ readonly push: Float32Array; readonly taken: number }>
}

export async function criticSession(options: CriticRun, state: () => TrainingState): Promise<Pushing> {
  const graph = trace(() => criticPush(criticOptions(options, 1)))
  const session = await options.backend.load({ model: encode(lower(graph, { fuse: fuseForTraining, forCpu: true })) })
  return {
    at: async (feeds) => {
      const { push, taken } = await session.run({ ...feeds, ...parameterFeeds(graph, state()) })
      if (!(push?.data instanceof Float32Array)) throw new TypeError('critic: it gave no push')
      return { push: push.data, taken: taken?.data[0] ?? Number.NaN }
    },
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  }
}

/** Films and the student's clips, as many of each, at the same levels. */
export function criticPair(options: CriticRun, seen: Seen, texts: readonly string[], step: number): Feeds {
  const { set, batch, tokens, seed, choice } = options
  const films = draw({
    ...{ set, name: criticName, batch, frames: set.frames, tokens, seed: (seed ^ 0x5ca1e) >>> 0, step },
    ...{ dropout: 0, given: 0, choice },
  })
  const labelled = (latents: Float32Array, words: Feeds, label: 1 | -1): Feeds => ({
    ...criticSide(options, { latents, levels: seen.levels }, words),
    [`${criticName}.label`]: {
      dtype: 'float32',
      shape: [batch, 1, 1, 1, 1],
      data: new Float32Array(batch).fill(label),
    },
  })
  return stacked(
    labelled(noised(films.shape, films.clean, seen.levels, films.noise), films.text, 1),
    labelled(seen.latents, textFeeds(criticName, texts, tokens), -1),
  )
}

export function criticSide(options: CriticRun, { latents, levels }: Seen, words: Feeds): Feeds {
  const shape = shapeOf(options)
  return {
    ...words,
    [`${criticName}.latents`]: { dtype: 'float32', shape, data: latents },
    ...timeFeed({ name: criticName, shape }, atOneLevel(shape, levels), options.config.featureWidth),
  }
}

/** Each tensor of both, one behind the other along the batch. */
function stacked(first: Feeds, second: Feeds): Feeds {
  return Object.fromEntries(
    Object.entries(first).map(([name, a]): [string, HostTensor] => {
      const b = second[name] as HostTensor
      const length = a.data.length + b.data.length
      const data = a.dtype === 'int32' ? new Int32Array(length) : new Float32Array(length)
      data.set(a.data)
      data.set(b.data, a.data.length)
      return [name, { dtype: a.dtype, shape: [op.at(a.shape, 0) + op.at(b.shape, 0), ...a.shape.slice(1)], data }]
    }),
  )
}
