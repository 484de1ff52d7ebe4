/**
 * The toy models as a site serves them: an index, cards and weights below /models/.
 */

import { type Assets, indexOf } from '../client/studio/assets.ts'
import { toyModel } from './toy-model.ts'

/** Made once: it takes half a second, and every request of a page asks. */
let made: Promise<Assets> | undefined

export function toyAssets(): Promise<Assets> {
  made ??= makeAssets()
  return made
}

async function makeAssets(): Promise<Assets> {
  const [student, teacher] = [await toyModel({ id: 'toy' }), await toyModel({ id: 'toy-teacher', guided: false })]
  const assets = new Map<string, () => Promise<Uint8Array | string>>()
  assets.set('/models/index.json', async () => indexOf('toy', ['toy', 'toy-teacher']))
  for (const { card, files } of [student, teacher]) {
    assets.set(`/models/cards/${card.id}.json`, async () => JSON.stringify(card))
    for (const [file, bytes] of Object.entries(files)) assets.set(`/models/weights/${file}`, async () => bytes)
  }
  return assets
}
