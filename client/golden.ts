/**
 * The golden micro-forward: whether this adapter computes this model right, asked once and remembered.
 *
 * One denoising step, on the adapter and on the CPU of the same runtime, from the same noise. An adapter that is off by
 * more than a few thousandths makes no video. The time of a second run is kept beside the verdict.
 */

import { latentStrides } from '../models/networks/autoencoder.ts'
import type { Backend, HostTensor, Session } from '../models/pipeline/backend.ts'
import { type Probe, probeRow } from '../models/pipeline/checkpoint.ts'
import { compileWholeStep } from '../models/pipeline/compile.ts'
import type { Model } from '../models/pipeline/model.ts'
import { catalogModelOf, standardClip } from '../shared/catalog.ts'
import { GenerationError } from '../shared/errors.ts'
import { gaussian } from '../shared/random.ts'
import { type LatentShape, latentShape } from '../shared/video.ts'

export interface GoldenResult {
  readonly verdict: 'pass' | 'fail'
  /** Root of squared differences over squares of the reference. */
  readonly relativeError: number
  /** Of the small step, once warm. */
  readonly milliseconds: number
}

/** float32 on both sides; float16 accumulation was seen at 0.8 %. */
const tolerance = 2e-3

/** Runs the step on both and compares. */
export async function goldenForward(
  { source, feeds }: Probe,
  backend: Backend,
  reference: Backend,
): Promise<GoldenResult> {
  await using subject = await backend.load(source)
  const measured = await stepOf(subject, feeds)
  const began = performance.now()
  await stepOf(subject, feeds)
  const milliseconds = performance.now() - began
  await using judge = await reference.load(source)
  const relativeError = distance(measured, await stepOf(judge, feeds))
  return { verdict: relativeError <= tolerance ? 'pass' : 'fail', relativeError, milliseconds }
}

/** The step of one of our own models, on its standard clip: a runtime has other kernels for few tokens than for many. */
export function ownProbe(model: Model): Probe {
  const { num_frames: frames, height, width } = standardClip(catalogModelOf(model.card).parameters)
  const shape = latentShape({ frames, height, width }, latentStrides, model.autoencoder.channels)
  return { source: compileWholeStep(model, 1, shape, goldenTokens), feeds: feedsOf(model, shape) }
}

/** @throws GenerationError device_numerics_failed for a failed verdict. */
export function requirePass({ verdict, relativeError }: GoldenResult, adapter: string): void {
  if (verdict === 'pass') return
  throw new GenerationError(
    'device_numerics_failed',
    `${adapter}: a test step is off by ${relativeError.toExponential(1)}, allowed is ${tolerance}; another backend is used`,
  )
}

const goldenTokens = 8

async function stepOf(session: Session, feeds: Readonly<Record<string, HostTensor>>): Promise<Float32Array> {
  const { next } = await session.run(feeds)
  return next?.data as Float32Array
}

function feedsOf({ denoiser }: Model, shape: LatentShape): Record<string, HostTensor> {
  const size = shape.channels * shape.frames * shape.height * shape.width
  const latents = [1, shape.channels, shape.frames, shape.height, shape.width]
  const normal = (stream: number, dims: readonly number[]): HostTensor => ({
    dtype: 'float32',
    shape: dims,
    data: gaussian(
      1,
      100 + stream,
      0,
      dims.reduce((product, each) => product * each, 1),
    ),
  })
  const zeros = (dims: readonly number[], length: number): HostTensor => ({
    dtype: 'float32',
    shape: dims,
    data: new Float32Array(length),
  })
  return {
    latents: normal(0, latents),
    text: normal(1, [1, goldenTokens, denoiser.textWidth]),
    pooled: normal(2, [1, denoiser.textWidth]),
    time: normal(3, [1, shape.frames, denoiser.featureWidth]),
    textBias: zeros([1, 1, 1, goldenTokens], goldenTokens),
    previous: zeros(latents, size),
    noise: zeros(latents, size),
    row: probeRow,
    ...(denoiser.guided ? { guidance: normal(4, [1, denoiser.featureWidth]) } : {}),
  }
}

function distance(got: Float32Array, wanted: Float32Array): number {
  let [difference, total] = [0, 0]
  got.forEach((value, index) => {
    const reference = wanted[index] as number
    difference += (value - reference) ** 2
    total += reference ** 2
  })
  const ratio = Math.sqrt(difference / total)
  return Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : ratio
}
