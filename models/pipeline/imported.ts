/**
 * An imported model out of its manifest: its parts fitted together, and the card that requests are held to.
 *
 * Whoever holds the bytes says how a part's weights are read and where text is encoded; nothing is loaded here. A
 * configuration that does not belong to the weights asks for tensors of other shapes, and is refused with the session.
 */

import { GenerationError } from '../../shared/errors.ts'
import type { ModelCard } from '../../shared/manifest.ts'
import {
  guidanceOf,
  type ReleasedPlan,
  type ReleasedPlanName,
  releasedPlans,
  releasedSteps,
} from '../../shared/released-plans.ts'
import type { ImportedFile, ImportedManifest, ImportedPart } from '../weights/manifest.ts'
import type { PartConfigs } from '../weights/parts.ts'
import type { PartKind } from '../weights/rename.ts'
import { type CheckpointModel, type CheckpointPart, stepsOf, type TextSource, type WeightFiles } from './checkpoint.ts'
import { checkpointGraphs, modelCost } from './cost.ts'
import type { DecoderKind } from './decoders.ts'
import { type DenoiserKind, denoisers } from './denoisers.ts'

/** Reads and checks the weights of a part. */
export type LoadPart = (part: ImportedPart) => Promise<WeightFiles>

export interface FittedModel {
  readonly model: CheckpointModel
  /** What requests are held to; the parts of it that describe our own networks say nothing here. */
  readonly card: ModelCard
}

/** @throws GenerationError model_format for a part that is missing, latent_mismatch for parts that do not fit. */
export function fittedModel(manifest: ImportedManifest, load: LoadPart, text: TextSource): FittedModel {
  const { id, parts } = manifest
  const model: CheckpointModel = {
    id,
    denoiser: importedPart<DenoiserKind>(required(id, 'denoiser', parts.denoiser), load),
    decoder: importedPart<DecoderKind>(required(id, 'decoder', parts.decoder), load),
    text,
    ...passes(manifest, load),
  }
  requireFit(model)
  return { model, card: requestCard(model, manifest) }
}

/** A model's plan; with an upscaler, the one of two passes where there is one. @throws GenerationError model_format */
function passes({ id, parts: { upscaler }, plan }: ImportedManifest, load: LoadPart) {
  const taken = planTaken(required(id, 'plan', plan), upscaler)
  const wanted = releasedSteps(taken).length > 1
  const part = wanted ? importedPart<'ltx-upscaler'>(required(id, 'upscaler', upscaler), load) : undefined
  return { plan: taken, ...(part === undefined ? {} : { upscaler: part }) }
}

/** The plan that a model runs by. */
export function planTaken(named: ReleasedPlanName, upscaler: ImportedPart | undefined): ReleasedPlan {
  const twice = upscaler !== undefined && named === 'ltx-0.9.8-distilled'
  return releasedPlans[twice ? 'ltx-0.9.8-distilled-two-pass' : named]
}

/** A part of a manifest as the pipeline takes it. */
export function importedPart<K extends PartKind>(part: ImportedPart, load: LoadPart): CheckpointPart<K> {
  return { kind: part.kind as K, config: part.config as unknown as PartConfigs[K], load: () => load(part) }
}

/** @throws GenerationError model_format naming what is missing. */
export function required<T>(id: string, slot: string, held: T | undefined): T {
  if (held === undefined) throw new GenerationError('model_format', `${id}: it has no ${slot}; import one --as ${id}`)
  return held
}

/** The files of a model's parts, in their order; one hash over theirs is the model's. */
export const partFiles = ({ parts }: ImportedManifest): ImportedFile[] =>
  [parts.denoiser, parts.textEncoder, parts.decoder, parts.upscaler].flatMap((part) => part?.files ?? [])

/** Parts of different families do not fit each other, which shapes would show only in the middle of a run. */
function requireFit({ id, denoiser, decoder, upscaler, plan }: CheckpointModel): void {
  const pairs: Readonly<Record<DenoiserKind, DecoderKind>> = {
    'wan-dit': 'taehv-decoder',
    'ltx-dit': 'ltx-vae-decoder',
  }
  const wanted = pairs[denoiser.kind]
  const { channels } = denoiser.config
  if (decoder.kind !== wanted || decoder.config.latentChannels !== channels) {
    const got = `${decoder.kind} of ${decoder.config.latentChannels} channels`
    throw new GenerationError(
      'latent_mismatch',
      `${id}: got a ${got}, allowed is a ${wanted} of ${channels}; import it`,
    )
  }
  if (upscaler !== undefined && upscaler.config.channels !== channels) {
    const got = `an upscaler of ${upscaler.config.channels} channels`
    throw new GenerationError('latent_mismatch', `${id}: got ${got}, allowed is one of ${channels}; import it`)
  }
  if (plan.prediction !== 'flow')
    throw new GenerationError('model_format', `${id}: its plan predicts ${plan.prediction}, ${denoiser.kind} flow`)
}

/** Limits and defaults of requests. */
function requestCard({ id, denoiser, decoder, plan }: CheckpointModel, manifest: ImportedManifest): ModelCard {
  const { strides, sizeMultiple, defaultFps } = denoisers[denoiser.kind]
  const [steps, guidance] = [stepsOf(plan).length, guidanceOf(plan)]
  const [first] = manifest.parts.denoiser?.files ?? []
  const [second] = manifest.parts.decoder?.files ?? []
  const reference = (file: ImportedFile | undefined) => ({
    file: file?.file ?? '',
    bytes: file?.bytes ?? 0,
    sha256: file?.sha256 ?? '',
  })
  return {
    id,
    revision: reference(first).sha256.slice(0, 12),
    family: `${denoiser.kind}.${denoiser.config.channels}`,
    latents: { ...strides, channels: denoiser.config.channels, plan: required(id, 'plan', manifest.plan) },
    summary: `imported ${denoiser.kind}`,
    license: Object.values(manifest.licenses).join(', '),
    architecture: {
      denoiser: denoiser.kind,
      textEncoder: 't5',
      autoencoder: decoder.kind,
      guided: false,
      tokenizer: 'sentencepiece',
    },
    prediction: plan.prediction,
    // The only schedule that a card can name; the levels of these models are their plan's.
    schedule: 'cosine',
    weights: { denoiser: reference(first), autoencoder: reference(second) },
    parameters: {
      num_frames: { min: 1, max: 257, stride: strides.temporal, offset: 1, default: 8 * strides.temporal + 1 },
      fps: { default: defaultFps },
      size: {
        multiple: sizeMultiple,
        min: sizeMultiple,
        max: 1280,
        max_pixels: 1280 * 720,
        default: '416x256',
      },
      num_inference_steps:
        guidance === undefined
          ? { values: [steps], min: steps, max: steps, default: steps }
          : { min: 1, max: 100, default: steps },
      guidance_scale: { min: 1, max: guidance === undefined ? 1 : 20, default: guidance ?? 1 },
      sampler: 'ddim',
    },
    cost: modelCost(checkpointGraphs({ denoiser, decoder, plan })),
    training: {},
    figures: {},
  }
}
