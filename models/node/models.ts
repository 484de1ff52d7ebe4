/**
 * Released models on disk: cards by id, weights by the card, nothing trusted before its hash.
 */

import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { GenerationError } from '../../shared/errors.ts'
import { type ModelCard, readCard, type WeightsReference } from '../../shared/manifest.ts'
import { type Model, modelOf } from '../pipeline/model.ts'
import type { TrainingState } from '../train/trainer.ts'
import { readTensor } from '../weights/safetensors.ts'

export const cardsFolder = fileURLToPath(new URL('../cards/', import.meta.url))
export const weightsFolder = fileURLToPath(new URL('../weights/', import.meta.url))

/** The model that is used when none is named. */
export const defaultModel = 'zt-nano'

export async function modelIds(folder = cardsFolder): Promise<string[]> {
  const files = await readdir(folder).catch(() => [])
  return files
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -5))
    .sort()
}

/**
 * Reads a card.
 * @throws GenerationError not_found listing what there is.
 */
export async function loadCard(id: string, folder = cardsFolder): Promise<ModelCard> {
  const ids = await modelIds(folder)
  if (!ids.includes(id))
    throw new GenerationError('not_found', `model: got ${id}, allowed are ${ids.join(', ') || 'none yet; train one'}`)
  return readCard(JSON.parse(await readFile(`${folder}${id}.json`, 'utf8')))
}

/** Reads a card's weights and checks every byte of them. */
export async function loadModel(card: ModelCard, folder = weightsFolder): Promise<Model> {
  const references = Object.values(card.weights)
  const files = await Promise.all(
    references.map(async (reference) => [reference.file, await readWeights(folder, reference)] as const),
  )
  return modelOf(card, Object.fromEntries(files))
}

async function readWeights(folder: string, { file, bytes, sha256 }: WeightsReference): Promise<Uint8Array> {
  const data = await readFile(`${folder}${file}`).catch((error: NodeJS.ErrnoException) => {
    throw new GenerationError(
      'weights_integrity',
      `${file}: cannot be read (${error.code}); put the released file into ${folder}`,
      { cause: error },
    )
  })
  if (data.length !== bytes) {
    throw new GenerationError(
      'weights_integrity',
      `${file}: got ${data.length} bytes, allowed are ${bytes}; the file is not the released one, fetch it again`,
    )
  }
  const digest = createHash('sha256').update(data).digest('hex')
  if (digest !== sha256) {
    throw new GenerationError(
      'weights_integrity',
      `${file}: its SHA-256 is ${digest}, allowed is ${sha256}; the file is damaged, fetch it again`,
    )
  }
  return data
}

/** Every released parameter of a model by name: where a run begins that has no checkpoint of its own. */
export async function releasedState(card: ModelCard): Promise<TrainingState> {
  const { files } = await loadModel(card)
  const tensors = Object.values(files).flatMap((file) =>
    [...file.entries.keys()].map((name) => [name, readTensor(file, name)] as const),
  )
  return Object.fromEntries(tensors)
}

/** One hash for a model of several files: that of their hashes in the order of the card. */
export function combinedHash(card: ModelCard): string {
  const hashes = Object.values(card.weights).map(({ sha256 }) => sha256)
  return createHash('sha256').update(hashes.join('\n')).digest('hex')
}
