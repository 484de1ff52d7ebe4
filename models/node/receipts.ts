/**
 * Receipts of what was run here: which model, request and runtime gave an output.
 */

import { createHash } from 'node:crypto'
import { contentKey, type EffectiveRequest } from '../../shared/generation.ts'
import type { Receipt } from '../../shared/receipt.ts'
import type { Backend } from '../pipeline/backend.ts'
import type { KnownModel } from './known-model.ts'
import { runtimeVersion, zoetropeVersion } from './versions.ts'

export async function receiptOf(
  { card, weights, quantization, schedule, rows }: KnownModel,
  backend: Backend,
  request: EffectiveRequest,
  output: Uint8Array,
): Promise<Receipt> {
  const [runtime, provider] = backend.name.split('/') as [string, string]
  const key = { policyVersion: '0', tenant: 'local', provider: 'local', weightsSha256: weights }
  return {
    model: card.id,
    revision: card.revision,
    weights_sha256: weights,
    quantization,
    runtime: `${runtime}/${await runtimeVersion(runtime)}`,
    execution_provider: provider,
    adapter_class: null,
    dtype: 'float32',
    rng: 'philox4x32-10',
    seed: request.seed,
    schedule,
    sigmas: [...rows(request).map(({ level }) => level.sigma), 0],
    effective: request,
    inference_source: 'on_device',
    split_step: null,
    content_key: await contentKey(request, key),
    outputs_sha256: [createHash('sha256').update(output).digest('hex')],
    zoetrope_version: await zoetropeVersion(),
    deterministic_class: `${backend.name}/${process.arch}`,
  }
}
