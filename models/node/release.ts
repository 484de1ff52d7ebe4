/**
 * Releasing a model: averaged weights of a run as float16 safetensors, and the card that vouches for them.
 */

import { createHash } from 'node:crypto'
import { type ModelCard, readCard, type WeightsReference } from '../../shared/manifest.ts'
import { tokenizerRevision } from '../text/tokenizer.ts'
import type { TrainingState } from '../train/trainer.ts'
import { writeSafetensors } from '../weights/safetensors.ts'
import { writeAtomically } from './checkpoints.ts'
import { cardsFolder, weightsFolder } from './models.ts'
import { averaged } from './runs.ts'

/** What differs from one released denoiser to the next. */
export interface Release {
  readonly id: string
  readonly revision: string
  readonly summary: string
  readonly size: string
  readonly guided: boolean
  readonly steps: ModelCard['parameters']['num_inference_steps']
  readonly guidance: ModelCard['parameters']['guidance_scale']
  readonly sampler: ModelCard['parameters']['sampler']
  readonly training: ModelCard['training']
  readonly figures: ModelCard['figures']
}

export const autoencoderFile = 'zt-stickers-autoencoder.safetensors'

/** Writes the averaged parameters of a state whose names begin with one of `prefixes`. */
export async function releaseWeights(
  file: string,
  state: TrainingState,
  prefixes: readonly string[],
): Promise<WeightsReference> {
  const released = Object.entries(averaged(state)).filter(([name]) => prefixes.some((each) => name.startsWith(each)))
  const tensors = Object.fromEntries(released.sort().map(([name, data]) => [name, { shape: [data.length], data }]))
  const bytes = writeSafetensors(tensors, 'float16', { producer: 'zoetrope', license: 'Apache-2.0' })
  await writeAtomically(`${weightsFolder}${file}`, bytes)
  return { file, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
}

/** Writes the card of a released denoiser. */
export async function releaseCard(release: Release, weights: ModelCard['weights']): Promise<ModelCard> {
  const card = readCard({
    id: release.id,
    revision: release.revision,
    family: 'zt.stickers64',
    summary: release.summary,
    license: 'Apache-2.0',
    architecture: {
      denoiser: release.size,
      textEncoder: 'nano',
      autoencoder: 'stickers',
      guided: release.guided,
      tokenizer: tokenizerRevision,
    },
    prediction: 'velocity',
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
    training: release.training,
    figures: release.figures,
  })
  await writeAtomically(`${cardsFolder}${release.id}.json`, `${JSON.stringify(card, undefined, 2)}\n`)
  return card
}
