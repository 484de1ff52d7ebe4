/**
 * What a receipt says of this device: the model on it, the runtime, the adapter.
 */

import type { ModelCard } from '../shared/manifest.ts'
import type { Maker } from '../shared/receipt.ts'
import type { WebBackend } from './backend.ts'
import { hashOf } from './hash.ts'
import type { Runnable } from './runnable.ts'
import { runtimeVersion } from './runtime-files.ts'
import { zoetropeVersion } from './version.ts'

export async function makerOf(
  { card, hashes, quantization, schedule, rows }: Runnable,
  { name, provider, adapterClass }: WebBackend,
): Promise<Maker> {
  return {
    ...{ card, quantization, schedule, rows },
    weights: await hashOf(hashes),
    runtime: `onnxruntime-web/${runtimeVersion}`,
    execution_provider: provider,
    adapter_class: adapterClass,
    zoetrope_version: zoetropeVersion,
    deterministic_class: `${name}/${adapterClass ?? 'wasm'}`,
  }
}

/** One hash for the files that a card names, known before anything is fetched. */
export const weightsHash = (card: ModelCard): Promise<string> =>
  hashOf(Object.values(card.weights).map(({ sha256: each }) => each))
