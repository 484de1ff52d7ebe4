/**
 * The receipt: everything that decided a result, so that it can be told how it came about and made again.
 *
 * Bit equality is claimed only within one `deterministic_class`. Names are the wire's.
 */

import { contentKey, type EffectiveRequest, type KeyContext } from './generation.ts'
import type { ModelCard } from './manifest.ts'
import { sigmasOf } from './plan.ts'
import type { SamplerStep } from './sampler.ts'

export interface Receipt {
  readonly model: string
  readonly revision: string
  readonly weights_sha256: string
  readonly quantization: 'none' | 'f32' | 'f16' | 'q8' | 'q4'
  /** The runtime and its version, for example onnxruntime-node/1.30.0. */
  readonly runtime: string
  readonly execution_provider: string
  readonly adapter_class: string | null
  readonly dtype: 'float32' | 'float16'
  readonly rng: 'philox4x32-10'
  readonly seed: number
  readonly schedule: string
  /** sigma of every level of the plan, the last one 0. */
  readonly sigmas: readonly number[]
  readonly effective: EffectiveRequest
  readonly inference_source: 'on_device' | 'in_cloud' | 'hybrid'
  readonly split_step: number | null
  readonly content_key: string
  readonly outputs_sha256: readonly string[]
  readonly zoetrope_version: string
  readonly deterministic_class: string
}

/** Who made a result: the model, and what it ran on. */
export interface Maker extends Pick<Receipt, 'quantization' | 'schedule' | 'runtime' | 'execution_provider'> {
  readonly card: Pick<ModelCard, 'id' | 'revision'>
  /** One hash of all its weights. */
  readonly weights: string
  readonly rows: (request: EffectiveRequest) => readonly SamplerStep[]
  readonly adapter_class?: string | null
  readonly zoetrope_version: string
  readonly deterministic_class: string
}

/**
 * What the content key of a run on one's own machine takes besides the request. Its media have no ids: they are named by
 * their hashes.
 */
export const localKey = (weightsSha256: string, { frame_images: frames = [] }: EffectiveRequest): KeyContext => ({
  policyVersion: '0',
  tenant: 'local',
  provider: 'local',
  weightsSha256,
  hashes: new Map(frames.map(({ image }) => [image, image])),
})

/** The receipt of what one of our own runtimes made; a split run adds where its plan was cut. */
export async function receiptOf(
  { card, weights, rows, adapter_class = null, ...told }: Maker,
  request: EffectiveRequest,
  outputs: readonly string[],
  split: Partial<Pick<Receipt, 'inference_source' | 'split_step'>> = {},
): Promise<Receipt> {
  return {
    ...told,
    model: card.id,
    revision: card.revision,
    weights_sha256: weights,
    adapter_class,
    dtype: 'float32',
    rng: 'philox4x32-10',
    seed: request.seed,
    sigmas: sigmasOf(rows(request)),
    effective: request,
    inference_source: 'on_device',
    split_step: null,
    content_key: await contentKey(request, localKey(weights, request)),
    outputs_sha256: outputs,
    ...split,
  }
}
