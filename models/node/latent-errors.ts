/**
 * What released models get wrong: clips' latents that a model has denoised from part of the way, less the clips' own.
 *
 * A decoder that learns from latents as they should be is never shown what a denoiser gives it. Noise is added to real
 * latents up to a level from which a model cannot lose what the clip shows (SDEdit, Meng et al. 2021, 2108.01073), and it
 * walks the rest of its plan: the details are the model's own, the clip that they belong to is known. That a decoder may
 * take over the end of denoising: HaCohen et al. 2024 (2501.00103).
 */

import { createHash } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { GenerationError } from '../../shared/errors.ts'
import { effectiveRequest } from '../../shared/generation.ts'
import { planOf } from '../../shared/plan.ts'
import { gaussian, randomStream } from '../../shared/random.ts'
import { type AutoencoderConfig, spatialStride } from '../networks/autoencoder.ts'
import type { Backend } from '../pipeline/backend.ts'
import { runner, type SplitRunner } from '../pipeline/generate.ts'
import { type Films, unitPixels, type WindowPlace } from '../train/batches.ts'
import type { TrainingState } from '../train/trainer.ts'
import { fromFloat16, toFloat16 } from '../weights/float16.ts'
import { caption } from '../world/captions.ts'
import { sampleAttributes } from '../world/vocabulary.ts'
import { cacheFolder, writeAtomically } from './checkpoints.ts'
import { encoderSession } from './latents.ts'
import { loadCard, loadModel } from './models.ts'

export interface LatentErrorOptions {
  readonly config: AutoencoderConfig
  /** Of the autoencoder. */
  readonly parameters: TrainingState
  readonly backend: Backend
  readonly films: Films
  /** The seed of the first film. */
  readonly first: number
  /** Ids of released models; they take turns. */
  readonly models: readonly string[]
  readonly signal: AbortSignal
  readonly progress: (line: string) => void
}

export interface LatentErrors {
  /** Copies those of a window of `cells` by `cells` into an array [C, G, cells, cells]. */
  readonly copy: (place: WindowPlace, cells: number, into: Float32Array) => void
}

/** Shares of its plan that a model finds done: before the least of them puppets may become others. */
const entries = [0.35, 0.75] as const
const scales = [2, 5] as const

/** Computes the errors of every film's latents, or reads them back. */
export async function latentErrors(options: LatentErrorOptions): Promise<LatentErrors> {
  const { films, models, config } = options
  const shape = { groups: (films.frames + 3) / 4, grid: films.side / spatialStride, channels: config.channels }
  const size = shape.channels * shape.groups * shape.grid ** 2
  const released = await Promise.all(models.map((id) => loadCard(id)))
  const name = released.map((card) => card.weights.denoiser?.sha256).join(' ')
  const hash = createHash('sha256').update(`${name} ${options.first}`).digest('hex').slice(0, 12)
  const path = join(cacheFolder(), `errors-${hash}-${films.count}x${films.frames}x${films.side}.f16`)
  const known = await readFile(path).catch(() => undefined)
  const whole = known?.length === films.count * size * 2
  const halves = whole ? new Uint16Array(known.buffer, known.byteOffset, films.count * size) : await computed(options)
  if (!whole) {
    await mkdir(cacheFolder(), { recursive: true })
    await writeAtomically(path, new Uint8Array(halves.buffer, halves.byteOffset, halves.byteLength))
  }
  return { copy: (place, cells, into) => copyWindow(halves, shape, place, cells, into) }
}

interface Grid {
  readonly channels: number
  readonly groups: number
  readonly grid: number
}

function copyWindow(
  halves: Uint16Array,
  { channels, groups, grid }: Grid,
  { film, left, top }: WindowPlace,
  cells: number,
  into: Float32Array,
): void {
  const [column, row] = [left / spatialStride, top / spatialStride]
  for (let line = 0; line < channels * groups * cells; line++) {
    const plane = film * channels * groups + Math.floor(line / cells)
    const from = (plane * grid + row + (line % cells)) * grid + column
    into.set(fromFloat16(halves.subarray(from, from + cells)), line * cells)
  }
}

async function computed(options: LatentErrorOptions): Promise<Uint16Array> {
  const { config, parameters, backend, films, signal, progress } = options
  const { frames, side, channels } = films
  await using encoder = await encoderSession(config, parameters, backend, 1, frames, side)
  const parts: Uint16Array[] = []
  for (const [turn, id] of options.models.entries()) {
    const card = await loadCard(id)
    await using running = runner(await loadModel(card), backend)
    for (let film = turn; film < films.count; film += options.models.length) {
      signal.throwIfAborted()
      const bytes = films.bytes.subarray(
        film * frames * side ** 2 * channels,
        (film + 1) * frames * side ** 2 * channels,
      )
      const data = unitPixels({ ...films, count: 1, bytes })
      const shape = [1, frames, side, side, 3]
      const clean = (await encoder.run({ frames: { dtype: 'float32', shape, data } })).latents?.data as Float32Array
      const given = await redenoised(running, card, clean, options.first + film, signal)
      parts[film] = toFloat16(given.map((value, n) => value - (clean[n] as number)))
      progress(`errors of ${id} ${film + 1}/${films.count}`)
    }
  }
  const out = new Uint16Array(parts.reduce((total, { length }) => total + length, 0))
  parts.forEach((part, film) => {
    out.set(part, film * part.length)
  })
  return out
}

/** Latents made noisy and denoised by a model that is told what they show. */
async function redenoised(
  running: SplitRunner,
  card: Awaited<ReturnType<typeof loadCard>>,
  clean: Float32Array,
  seed: number,
  signal: AbortSignal,
): Promise<Float32Array> {
  const random = randomStream(seed, 0x70)
  const { text } = caption(sampleAttributes(seed, 'seen'), seed)
  const scale = Math.round(10 * random.between(...scales)) / 10
  // A sampler that does not look back can be entered anywhere.
  const request = effectiveRequest({ prompt: text, seed, scheduler: 'ddim', guidance_scale: scale }, card, seed)
  const plan = planOf(request)
  const step = Math.ceil(plan.length * random.between(...entries))
  const level = plan[step]?.level
  if (level === undefined)
    throw new GenerationError('invalid_parameter', `--errors: ${card.id} has a plan of ${plan.length} rows, too few`)
  const noise = gaussian(seed, 0x71, 0, clean.length)
  const data = clean.map((value, n) => level.alpha * value + level.sigma * (noise[n] as number))
  const run = running.denoise(request, signal, { from: { data, step } })
  for (;;) {
    const event = await run.next()
    if (event.done) return event.value.data
  }
}
