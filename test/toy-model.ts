/**
 * A model of the smallest sizes with random weights: everything of a released one but the meaning.
 */

import { input, type ParameterDescription, scope, trace, type Value } from '../models/graph/graph.ts'
import { autoencoderSizes, decoder, encoder, latentStrides } from '../models/networks/autoencoder.ts'
import { dit, ditOf, ditSizes } from '../models/networks/dit.ts'
import { textEncoder, textEncoderSizes } from '../models/networks/text-encoder.ts'
import { modelCost, ownGraphs } from '../models/pipeline/cost.ts'
import { configurationsOf } from '../models/pipeline/model.ts'
import { tokenizerRevision, vocabularySize } from '../models/text/tokenizer.ts'
import { initialize } from '../models/train/initialize.ts'
import { writeSafetensors } from '../models/weights/safetensors.ts'
import { type ModelCard, readCard, type WeightsReference } from '../shared/manifest.ts'
import { gaussian } from '../shared/random.ts'

export interface ToyModel {
  readonly card: ModelCard
  readonly files: Readonly<Record<string, Uint8Array>>
}

export interface ToyModelOptions {
  readonly id?: string
  readonly guided?: boolean
  readonly seed?: number
  readonly parameters?: ModelCard['parameters']
}

/** Guided as students are, or run on two rows as teachers are. */
export async function toyModel({
  id = 'toy',
  guided = true,
  seed = 1,
  parameters = defaults(guided),
}: ToyModelOptions = {}): Promise<ToyModel> {
  const files: Record<string, Uint8Array> = {
    [`${id}.safetensors`]: weightsOf(denoiserParameters(guided), seed),
    [`${id}-autoencoder.safetensors`]: weightsOf(autoencoderParameters(), seed),
  }
  const [denoiser, autoencoder] = await Promise.all(
    Object.entries(files).map(([file, bytes]) => reference(file, bytes)),
  )
  return { card: toyCard(id, guided, parameters, { denoiser, autoencoder } as ModelCard['weights']), files }
}

/** As the released models have them, fewer. */
const passes = 8

const defaults = (guided: boolean): ModelCard['parameters'] => ({
  num_frames: { min: 1, max: 81, stride: 4, offset: 1, default: 9 },
  fps: { default: 8 },
  size: { multiple: 16, min: 32, max: 512, max_pixels: 262144, default: '32x32' },
  num_inference_steps: { min: 1, max: 16, default: 4 },
  guidance_scale: { min: 1, max: 12, default: 3 },
  sampler: guided ? 'ddim' : 'dpm2m',
})

function toyCard(
  id: string,
  guided: boolean,
  parameters: ModelCard['parameters'],
  weights: ModelCard['weights'],
): ModelCard {
  const architecture = {
    denoiser: 'tiny',
    textEncoder: 'tiny',
    autoencoder: 'tiny',
    guided,
    tokenizer: tokenizerRevision,
    passes,
  } as const
  return readCard({
    id,
    revision: 'r1',
    family: 'zt.toy16',
    latents: { ...latentStrides, channels: autoencoderSizes.tiny.channels, plan: 'cosine' },
    summary: 'Random weights, for tests.',
    license: 'Apache-2.0',
    architecture,
    prediction: 'velocity',
    schedule: 'cosine',
    weights,
    parameters,
    cost: modelCost(ownGraphs(configurationsOf({ architecture }))),
    training: {},
    figures: {},
  })
}

function denoiserParameters(guided: boolean): readonly ParameterDescription[] {
  const config = ditOf(ditSizes.tiny, { guided, passes })
  return parametersOf(() => {
    const text = scope('text', () =>
      textEncoder(
        { ...textEncoderSizes.tiny, vocabulary: vocabularySize },
        input('ids', [1, 8], 'int32'),
        input('mask', [1, 8]),
      ),
    )
    return scope('dit', () =>
      dit(config, {
        ...text,
        latents: input('latents', [1, config.channels, 2, 4, 4]),
        time: input('time', [1, 2, config.featureWidth]),
        guidance: input('guidance', [1, config.featureWidth]),
      }),
    )
  })
}

const autoencoderParameters = () => {
  const config = autoencoderSizes.tiny
  return [
    () => decoder(config, input('latents', [1, config.channels, 1, 4, 4])),
    () => encoder(config, input('frames', [1, 1, 32, 32, 3])),
  ].flatMap((half) => parametersOf(() => scope('autoencoder', half)))
}

const parametersOf = (build: () => Value) =>
  trace(() => ({ out: build() })).parameters.map(({ attributes }) => attributes)

/** Zeros become small numbers too, or the network would be silent and every comparison vacuous. */
function weightsOf(parameters: readonly ParameterDescription[], seed: number): Uint8Array {
  const fresh = initialize(seed)
  const entries = parameters.map((parameter, index) => {
    const noise = gaussian(seed, 1000 + index, 0, fresh(parameter).length)
    return [
      parameter.name,
      { shape: parameter.shape, data: fresh(parameter).map((x, at) => x + 0.03 * (noise[at] as number)) },
    ] as const
  })
  return writeSafetensors(Object.fromEntries(entries), 'float16')
}

async function reference(file: string, bytes: Uint8Array): Promise<WeightsReference> {
  const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)
  const sha256 = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
  return { file, bytes: bytes.length, sha256 }
}
