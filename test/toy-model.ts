/**
 * A tiny model with random weights, released into a folder as a real one is: card, safetensors, hashes.
 *
 * What it draws means nothing, but every part runs: text, guidance, steps, decoder. For tests of what carries models.
 */

import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ParameterDescription } from '../models/graph/graph.ts'
import { input, scope, trace } from '../models/graph/graph.ts'
import { autoencoderSizes, decodeGroups, encoder } from '../models/networks/autoencoder.ts'
import { ditSizes } from '../models/networks/dit.ts'
import { textEncoder, textEncoderSizes } from '../models/networks/text-encoder.ts'
import { stepGraph } from '../models/pipeline/compile.ts'
import type { Model } from '../models/pipeline/model.ts'
import { tokenizerRevision, vocabularySize } from '../models/text/tokenizer.ts'
import { initialize } from '../models/train/initialize.ts'
import { writeSafetensors } from '../models/weights/safetensors.ts'
import { type ModelCard, readCard, type WeightsReference } from '../shared/manifest.ts'
import { gaussian } from '../shared/random.ts'

export interface ToyOptions {
  readonly id?: string
  /** Whether the guidance scale is an input, as in a distilled student. */
  readonly guided?: boolean
  readonly sampler?: ModelCard['parameters']['sampler']
}

/** Folders with one model, laid out as models/cards and models/weights are. */
export interface ToyFolders {
  readonly cards: string
  readonly weights: string
  readonly card: ModelCard
}

/** Writes the model below `place`. */
export async function toyModel(place: string, options: ToyOptions = {}): Promise<ToyFolders> {
  const { id = 'zt-toy' } = options
  const [cards, weights] = [join(place, 'cards/'), join(place, 'weights/')]
  await Promise.all([cards, weights].map((folder) => mkdir(folder, { recursive: true })))
  const draft = cardOf(id, options, { denoiser: nothing(id), autoencoder: nothing('zt-toy-autoencoder') })
  const write = async (file: string, parameters: readonly ParameterDescription[]): Promise<WeightsReference> => {
    const bytes = writeSafetensors(drawn(parameters), 'float16', { producer: 'zoetrope' })
    await writeFile(join(weights, file), bytes)
    return { file, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
  }
  const model = bare(draft)
  const card = cardOf(id, options, {
    denoiser: await write(`${id}.safetensors`, denoiserParameters(model)),
    autoencoder: await write('zt-toy-autoencoder.safetensors', autoencoderParameters(model)),
  })
  await writeFile(join(cards, `${id}.json`), JSON.stringify(card))
  return { cards, weights, card }
}

const nothing = (name: string): WeightsReference => ({
  file: `${name}.safetensors`,
  bytes: 0,
  sha256: '0'.repeat(64),
})

function cardOf(id: string, { guided = false, sampler = 'ddim' }: ToyOptions, weights: ModelCard['weights']) {
  return readCard({
    id,
    revision: 'r1',
    family: 'zt.toy16',
    summary: 'Random weights: draws noise, for tests.',
    license: 'Apache-2.0',
    architecture: {
      denoiser: 'tiny',
      textEncoder: 'tiny',
      autoencoder: 'tiny',
      guided,
      tokenizer: tokenizerRevision,
    },
    prediction: 'velocity',
    schedule: 'cosine',
    weights,
    parameters: {
      num_frames: { min: 1, max: 17, stride: 4, offset: 1, default: 5 },
      fps: { default: 8 },
      size: { multiple: 16, min: 16, max: 64, max_pixels: 4096, default: '32x32' },
      num_inference_steps: { min: 1, max: 64, default: 4 },
      guidance_scale: { min: 1, max: 10, default: 2 },
      sampler,
    },
    training: {},
    figures: {},
  })
}

/** A model without its weights, enough to trace its graphs. */
function bare(card: ModelCard): Model {
  return {
    card,
    denoiser: { ...ditSizes.tiny, guided: card.architecture.guided },
    text: { ...textEncoderSizes.tiny, vocabulary: vocabularySize },
    autoencoder: autoencoderSizes.tiny,
    files: {},
  }
}

function denoiserParameters(model: Model): ParameterDescription[] {
  const { channels } = model.autoencoder
  const step = trace(() => stepGraph(model, 1, { channels, frames: 1, height: 2, width: 2 }, 8))
  const text = trace(() => ({
    ...scope('text', () => textEncoder(model.text, input('ids', [1, 8], 'int32'), input('mask', [1, 8]))),
  }))
  return [...text.parameters, ...step.parameters].map(({ attributes }) => attributes)
}

function autoencoderParameters({ autoencoder }: Model): ParameterDescription[] {
  const graph = trace(() => ({
    latents: scope('autoencoder', () => encoder(autoencoder, input('frames', [1, 1, 16, 16, 3]))),
    frames: scope('autoencoder', () => {
      const group = (name: string) => input(name, [1, 2, 2, autoencoder.channels])
      return decodeGroups(autoencoder, group('group'), group('previous'))
    }),
  }))
  return graph.parameters.map(({ attributes }) => attributes)
}

/** Fresh parameters, except that what begins at zero is drawn small: a silent branch would hide what it is told. */
function drawn(parameters: readonly ParameterDescription[]) {
  const fresh = initialize(1)
  return Object.fromEntries(
    parameters.map((parameter, index) => {
      const values = fresh(parameter)
      const silent = values.every((value) => value === 0)
      const data = silent ? gaussian(2, index, 0, values.length).map((value) => value * 0.05) : values
      return [parameter.name, { shape: parameter.shape, data }]
    }),
  )
}
