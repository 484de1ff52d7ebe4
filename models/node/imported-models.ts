/**
 * Imported models ready to run: their manifest held against their files, weights read when a session wants them.
 *
 * Every byte is checked against the manifest before it is used, once per process. A configuration that does not belong to
 * the weights asks for tensors of other shapes, and is refused before a session is made.
 */

import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { distilledPlans } from '../../shared/distilled.ts'
import { GenerationError } from '../../shared/errors.ts'
import type { ModelCard } from '../../shared/manifest.ts'
import {
  type CheckpointModel,
  type CheckpointPart,
  stepsOf,
  type TextSource,
  type WeightFiles,
} from '../pipeline/checkpoint.ts'
import type { DecoderKind } from '../pipeline/decoders.ts'
import { type DenoiserKind, denoisers } from '../pipeline/denoisers.ts'
import { localText } from '../pipeline/text-source.ts'
import { sentencePiece } from '../text/sentencepiece.ts'
import type { ImportedFile, ImportedManifest, ImportedPart } from '../weights/manifest.ts'
import type { PartConfigs } from '../weights/parts.ts'
import type { PartKind } from '../weights/rename.ts'
import { readSafetensors, type SafetensorsFile, WeightsFormatError } from '../weights/safetensors.ts'
import { importedFolder, loadManifest } from './import.ts'

export interface ImportedModel {
  readonly model: CheckpointModel
  readonly manifest: ImportedManifest
  /** What requests are held to; the parts of it that describe our own networks say nothing here. */
  readonly card: ModelCard
}

export interface LoadOptions {
  readonly folder?: string
  /** Embeddings from elsewhere; the model then needs no text encoder. */
  readonly text?: TextSource
}

/**
 * An imported model whose parts are all there, or undefined where none has this name.
 * @throws GenerationError model_format naming the part that is missing.
 */
export async function loadImported(
  id: string,
  { folder = importedFolder(), text }: LoadOptions = {},
): Promise<ImportedModel | undefined> {
  if (!/^[a-z0-9][a-z0-9-]*$/.test(id)) return undefined
  const manifest = await loadManifest(folder, id)
  if (manifest === undefined) return undefined
  const { denoiser, decoder } = manifest.parts
  if (manifest.plan === undefined)
    throw new GenerationError('model_format', `${id}: it has no denoiser; import one --as ${id}`)
  const model: CheckpointModel = {
    id,
    denoiser: partOf<DenoiserKind>(required(id, 'denoiser', denoiser), join(folder, id)),
    decoder: partOf<DecoderKind>(required(id, 'decoder', decoder), join(folder, id)),
    text: text ?? ownText(manifest, join(folder, id)),
    plan: distilledPlans[manifest.plan],
  }
  requireFit(model)
  return { model, manifest, card: requestCard(model, manifest) }
}

/** The model's own text encoder and tokenizer; the tokenizer is read with the first prompt. @throws GenerationError model_format */
function ownText({ id, parts, tokenizer: file }: ImportedManifest, folder: string): TextSource {
  const encoder = partOf<'t5'>(required(id, 'text encoder', parts.textEncoder), folder)
  if (file === undefined)
    throw new GenerationError('model_format', `${id}: it has no tokenizer; import its text encoder --as ${id}`)
  let source: Promise<TextSource> | undefined
  return async (...prompt) => {
    source ??= tokenizerOf(id, folder, file, encoder.config.vocabulary).then((read) => localText(encoder, read))
    return (await source)(...prompt)
  }
}

/** @throws GenerationError model_format where it does not belong to the encoder. */
async function tokenizerOf(id: string, folder: string, file: ImportedFile, vocabulary: number) {
  const words = await readChecked(folder, file)
  const tokenizer = sentencePiece(JSON.parse(new TextDecoder().decode(words)))
  if (tokenizer.vocabulary <= vocabulary) return tokenizer
  const sizes = `${tokenizer.vocabulary} tokens, its text encoder ${vocabulary}`
  throw new GenerationError('model_format', `${id}: its tokenizer has ${sizes}; import the two that belong together`)
}

function required(id: string, slot: string, part: ImportedPart | undefined): ImportedPart {
  if (part === undefined) throw new GenerationError('model_format', `${id}: it has no ${slot}; import one --as ${id}`)
  return part
}

function partOf<K extends PartKind>(part: ImportedPart, folder: string): CheckpointPart<K> {
  let checked = false
  return {
    kind: part.kind as K,
    config: part.config as unknown as PartConfigs[K],
    load: async (): Promise<WeightFiles> => {
      const files: Record<string, SafetensorsFile> = {}
      for (const file of part.files) files[file.file] = headed(file.file, await readChecked(folder, file, checked))
      checked = true
      return files
    },
  }
}

function headed(name: string, bytes: Uint8Array): SafetensorsFile {
  try {
    return readSafetensors(bytes)
  } catch (error) {
    if (!(error instanceof WeightsFormatError)) throw error
    throw new GenerationError('weights_integrity', `${name}: ${error.message}`, { cause: error })
  }
}

/** A file's bytes, if they are those of the manifest. */
async function readChecked(folder: string, { file, bytes, sha256 }: ImportedFile, known = false): Promise<Uint8Array> {
  const data = await readFile(join(folder, file)).catch((error: NodeJS.ErrnoException) => {
    throw new GenerationError('weights_integrity', `${file}: cannot be read (${error.code}); import it again`, {
      cause: error,
    })
  })
  if (data.length !== bytes)
    throw new GenerationError('weights_integrity', `${file}: got ${data.length} bytes, allowed are ${bytes}`)
  if (!known && createHash('sha256').update(data).digest('hex') !== sha256)
    throw new GenerationError('weights_integrity', `${file}: its bytes are not those imported; import it again`)
  return data
}

/** Parts of different families do not fit each other, which shapes would show only in the middle of a run. */
function requireFit({ id, denoiser, decoder, plan }: CheckpointModel): void {
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
  if (plan.prediction !== 'flow')
    throw new GenerationError('model_format', `${id}: its plan predicts ${plan.prediction}, ${denoiser.kind} flow`)
}

/** Names of the folders that hold a manifest. */
export async function importedIds(folder = importedFolder()): Promise<string[]> {
  const inside = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const ids = inside.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  const held = await Promise.all(ids.map((id) => stat(join(folder, id, 'manifest.json')).catch(() => undefined)))
  return ids.filter((_, index) => held[index] !== undefined).sort()
}

/** One hash for all files of a model, in the order of its parts. */
export function importedHash({ parts }: ImportedManifest): string {
  const hashes = [parts.denoiser, parts.textEncoder, parts.decoder].flatMap((part) => part?.files ?? [])
  return createHash('sha256')
    .update(hashes.map(({ sha256 }) => sha256).join('\n'))
    .digest('hex')
}

/** Limits and defaults of requests. */
function requestCard({ id, denoiser, decoder, plan }: CheckpointModel, manifest: ImportedManifest): ModelCard {
  const { strides, sizeMultiple, defaultFps } = denoisers[denoiser.kind]
  const steps = stepsOf(plan).length
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
      num_inference_steps: { values: [steps], min: steps, max: steps, default: steps },
      guidance_scale: { min: 1, max: 1, default: 1 },
      sampler: 'ddim',
    },
    training: {},
    figures: {},
  }
}
