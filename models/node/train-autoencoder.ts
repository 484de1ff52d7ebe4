/**
 * Makes the video autoencoder of the sticker world: fits its linear encoder to films, then trains the decoder, resuming
 * where the last checkpoint ends.
 */

import { gaussian, randomStream } from '../../shared/random.ts'
import { input, sizeOf, trace } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { type AutoencoderConfig, spatialStride, temporalStride, tubeSize, tubes } from '../networks/autoencoder.ts'
import { encode } from '../onnx/encode.ts'
import { lower } from '../onnx/lower.ts'
import type { Backend, HostTensor } from '../pipeline/backend.ts'
import {
  type Films,
  type Recolouring,
  recolouring,
  unitPixels,
  type WindowPlace,
  windowBatch,
} from '../train/batches.ts'
import { componentWeights, covarianceOf, principalComponents } from '../train/components.ts'
import { initialize } from '../train/initialize.ts'
import { type CurvePoint, trainingLoop } from '../train/loop.ts'
import { autoencoderObjective } from '../train/objectives.ts'
import { type TrainingState, trainer } from '../train/trainer.ts'
import { filmSet } from './batches.ts'
import { type LatentErrors, latentErrors } from './latent-errors.ts'
import { type OptimizerName, optimizersOf } from './optimizers.ts'
import { openRun } from './runs.ts'

export interface AutoencoderRun {
  readonly config: AutoencoderConfig
  readonly backend: Backend
  /** Name of the checkpoint. */
  readonly run: string
  readonly seed: number
  readonly steps: number
  /** Films to learn from, rendered once. */
  readonly films: number
  readonly batch: number
  /** Frames and side of the windows it learns from. */
  readonly frames: number
  readonly side: number
  readonly learningRate: number
  /** Largest deviation of the noise on the latents, each window drawing its own: what the decoder forgives a denoiser. */
  readonly noise: number
  /** Models whose own errors are on most windows' latents instead; none, and all have noise. */
  readonly models: readonly string[]
  readonly optimizer: OptimizerName
  readonly signal: AbortSignal
  readonly point: (point: CurvePoint) => void
  readonly progress: (line: string) => void
}

/** Seeds of these films begin here, away from those of latents and of evaluation. */
const filmSeed = 0x2000000

export async function trainAutoencoder(options: AutoencoderRun): Promise<void> {
  const { config, backend, batch, frames, side, seed, steps, signal } = options
  const run = await openRun(options.run)
  const films = await filmSet({
    first: filmSeed,
    count: options.films,
    frames: 17,
    side: 64,
    signal,
    progress: (done) => options.progress(`rendering films ${done}/${options.films}`),
  })
  const isNew = Object.keys(run.state).length === 0
  const state = isNew ? await fittedComponents(config, backend, films) : run.state
  if (isNew) await run.save(0, state)
  await using learner = await trainer({
    backend,
    objective: () => autoencoderObjective(config, { batch, frames, height: side, width: side }),
    optimizerOf: optimizersOf(options.optimizer),
    frozen: ({ name }) => name.startsWith('autoencoder.encoder.'),
    clip: 1,
    state,
    initial: initialize(seed),
  })
  const grid = side / spatialStride
  const latents = [batch, config.channels, (frames - 1) / temporalStride + 1, grid, grid]
  const onCells = options.models.length > 0
  const flawed = onCells ? await latentErrors({ ...options, films, first: filmSeed, parameters: state }) : undefined
  await trainingLoop({
    learner,
    begin: run.step,
    end: steps,
    rates: { peak: options.learningRate, warmup: 50, steps, decay: 0.4 },
    emaDecay: 0.995,
    feedsOf: (step) => {
      const window = windowBatch({ films, seed, step, batch, frames, side, onCells })
      const lessons = lessonsOf(options, step, flawed)
      return {
        frames: host([batch, frames, side, side, 3], recoloured(window.frames, lessons)),
        weight: host([batch, frames, side, side, 1], window.weight),
        noise: host(latents, disturbance(options, latents, step, window.places, lessons)),
      }
    },
    save: (step) => run.save(step, learner.state()),
    saveEvery: 250,
    pointEvery: 50,
    point: run.pointed(options.point),
    signal,
  })
}

/** What a window is to teach: to forgive Gaussian noise, to mend a model's errors, or to give back what it never saw. */
type Lesson =
  | { readonly kind: 'noise'; readonly deviation: number }
  | { readonly kind: 'errors'; readonly errors: LatentErrors }
  | { readonly kind: 'colours'; readonly recolour: Recolouring }

/** The lessons of a batch. Without errors all of them are noise. */
function lessonsOf({ seed, batch, noise }: AutoencoderRun, step: number, errors: LatentErrors | undefined): Lesson[] {
  const random = randomStream(seed, 0x60000 + step)
  return Array.from({ length: batch }, (): Lesson => {
    const [deviation, choice] = [random.between(0, noise), random.uniform()]
    if (errors === undefined || choice < 0.15) return { kind: 'noise', deviation }
    if (choice < 0.85) return { kind: 'errors', errors }
    // Whoever mends without it takes a picture from elsewhere for an error too.
    return { kind: 'colours', recolour: recolouring(random) }
  })
}

/** What is wrong with the latents of a batch of windows, by the shape of those. */
function disturbance(
  { seed }: AutoencoderRun,
  shape: readonly number[],
  step: number,
  places: readonly WindowPlace[],
  lessons: readonly Lesson[],
): Float32Array {
  const size = sizeOf(shape) / places.length
  const out = gaussian(seed, 0x50000000 + step, 0, size * places.length)
  for (const [index, lesson] of lessons.entries()) {
    const own = out.subarray(index * size, (index + 1) * size)
    if (lesson.kind === 'errors') lesson.errors.copy(places[index] as WindowPlace, shape[4] as number, own)
    else for (let n = 0; n < size; n++) own[n] = lesson.kind === 'noise' ? (own[n] as number) * lesson.deviation : 0
  }
  return out
}

/** Windows [B, F, H, W, 3], those recoloured that are to be. */
function recoloured(frames: Float32Array, lessons: readonly Lesson[]): Float32Array {
  const size = frames.length / lessons.length
  for (const [index, lesson] of lessons.entries())
    if (lesson.kind === 'colours') lesson.recolour(frames.subarray(index * size, (index + 1) * size))
  return frames
}

const atOnce = 20

/** The linear map of encoder and decoder, from the covariance of the films' tubes. */
async function fittedComponents(config: AutoencoderConfig, backend: Backend, films: Films): Promise<TrainingState> {
  const { frames, side } = films
  const graph = trace(() => {
    const all = tubes(input('frames', [atOnce, frames, side, side, 3]))
    const flat = op.reshape(all, [sizeOf(all.shape) / tubeSize, tubeSize])
    return { products: op.matmul(op.swapLast(flat), flat), sums: op.sum(flat, [0]) }
  })
  await using session = await backend.load({ model: encode(lower(graph, {})) })
  const clip = frames * side * side * films.channels
  const covariance = covarianceOf(tubeSize)
  for (let first = 0; first + atOnce <= films.count; first += atOnce) {
    const bytes = films.bytes.subarray(first * clip, (first + atOnce) * clip)
    const pixels = unitPixels({ ...films, count: atOnce, bytes })
    const { products, sums } = await session.run({ frames: host([atOnce, frames, side, side, 3], pixels) })
    const count = (atOnce * ((frames + 3) / temporalStride) * side * side) / spatialStride ** 2
    covariance.add(products?.data as Float32Array, sums?.data as Float32Array, count)
  }
  const { mean, matrix } = covariance.result()
  const weights = componentWeights(principalComponents(matrix, tubeSize, config.channels), mean)
  return {
    'autoencoder.encoder.components.weight': weights.encoder.weight,
    'autoencoder.encoder.components.bias': weights.encoder.bias,
    'autoencoder.decoder.components.weight': weights.decoder.weight,
    'autoencoder.decoder.components.bias': weights.decoder.bias,
  }
}

const host = (shape: readonly number[], data: Float32Array): HostTensor => ({ dtype: 'float32', shape, data })
