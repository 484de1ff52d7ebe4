/**
 * A critic at work (train/critic.ts): its trainer, its batches and, for a student, its push. Knows no student.
 */

import { randomStream } from '../../shared/random.ts'
import type { NoiseLevel } from '../../shared/schedule.ts'
import { trace } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import type { DitConfig } from '../networks/dit.ts'
import type { TextEncoderConfig } from '../networks/text-encoder.ts'
import { encode } from '../onnx/encode.ts'
import { fuseForTraining, lower } from '../onnx/lower.ts'
import type { Backend, HostTensor } from '../pipeline/backend.ts'
import type { ClipChoice } from '../train/choice.ts'
import { type CriticOptions, criticKinds, criticName, criticObjective, criticPush } from '../train/critic.ts'
import { atOneLevel, type Draw, draw, type LatentSet, textFeeds, timeFeed } from '../train/denoising.ts'
import { initialize } from '../train/initialize.ts'
import type { Feeds } from '../train/loop.ts'
import { noised } from '../train/matching.ts'
import { miscaption } from '../train/miscaption.ts'
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

export function criticTrainer(options: CriticRun, state: TrainingState): Promise<Trainer> {
  const { backend, seed } = options
  const objective = () => criticObjective(criticOptions(options))
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

const criticOptions = (options: CriticRun): CriticOptions => ({ ...options, shape: shapeOf(options) })

/** Where its clips would be taken for films sooner. */
export interface Pushing extends AsyncDisposable {
  readonly at: (feeds: Feeds) => Promise<{ readonly push: Float32Array; readonly taken: number }>
}

export async function criticSession(options: CriticRun, state: () => TrainingState): Promise<Pushing> {
  const graph = trace(() => criticPush(criticOptions(options)))
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

/** Films, the student's clips, and the same films under wrong words, at the same levels. */
export function criticBatch(options: CriticRun, seen: Seen, texts: readonly string[], step: number): Feeds {
  const { set, batch, tokens, choice } = options
  const seed = (options.seed ^ 0x5ca1e) >>> 0
  const films = draw({
    ...{ set, name: criticName, batch, frames: set.frames, tokens, seed, step },
    ...{ dropout: 0, given: 0, choice },
  })
  const random = randomStream(seed, 0x80000 + step)
  const wrong = films.chosen.map((index) => miscaption(set.attributes(index), random))
  const { levels } = seen
  const film: Seen = { levels, latents: noised(films.shape, films.clean, levels, films.noise) }
  const kinds = {
    film: criticSide(options, film, films.text),
    made: criticSide(options, seen, textFeeds(criticName, texts, tokens)),
    misworded: criticSide(options, film, textFeeds(criticName, wrong, tokens)),
  } as const satisfies Record<keyof typeof criticKinds, Feeds>
  return stacked((Object.keys(criticKinds) as (keyof typeof criticKinds)[]).map((kind) => kinds[kind]))
}

export function criticSide(options: CriticRun, { latents, levels }: Seen, words: Feeds): Feeds {
  const shape = shapeOf(options)
  return {
    ...words,
    [`${criticName}.latents`]: { dtype: 'float32', shape, data: latents },
    ...timeFeed({ name: criticName, shape }, atOneLevel(shape, levels), options.config.featureWidth),
  }
}

/** Each tensor of all, one behind the other along the batch. */
function stacked(all: readonly Feeds[]): Feeds {
  return Object.fromEntries(
    Object.entries(op.at(all, 0)).map(([name, first]): [string, HostTensor] => {
      const tensors = all.map((each) => each[name] as HostTensor)
      const length = all.length * first.data.length
      const data = first.dtype === 'int32' ? new Int32Array(length) : new Float32Array(length)
      tensors.forEach((each, n) => {
        data.set(each.data, n * first.data.length)
      })
      return [name, { dtype: first.dtype, shape: [all.length * op.at(first.shape, 0), ...first.shape.slice(1)], data }]
    }),
  )
}
