/**
 * A toy model released into a folder as a real one is: card, safetensors, hashes. For tests of what carries models.
 */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ModelCard } from '../shared/manifest.ts'
import { toyModel } from './toy-model.ts'

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
  /** Where imported models would be. */
  readonly imported: string
  readonly card: ModelCard
}

/** Writes the model below `place`. */
export async function toyFolder(place: string, options: ToyOptions = {}): Promise<ToyFolders> {
  const { id = 'zt-toy', guided = false, sampler = 'ddim' } = options
  const folders = { cards: join(place, 'cards/'), weights: join(place, 'weights/'), imported: join(place, 'imported/') }
  await Promise.all(Object.values(folders).map((folder) => mkdir(folder, { recursive: true })))
  const { card, files } = await toyModel({ id, guided, parameters: { ...parameters, sampler } })
  for (const [file, bytes] of Object.entries(files)) await writeFile(join(folders.weights, file), bytes)
  await writeFile(join(folders.cards, `${id}.json`), JSON.stringify(card))
  return { ...folders, card }
}

const parameters = {
  num_frames: { min: 1, max: 17, stride: 4, offset: 1, default: 5 },
  fps: { default: 8 },
  size: { multiple: 16, min: 16, max: 64, max_pixels: 4096, default: '32x32' },
  num_inference_steps: { min: 1, max: 64, default: 4 },
  guidance_scale: { min: 1, max: 10, default: 2 },
} as const
