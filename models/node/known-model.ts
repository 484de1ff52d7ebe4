/**
 * A model as the commands and the node run it: a released one of ours or an imported one, behind one interface.
 *
 * Released models come first where both have a name. Nothing but cards and manifests is read before a run.
 */

import { GenerationError } from '../../shared/errors.ts'
import type { EffectiveRequest } from '../../shared/generation.ts'
import type { ModelCard } from '../../shared/manifest.ts'
import { planOf } from '../../shared/plan.ts'
import type { Receipt } from '../../shared/receipt.ts'
import type { SamplerStep } from '../../shared/sampler.ts'
import { type LatentShape, latentShape } from '../../shared/video.ts'
import { autoencoderSizes, latentStrides } from '../networks/autoencoder.ts'
import type { Backend } from '../pipeline/backend.ts'
import { checkpointRunner, checkpointShape, stepsOf } from '../pipeline/checkpoint.ts'
import { runner, type SplitRunner } from '../pipeline/generate.ts'
import type { Model } from '../pipeline/model.ts'
import { importedFolder } from './import.ts'
import { importedHash, loadImported } from './imported-models.ts'
import { combinedHash, loadCard, loadModel, modelIds, weightsFolder } from './models.ts'

export interface KnownModel {
  readonly card: ModelCard
  /** One hash of all its weight files. */
  readonly weights: string
  /** The hash of what encodes its prompts. */
  readonly encoder: string
  readonly quantization: Receipt['quantization']
  readonly schedule: string
  /** The rows of a request's plan. */
  readonly rows: (request: EffectiveRequest) => readonly SamplerStep[]
  /** The latents of a request. @throws GenerationError invalid_parameter where the model's strides do not fit. */
  readonly shape: (request: EffectiveRequest) => LatentShape
  /** Ready to run; weights are read and checked when they are needed. */
  readonly open: (backend: Backend) => Promise<SplitRunner>
}

/**
 * A model by its name.
 * @throws GenerationError not_found listing the released ones, model_format for an imported one that lacks a part.
 */
export async function knownModel(id: string): Promise<KnownModel> {
  const released = (await modelIds()).includes(id)
  const imported = released ? undefined : await importedModel(id)
  return imported ?? releasedModel(await loadCard(id))
}

/** @throws GenerationError model_format for an autoencoder that this version has not. */
export function releasedModel(card: ModelCard, folder = weightsFolder): KnownModel {
  const { autoencoder } = card.architecture
  if (!Object.hasOwn(autoencoderSizes, autoencoder)) {
    const message = `${card.id}: its autoencoder is ${autoencoder}, which this version has not`
    throw new GenerationError('model_format', message)
  }
  const { channels } = autoencoderSizes[autoencoder as keyof typeof autoencoderSizes]
  let loading: Promise<Model> | undefined
  const load = () => {
    loading ??= loadModel(card, folder).catch((error: unknown) => {
      // A file put right must not need a restart.
      loading = undefined
      throw error
    })
    return loading
  }
  return {
    card,
    weights: combinedHash(card),
    encoder: card.weights.denoiser.sha256,
    quantization: 'none',
    schedule: card.schedule,
    rows: planOf,
    shape: ({ num_frames: frames, height, width }) => latentShape({ frames, height, width }, latentStrides, channels),
    open: async (backend) => runner(await load(), backend),
  }
}

/** An imported model, or undefined where there is none of this name. @throws GenerationError model_format naming what it lacks. */
export async function importedModel(id: string, folder = importedFolder()): Promise<KnownModel | undefined> {
  const imported = await loadImported(id, { folder })
  if (imported === undefined) return undefined
  const { card, manifest, model } = imported
  return {
    card,
    weights: importedHash(manifest),
    encoder: manifest.parts.textEncoder?.files[0]?.sha256 ?? '',
    quantization: manifest.parts.denoiser?.precision ?? 'none',
    schedule: manifest.plan ?? card.schedule,
    rows: (request) => stepsOf(model.plan, request),
    shape: (request) => checkpointShape(model, request),
    open: async (backend) => checkpointRunner(model, backend),
  }
}
