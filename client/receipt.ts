/**
 * The receipt of a generation on this device.
 */

import { contentKey, type EffectiveRequest } from '../shared/generation.ts'
import type { ModelCard } from '../shared/manifest.ts'
import type { Receipt } from '../shared/receipt.ts'
import type { WebBackend } from './backend.ts'
import { hashOf } from './hash.ts'
import type { Runnable } from './runnable.ts'
import { runtimeVersion } from './runtime-files.ts'
import { zoetropeVersion } from './version.ts'

export async function receiptOf(
  { card, hashes, quantization, schedule, rows }: Runnable,
  { name, provider, adapterClass }: WebBackend,
  request: EffectiveRequest,
  outputs: readonly string[],
): Promise<Receipt> {
  const weights = await hashOf(hashes)
  const key = { policyVersion: '0', tenant: 'local', provider: 'local', weightsSha256: weights }
  return {
    model: card.id,
    revision: card.revision,
    weights_sha256: weights,
    quantization,
    runtime: `onnxruntime-web/${runtimeVersion}`,
    execution_provider: provider,
    adapter_class: adapterClass,
    dtype: 'float32',
    rng: 'philox4x32-10',
    seed: request.seed,
    schedule,
    sigmas: [...rows(request).map(({ level }) => level.sigma), 0],
    effective: request,
    inference_source: 'on_device',
    split_step: null,
    content_key: await contentKey(request, key),
    outputs_sha256: outputs,
    zoetrope_version: zoetropeVersion,
    deterministic_class: `${name}/${adapterClass ?? 'wasm'}`,
  }
}

/** One hash for the files that a card names, known before anything is fetched. */
export const weightsHash = (card: ModelCard): Promise<string> =>
  hashOf(Object.values(card.weights).map(({ sha256: each }) => each))
