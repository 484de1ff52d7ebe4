/**
 * A card as this device serves it: what the catalog says, and what only a browser's own encoders make.
 */

import { type CatalogModel, catalogModelOf } from '../shared/catalog.ts'
import type { ModelCard } from '../shared/manifest.ts'

export function deviceModelOf(card: ModelCard): CatalogModel {
  const model = catalogModelOf(card)
  return { ...model, outputs: [...model.outputs, 'webm'] }
}

/** One of our own models: its text encoder is a part of its weights, and it is trained to begin with a picture. */
export const isOwn = ({ latents }: ModelCard): boolean => latents?.plan === 'cosine'
