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
import { unitPixels } from '../train/batches.ts'
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
export const trainingSeed = 0x1000000

const atOnce = 16

/** Encodes the clips or reads them back. */
export async function latentSet(options: LatentOptions): Promise<LatentSet> {
  const { config, count, frames, side } = options
  const shape = {
    channels: config.channels,
    frames: (frames - 1) / temporalStride + 1,
    height: side / spatialStride,
    width: side / spatialStride,
  }
  const size = shape.channels * shape.frames * shape.height * shape.width
  const path = join(cacheFolder(), `latents-${fingerprint(options)}-${count}x${frames}x${side}.f16`)
  const known = await readFile(path).catch(() => undefined)
  const latents =
    known?.length === count * size * 2
      ? fromFloat16(new Uint16Array(known.buffer, known.byteOffset, count * size))
      : await encodeAll(options, size)
  if (known === undefined) {
    await mkdir(dirname(path), { recursive: true })
    await writeAtomically(path, new Uint8Array(toFloat16(latents).buffer))
  }
  const attributes = (index: number) => sampleAttributes((trainingSeed + index) >>> 0, 'seen')
  return { count, ...shape, latents, attributes }
}

async function encodeAll(
  { config, parameters, backend, count, frames, side, signal, progress }: LatentOptions,
  size: number,
): Promise<Float32Array> {
  await using session = await encoderSession(config, parameters, backend, atOnce, frames, side)
  await using queue = filmQueue((n) => [trainingSeed + n * atOnce, atOnce, frames, side, 3])
  const latents = new Float32Array(Math.ceil(count / atOnce) * atOnce * size)
  for (let first = 0; first < count; first += atOnce) {
    signal.throwIfAborted()
    const pixels = unitPixels(await queue.next())
    const outputs = await session.run({
      frames: { dtype: 'float32', shape: [atOnce, frames, side, side, 3], data: pixels },
    })
    latents.set(outputs.latents?.data as Float32Array, first * size)
    progress(Math.min(count, first + atOnce))
  }
  return latents.subarray(0, count * size)
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
  const hash = createHash('sha256').update(JSON.stringify(config))
  for (const name of Object.keys(parameters).sort())
    if (name.startsWith('autoencoder.encoder.')) hash.update(parameters[name] as Float32Array)
  return hash.digest('hex').slice(0, 12)
}
