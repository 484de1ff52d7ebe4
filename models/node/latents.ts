/**
 * Clips of the sticker world as latents, encoded once and kept in a file.
 *
 * The first bytes of the file's name come from the autoencoder's weights, so latents never outlive their encoder.
 */

import { createHash } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { input, scope, trace } from '../graph/graph.ts'
import { type AutoencoderConfig, encoder, spatialStride, temporalStride } from '../networks/autoencoder.ts'
import { encode } from '../onnx/encode.ts'
import { lower } from '../onnx/lower.ts'
import type { Backend, Session } from '../pipeline/backend.ts'
import { cellCoverage, unitPixels } from '../train/batches.ts'
import type { LatentSet } from '../train/denoising.ts'
import { fromFloat16, toFloat16 } from '../weights/float16.ts'
import { sampleAttributes } from '../world/vocabulary.ts'
import { filmQueue } from './batches.ts'
import { cacheFolder, writeAtomically } from './checkpoints.ts'

export interface LatentOptions {
  readonly config: AutoencoderConfig
  /** Parameters of the autoencoder by name. */
  readonly parameters: Readonly<Record<string, Float32Array>>
  readonly backend: Backend
  readonly count: number
  readonly frames: number
  readonly side: number
  readonly signal: AbortSignal
  readonly progress: (done: number) => void
}

/** Seeds of the training clips begin here; evaluation draws from elsewhere. */
const trainingSeed = 0x1000000
const unseenSeed = 0x8000000

const atOnce = 16

/** Encodes the clips or reads them back. */
export async function latentSet(options: LatentOptions): Promise<LatentSet> {
  const { count, frames, side } = options
  const { shape, size, cells } = measuresOf(options)
  const path = join(cacheFolder(), `latents-${fingerprint(options)}-${count}x${frames}x${side}.f16`)
  const coverPath = join(cacheFolder(), `coverage-${count}x${frames}x${side}.u8`)
  const [known, cover] = await Promise.all([path, coverPath].map((each) => readFile(each).catch(() => undefined)))
  const attributes = attributesFrom(trainingSeed)
  if (known?.length === count * size * 2 && cover?.length === count * cells) {
    const latents = fromFloat16(new Uint16Array(known.buffer, known.byteOffset, count * size))
    return { count, ...shape, latents, coverage: cover, attributes }
  }
  const { latents, coverage } = await encodeAll(options, trainingSeed)
  await mkdir(dirname(path), { recursive: true })
  await writeAtomically(path, new Uint8Array(toFloat16(latents).buffer))
  await writeAtomically(coverPath, coverage)
  return { count, ...shape, latents, coverage, attributes }
}

/** Clips that no training run has seen, encoded afresh. */
export async function unseenSet(options: LatentOptions): Promise<LatentSet> {
  const encoded = await encodeAll(options, unseenSeed)
  return { count: options.count, ...measuresOf(options).shape, ...encoded, attributes: attributesFrom(unseenSeed) }
}

const attributesFrom = (seed: number) => (index: number) => sampleAttributes((seed + index) >>> 0, 'seen')

function measuresOf({ config, frames, side }: LatentOptions) {
  const [groups, grid] = [(frames - 1) / temporalStride + 1, side / spatialStride]
  const cells = groups * grid * grid
  const shape = { channels: config.channels, frames: groups, height: grid, width: grid }
  return { shape, size: config.channels * cells, cells }
}

async function encodeAll(options: LatentOptions, seed: number): Promise<Pick<LatentSet, 'latents' | 'coverage'>> {
  const { config, parameters, backend, count, frames, side, signal, progress } = options
  const { size, cells } = measuresOf(options)
  await using session = await encoderSession(config, parameters, backend, atOnce, frames, side)
  await using queue = filmQueue((n) => [seed + n * atOnce, atOnce, frames, side, 4])
  const rounded = Math.ceil(count / atOnce) * atOnce
  const [latents, coverage] = [new Float32Array(rounded * size), new Uint8Array(rounded * cells)]
  for (let first = 0; first < count; first += atOnce) {
    signal.throwIfAborted()
    const films = await queue.next()
    const outputs = await session.run({
      frames: { dtype: 'float32', shape: [atOnce, frames, side, side, 3], data: unitPixels(films) },
    })
    latents.set(outputs.latents?.data as Float32Array, first * size)
    coverage.set(cellCoverage(films), first * cells)
    progress(Math.min(count, first + atOnce))
  }
  return { latents: latents.subarray(0, count * size), coverage: coverage.subarray(0, count * cells) }
}

export function encoderSession(
  config: AutoencoderConfig,
  parameters: Readonly<Record<string, Float32Array>>,
  backend: Backend,
  batch: number,
  frames: number,
  side: number,
): Promise<Session> {
  const graph = trace(() => ({
    latents: scope('autoencoder', () => encoder(config, input('frames', [batch, frames, side, side, 3]))),
  }))
  const stored = (name: string) => {
    const data = parameters[name]
    if (data === undefined)
      throw new RangeError(`encoder: there is no parameter ${name}; train or load the autoencoder first`)
    return {
      dtype: 'float32',
      data: { kind: 'inline', bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) },
    } as const
  }
  return backend.load({ model: encode(lower(graph, { stored })) })
}

function fingerprint({ config, parameters }: LatentOptions): string {
  const hash = createHash('sha256').update(JSON.stringify(config.channels))
  for (const name of Object.keys(parameters).sort())
    if (name.startsWith('autoencoder.encoder.')) hash.update(parameters[name] as Float32Array)
  return hash.digest('hex').slice(0, 12)
}
