/**
 * Where models come from: cards and weights below one address, cards remembered for when there is no network.
 *
 * Layout: {base}index.json lists ids and names the standard one, {base}cards/{id}.json is a card, {base}weights/{file} its files. Cards are checked
 * by their schema, weights by the hashes in the card. Runs in the engine's worker.
 */

import * as v from 'valibot'
import { type Model, modelOf } from '../models/pipeline/model.ts'
import { GenerationError } from '../shared/errors.ts'
import { type ModelCard, readCard } from '../shared/manifest.ts'
import { readFile, type Shelf, writeFile } from './shelf.ts'
import type { Store } from './store.ts'

export interface ModelLibrary {
  readonly ids: (signal: AbortSignal) => Promise<readonly string[]>
  /** The model used when none is named. */
  readonly standard: (signal: AbortSignal) => Promise<string>
  /** @throws GenerationError not_found, offline, model_format. */
  readonly card: (id: string, signal: AbortSignal) => Promise<ModelCard>
  /** The model with its weights checked. `onProgress` hears bytes here and in all. */
  readonly load: (card: ModelCard, signal: AbortSignal, onProgress: DownloadProgress) => Promise<Model>
  /** Whether all of the card's weights are here. */
  readonly cached: (card: ModelCard) => Promise<boolean>
}

const indexSchema = v.object({ default_model: v.string(), data: v.array(v.string()) })

export type DownloadProgress = (received: number, total: number) => void

export function modelLibrary(base: string, store: Store, cards: Shelf): ModelLibrary {
  const index = async (signal: AbortSignal) => {
    const url = `${base}index.json`
    const result = v.safeParse(indexSchema, await remembered(cards, 'index.json', url, signal))
    if (result.success) return result.output
    throw new GenerationError('model_format', `models: ${url} must hold default_model and data, a list of ids`)
  }
  return {
    ids: async (signal) => (await index(signal)).data,
    standard: async (signal) => (await index(signal)).default_model,
    card: async (id, signal) => readCard(await remembered(cards, `${id}.json`, `${base}cards/${id}.json`, signal)),
    load: async (card, signal, onProgress) => {
      const files = Object.values(card.weights)
      const total = files.reduce((sum, { bytes }) => sum + bytes, 0)
      const received = new Map<string, number>()
      const loaded = files.map(async (file) => {
        const bytes = await store.read(file, `${base}weights/${file.file}`, signal, (count) => {
          received.set(file.file, count)
          onProgress(
            [...received.values()].reduce((sum, each) => sum + each, 0),
            total,
          )
        })
        return [file.file, bytes] as const
      })
      return modelOf(card, Object.fromEntries(await Promise.all(loaded)))
    },
    cached: async (card) => {
      const ready = new Set((await store.list()).filter(({ state }) => state === 'ready').map(({ sha256 }) => sha256))
      return Object.values(card.weights).every(({ sha256 }) => ready.has(sha256))
    },
  }
}

/** JSON from the network, or as it was when it was last fetched; without a network nothing is asked. */
async function remembered(shelf: Shelf, name: string, url: string, signal: AbortSignal): Promise<unknown> {
  const known = navigator.onLine ? undefined : await readFile(shelf, name)
  if (known !== undefined) return parsed(known, name)
  const response = await fetch(url, { signal, cache: 'no-cache' }).catch((cause: unknown) => {
    signal.throwIfAborted()
    return cause
  })
  if (response instanceof Response && response.ok) {
    const bytes = new Uint8Array(await response.arrayBuffer())
    await writeFile(shelf, name, bytes)
    return parsed(bytes, url)
  }
  const kept = await readFile(shelf, name)
  if (kept !== undefined) return parsed(kept, name)
  if (!(response instanceof Response))
    throw new GenerationError('offline', `models: ${url} cannot be reached; connect once`, { cause: response })
  throw new GenerationError(
    'not_found',
    `models: ${url} answered ${response.status}; name a model of ${new URL('index.json', url)}`,
  )
}

function parsed(bytes: Uint8Array, from: string): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch (cause) {
    throw new GenerationError('model_format', `models: ${from} is no JSON; serve the released files there`, { cause })
  }
}
