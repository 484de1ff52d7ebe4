/**
 * The models a node serves: cards read at the start, weights at the first use, under names the stock client can say.
 *
 * A model is `zoetrope/ID`; its version is the hash of its card and of its weights. Imported models stand beside released ones.
 */

import { createHash } from 'node:crypto'
import { GenerationError } from '../../../shared/errors.ts'
import { importedFolder } from '../import.ts'
import { importedIds } from '../imported-models.ts'
import { importedModel, type KnownModel, releasedModel } from '../known-model.ts'
import { cardsFolder, loadCard, modelIds, weightsFolder } from '../models.ts'

export const owner = 'zoetrope'

export interface ServedModel extends KnownModel {
  /** 64 hexadecimal digits. */
  readonly version: string
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
  /** Where imported models are. */
  readonly imported: string
}

export const releasedFolders = (): Folders => ({
  cards: cardsFolder,
  weights: weightsFolder,
  imported: importedFolder(),
})

/**
 * The models of `ids`, or all that are released or imported; an imported one that lacks a part is left out then.
 * @throws GenerationError not_found or model_format.
 */
export async function readCatalog(folders: Folders, ids?: readonly string[]): Promise<Catalog> {
  const released = await modelIds(folders.cards)
  const read =
    ids === undefined
      ? await everyModel(folders, released)
      : await Promise.all(ids.map((id) => namedModel(folders, released, id)))
  const models = read.map(served)
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

const served = (model: KnownModel): ServedModel => ({
  ...model,
  version: createHash('sha256')
    .update(JSON.stringify([model.card, model.weights]))
    .digest('hex'),
})

/** Released models first; of two with one name the released one. */
async function everyModel(folders: Folders, released: readonly string[]): Promise<KnownModel[]> {
  const others = (await importedIds(folders.imported)).filter((id) => !released.includes(id))
  const own = released.map(async (id) => releasedModel(await loadCard(id, folders.cards), folders.weights))
  const imported = others.map((id) => importedModel(id, folders.imported).catch(leftOut))
  return [...(await Promise.all(own)), ...(await Promise.all(imported)).filter((each) => each !== undefined)]
}

async function namedModel(folders: Folders, released: readonly string[], id: string): Promise<KnownModel> {
  const imported = released.includes(id) ? undefined : await importedModel(id, folders.imported)
  return imported ?? releasedModel(await loadCard(id, folders.cards), folders.weights)
}

/** What is not whole yet serves nobody; whoever names it hears why. */
function leftOut(error: unknown): undefined {
  if (!(error instanceof GenerationError)) throw error
}
