/**
 * Releasing a model: averaged weights of a run as float16 safetensors, and the card that vouches for them.
 */

import { createHash } from 'node:crypto'
import { GenerationError } from '../../shared/errors.ts'
import { type ModelCard, readCard, type WeightsReference } from '../../shared/manifest.ts'
import type { Prediction } from '../../shared/prediction.ts'
import { sizeOf, trace, type Value } from '../graph/graph.ts'
import { autoencoderSizes, latentStrides } from '../networks/autoencoder.ts'
import { type DitForm, type DitSize, ditOf, ditSizes } from '../networks/dit.ts'
import { textEncoderSizes } from '../networks/text-encoder.ts'
import { modelCost, ownGraphs } from '../pipeline/cost.ts'
import { configurationsOf } from '../pipeline/model.ts'
import { tokenizerRevision, vocabularySize } from '../text/tokenizer.ts'
import { autoencoderObjective, denoiserObjective } from '../train/objectives.ts'
import type { TrainingState } from '../train/trainer.ts'
import { toFloat16 } from '../weights/float16.ts'
import { writeSafetensors } from '../weights/safetensors.ts'
import { writeAtomically } from './checkpoints.ts'
import { cardsFolder, loadCard, modelIds, releasedState, weightsFolder } from './models.ts'
import { averaged } from './runs.ts'

/** What differs from one released denoiser to the next. */
export interface Release {
  readonly id: string
  readonly summary: string
  readonly size: string
  readonly guided: boolean
  readonly passes: number
  readonly prediction: Prediction
  readonly steps: ModelCard['parameters']['num_inference_steps']
  readonly guidance: ModelCard['parameters']['guidance_scale']
  readonly sampler: ModelCard['parameters']['sampler']
  readonly training: ModelCard['training']
  readonly figures: ModelCard['figures']
}

const autoencoderFile = 'zt-stickers-autoencoder.safetensors'

/** Writes the averaged parameters that an objective's network has, each with its shape. */
async function releaseWeights(
  file: string,
  state: TrainingState,
  objective: () => Readonly<Record<string, Value>>,
): Promise<WeightsReference> {
  const values = averaged(state)
  const tensors = Object.fromEntries(
    trace(objective).parameters.map(({ attributes: { name }, shape }) => {
      const data = values[name]
      if (data?.length !== sizeOf(shape))
        throw new RangeError(`${name}: the run has ${data?.length ?? 'no'} numbers, the network wants [${shape}]`)
      return [name, { shape, data }]
    }),
  )
  const bytes = writeSafetensors(tensors, 'float16', { producer: 'zoetrope', license: 'Apache-2.0' })
  await writeAtomically(`${weightsFolder}${file}`, bytes)
  return { file, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** The parts of a release: the run's denoiser with its text encoder, and the autoencoder it was trained with. */
export async function releaseParts(
  id: string,
  { size, ...form }: DitForm & { readonly size: DitSize },
  state: TrainingState,
  autoencoder: TrainingState,
): Promise<ModelCard['weights']> {
  const text = { ...textEncoderSizes.nano, vocabulary: vocabularySize }
  const part = { name: 'clip', batch: 1, frames: 1, tokens: 8, share: 1 }
  return {
    denoiser: await releaseWeights(`${id}.safetensors`, state, () =>
      denoiserObjective(ditOf(ditSizes[size], form), text, { height: 8, width: 8 }, [part]),
    ),
    autoencoder: await writeAutoencoder(autoencoder),
  }
}

/**
 * Writes an autoencoder alone: each model that shares it becomes a new revision. Gives their ids.
 * @throws GenerationError unsupported_capability where its encoder is not the one that a model's latents are from.
 */
export async function releaseAutoencoder(state: TrainingState): Promise<WeightsReference & { readonly ids: string[] }> {
  const cards = await Promise.all((await modelIds()).map((id) => loadCard(id)))
  const sharing = cards.filter(({ weights }) => weights.autoencoder?.file === autoencoderFile)
  for (const card of sharing) requireSameEncoder(card, averaged(state), await releasedState(card))
  const written = await writeAutoencoder(state)
  for (const card of sharing) {
    const revision = await nextRevision(card.id)
    await writeCard({ ...card, revision, weights: { ...card.weights, autoencoder: written } })
  }
  return { ...written, ids: sharing.map(({ id }) => id) }
}

/** Holds an autoencoder to the encoder of a model, by what is stored. @throws GenerationError unsupported_capability. */
export function requireSameEncoder(card: ModelCard, ours: TrainingState, released: TrainingState): void {
  const stored = (values: Float32Array | undefined) => toFloat16(values ?? []).join()
  const other = Object.keys(released).find(
    (name) => name.startsWith('autoencoder.encoder.') && stored(released[name]) !== stored(ours[name]),
  )
  if (other === undefined) return
  throw new GenerationError(
    'unsupported_capability',
    `${other}: is not that of ${card.id}, which would be shown latents it does not know; take the encoder that it learned with`,
  )
}

const writeAutoencoder = (state: TrainingState): Promise<WeightsReference> =>
  releaseWeights(autoencoderFile, state, () =>
    autoencoderObjective(autoencoderSizes.stickers, { batch: 1, frames: 1, height: 16, width: 16 }),
  )

/** Writes the card of a released denoiser. */
export async function releaseCard(release: Release, weights: ModelCard['weights']): Promise<ModelCard> {
  const architecture = {
    denoiser: release.size,
    textEncoder: 'nano',
    autoencoder: 'stickers',
    guided: release.guided,
    tokenizer: tokenizerRevision,
    ...(release.passes === 0 ? {} : { passes: release.passes }),
  }
  const card = readCard({
    id: release.id,
    revision: await nextRevision(release.id),
    family: 'zt.stickers64',
    latents: { ...latentStrides, channels: autoencoderSizes.stickers.channels, plan: 'cosine' },
    summary: release.summary,
    license: 'Apache-2.0',
    architecture,
    prediction: release.prediction,
    schedule: 'cosine',
    weights,
    parameters: {
      num_frames: { min: 1, max: 81, stride: 4, offset: 1, default: 17 },
      fps: { default: 8 },
      size: { multiple: 16, min: 32, max: 512, max_pixels: 262144, default: '64x64' },
      num_inference_steps: release.steps,
      guidance_scale: release.guidance,
      sampler: release.sampler,
    },
    cost: modelCost(ownGraphs(configurationsOf({ architecture }))),
    training: release.training,
    figures: release.figures,
  })
  await writeCard(card)
  return card
}

const writeCard = (card: ModelCard): Promise<void> =>
  writeAtomically(`${cardsFolder}${card.id}.json`, `${JSON.stringify(card, undefined, 2)}\n`)

/** r1 for a new model, one more than the present card's otherwise. */
async function nextRevision(id: string): Promise<string> {
  if (!(await modelIds()).includes(id)) return 'r1'
  return `r${Number((await loadCard(id)).revision.slice(1)) + 1}`
}
