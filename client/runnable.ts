/**
 * A model as the engine runs it: one of ours or an imported one, behind one interface.
 *
 * Knows no store and no backend.
 */

import type { Backend } from '../models/pipeline/backend.ts'
import { checkpointProbe, checkpointRunner, type Probe, stepsOf } from '../models/pipeline/checkpoint.ts'
import { runner, type SplitRunner } from '../models/pipeline/generate.ts'
import { type FittedModel, partFiles } from '../models/pipeline/imported.ts'
import type { KnownTexts } from '../models/pipeline/known-texts.ts'
import type { Model } from '../models/pipeline/model.ts'
import type { ImportedManifest } from '../models/weights/manifest.ts'
import type { EffectiveRequest } from '../shared/generation.ts'
import type { ModelCard } from '../shared/manifest.ts'
import { planOf } from '../shared/plan.ts'
import type { Receipt } from '../shared/receipt.ts'
import type { SamplerStep } from '../shared/sampler.ts'
import { ownProbe } from './golden.ts'

export interface Runnable {
  readonly card: ModelCard
  /** Hashes of its weight files, in their order. */
  readonly hashes: readonly string[]
  readonly quantization: Receipt['quantization']
  readonly schedule: string
  /** The rows of a request's plan. */
  readonly rows: (request: EffectiveRequest) => readonly SamplerStep[]
  readonly open: (backend: Backend) => SplitRunner
  /** The step that an adapter is tried with. */
  readonly probe: () => Promise<Probe>
}

export function ownModel(model: Model, known: KnownTexts): Runnable {
  const { card } = model
  return {
    card,
    hashes: Object.values(card.weights).map(({ sha256 }) => sha256),
    quantization: 'none',
    schedule: card.schedule,
    rows: planOf,
    open: (backend) => runner(model, backend, known),
    probe: async () => ownProbe(model),
  }
}

export function importedModel({ card, model }: FittedModel, manifest: ImportedManifest): Runnable {
  return {
    card,
    hashes: partFiles(manifest).map(({ sha256 }) => sha256),
    quantization: manifest.parts.denoiser?.precision ?? 'none',
    schedule: manifest.plan ?? card.schedule,
    rows: (request) => stepsOf(model.plan, request),
    open: (backend) => checkpointRunner(model, backend),
    probe: () => checkpointProbe(model),
  }
}
