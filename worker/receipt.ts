/**
 * The receipt of a cloud result: what the executor says of itself, and what the edge knows for sure.
 *
 * Our own node fills in how the numbers came about; an upstream model tells nothing, and nothing is claimed for it.
 */

import type { CatalogModel } from '../shared/catalog.ts'
import { sourceOf } from '../shared/effective.ts'
import type { JobRecord, StoredOutput } from './objects/contract.ts'
import { similarityOf } from './similar.ts'

export const zoetropeVersion = '0.1.0'

export function receiptFor(
  record: JobRecord,
  model: CatalogModel,
  outputs: readonly StoredOutput[],
  told: object | null,
): Readonly<Record<string, unknown>> {
  return {
    quantization: null,
    runtime: record.provider,
    execution_provider: null,
    adapter_class: null,
    dtype: null,
    rng: null,
    schedule: null,
    sigmas: null,
    deterministic_class: null,
    ...told,
    split_step: record.similar?.latents.step ?? record.effective.envelope?.step ?? record.effective.stop_step ?? null,
    model: model.id,
    revision: model.revision,
    weights_sha256: model.weights_sha256,
    seed: model.parameters.seed ? record.effective.seed : null,
    effective: record.effective,
    inference_source: sourceOf(record.effective),
    content_key: record.contentKey,
    outputs_sha256: outputs.map(({ sha256 }) => sha256),
    zoetrope_version: zoetropeVersion,
    ...(record.similar === undefined ? {} : { similar: similarityOf(record.similar) }),
    ...(record.originalPrompt === null ? {} : { original_prompt: record.originalPrompt }),
  }
}
