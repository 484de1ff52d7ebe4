/**
 * A card as this device serves it: what the catalog says, and what only a browser's own encoders make.
 */

import { type CatalogModel, catalogModelOf } from '../shared/catalog.ts'
import type { ModelCard } from '../shared/manifest.ts'

export function deviceModelOf(card: ModelCard): CatalogModel {
  const model = catalogModelOf(card)
  return { ...model, outputs: [...model.outputs, 'webm'] }
}

/** Whether this device can begin a clip with a picture: our own models are trained for it. */
export const beginsWithPicture = ({ latents }: ModelCard): boolean => latents?.plan === 'cosine'
