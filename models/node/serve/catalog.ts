/**
 * The models a node serves: cards read at the start, weights at the first use, under names the stock client can say.
 *
 * A model is `zoetrope/ID`; its version is the hash of its card, which holds the hashes of its weights.
 */

import { createHash } from 'node:crypto'
import { GenerationError } from '../../../shared/errors.ts'
import type { ModelCard } from '../../../shared/manifest.ts'
import { autoencoderSizes } from '../../networks/autoencoder.ts'
import type { Model } from '../../pipeline/model.ts'
import { cardsFolder, loadCard, loadModel, modelIds, weightsFolder } from '../models.ts'

export const owner = 'zoetrope'

export interface ServedModel {
  readonly card: ModelCard
  /** 64 hexadecimal digits. */
  readonly version: string
  /** Channels of its latents. */
  readonly channels: number
  /** Reads and checks the weights, once. */
  readonly load: () => Promise<Model>
}

export interface Catalog {
  readonly models: readonly ServedModel[]
  /**
   * By `ID`, `ID@revision`, `zoetrope/ID`, `zoetrope/ID:VERSION` or `VERSION`.
   * @throws GenerationError not_found listing what there is.
   */
  readonly find: (reference: string) => ServedModel
}

export interface Folders {
  readonly cards: string
  readonly weights: string
}

export const releasedFolders: Folders = { cards: cardsFolder, weights: weightsFolder }

/**
 * Reads the cards of `ids`, or of every model in the folder.
 * @throws GenerationError not_found or model_format.
 */
export async function readCatalog(folders: Folders, ids?: readonly string[]): Promise<Catalog> {
  const cards = await Promise.all((ids ?? (await modelIds(folders.cards))).map((id) => loadCard(id, folders.cards)))
  const models = cards.map((card) => served(card, folders))
  const find = (reference: string) => {
    const [name, version] = reference.replace(/^zoetrope\//, '').split(':') as [string, string | undefined]
    const found = models.find(
      (each) =>
        each.version === reference ||
        ((name === each.card.id || name === `${each.card.id}@${each.card.revision}`) &&
          (version === undefined || version === each.version)),
    )
    if (found !== undefined) return found
    const known = models.map(({ card }) => `${owner}/${card.id}`).join(', ')
    throw new GenerationError('not_found', `model: got ${reference}, this node has ${known || 'none'}`)
  }
  return { models, find }
}

function served(card: ModelCard, { weights }: Folders): ServedModel {
  const { autoencoder } = card.architecture
  const size = Object.hasOwn(autoencoderSizes, autoencoder)
    ? autoencoderSizes[autoencoder as keyof typeof autoencoderSizes]
    : undefined
  if (size === undefined) {
    throw new GenerationError(
      'model_format',
      `${card.id}: its autoencoder is ${autoencoder}, which this version has not`,
    )
  }
  let loading: Promise<Model> | undefined
  return {
    card,
    version: createHash('sha256').update(JSON.stringify(card)).digest('hex'),
    channels: size.channels,
    load: () => {
      loading ??= loadModel(card, weights).catch((error: unknown) => {
        // A file put right must not need a restart.
        loading = undefined
        throw error
      })
      return loading
    },
  }
}
