/**
 * The receipt: everything that decided a result, so that it can be told how it came about and made again.
 *
 * Bit equality is claimed only within one `deterministic_class`. Names are the wire's.
 */

import type { EffectiveRequest } from './generation.ts'

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
