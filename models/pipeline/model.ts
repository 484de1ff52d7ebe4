/**
 * A model ready to be compiled: its card, the configurations the card names, its weight files in memory.
 *
 * Knows no file system: whoever reads the bytes has checked their hash (node/models.ts).
 */

import { GenerationError } from '../../shared/errors.ts'
import type { ModelCard } from '../../shared/manifest.ts'
import { type AutoencoderConfig, autoencoderSizes } from '../networks/autoencoder.ts'
import { type DitConfig, ditOf, ditSizes } from '../networks/dit.ts'
import { type TextEncoderConfig, textEncoderSizes } from '../networks/text-encoder.ts'
import type { LowerOptions } from '../onnx/lower.ts'
import { tokenizerRevision, vocabularySize } from '../text/tokenizer.ts'
import { readNamed, type SafetensorsFile } from '../weights/safetensors.ts'

export interface Model {
  readonly card: ModelCard
  readonly denoiser: DitConfig
  readonly text: TextEncoderConfig
  readonly autoencoder: AutoencoderConfig
  /** Weight files by name, as the graph's initializers refer to them. */
  readonly files: Readonly<Record<string, SafetensorsFile>>
}

/**
 * Puts a card and its weights together.
 * @throws GenerationError model_format when the card names what this version does not have, weights_integrity when a
 * file is damaged.
 */
export function modelOf(card: ModelCard, bytes: Readonly<Record<string, Uint8Array>>): Model {
  const { architecture } = card
  if (architecture.tokenizer !== tokenizerRevision) {
    throw new GenerationError(
      'model_format',
      `${card.id}: its tokenizer is ${architecture.tokenizer}, this version has ${tokenizerRevision}; use matching versions`,
    )
  }
  const files = Object.fromEntries(Object.entries(bytes).map(([name, data]) => [name, readNamed(name, data)]))
  return { card, ...configurationsOf(card), files }
}

/** The configurations that a card names. @throws GenerationError model_format for one that this version has not. */
export function configurationsOf({
  architecture,
}: Pick<ModelCard, 'architecture'>): Pick<Model, 'denoiser' | 'text' | 'autoencoder'> {
  return {
    denoiser: ditOf(named(ditSizes, architecture.denoiser), { ...architecture, passes: architecture.passes ?? 0 }),
    text: { ...named(textEncoderSizes, architecture.textEncoder), vocabulary: vocabularySize },
    autoencoder: named(autoencoderSizes, architecture.autoencoder),
  }
}

/** Finds a parameter's bytes in the model's files, whichever holds it, checking its shape. */
export function storedIn({ files, card }: Model): NonNullable<LowerOptions['stored']> {
  return (name, shape) => {
    for (const [location, file] of Object.entries(files)) {
      const entry = file.entries.get(name)
      if (entry === undefined) continue
      const { dtype } = entry
      if ((dtype !== 'float32' && dtype !== 'float16') || String(entry.shape) !== String(shape)) {
        throw new GenerationError(
          'model_format',
          `${card.id}: ${name} is stored as ${dtype} [${entry.shape}], the network wants [${shape}]`,
        )
      }
      return { dtype, data: { kind: 'external', location, offset: entry.offset, length: entry.length } }
    }
    throw new GenerationError(
      'model_format',
      `${card.id}: the weights have no ${name}; card and files do not belong together`,
    )
  }
}

function named<T extends Readonly<Record<string, unknown>>>(sizes: T, name: string): T[keyof T] {
  if (!Object.hasOwn(sizes, name)) {
    throw new GenerationError(
      'model_format',
      `card: architecture ${name} is unknown, known are ${Object.keys(sizes).join(', ')}`,
    )
  }
  return sizes[name as keyof T]
}
