/**
 * Where models come from: cards and weights below one address, cards remembered for when there is no network.
 *
 * Layout: {base}index.json lists ids and names the standard one, {base}cards/{id}.json is a card, {base}weights/{file}
 * its files, {base}manifest.json the hashes of all of these. `imported` of the index lists folders of `zoetrope import`:
 * {base}imported/{id}/manifest.json and its files. Cards and manifests are checked by their schemas, weights by the hashes
 * in card and manifest. With keys pinned nothing is taken that a signed manifest does not list, be it weights, a card or
 * the index, and never by an older manifest than before; without, a site may go without one. Runs in the engine's worker.
 */

import * as v from 'valibot'
import { modelOf } from '../models/pipeline/model.ts'
import { type ImportedManifest, readManifest } from '../models/weights/manifest.ts'
import { GenerationError } from '../shared/errors.ts'
import { type ModelCard, readCard, type WeightsReference } from '../shared/manifest.ts'
import { publicKeyOf } from '../shared/signature.ts'
import { type ChunkedFile, readWeightsManifest, type WeightsManifest } from '../shared/weights-manifest.ts'
import { sha256 } from './hash.ts'
import { fittedHere } from './imported.ts'
import { importedModel, ownModel, type Runnable } from './runnable.ts'
import { noteFile, readFile, type Shelf } from './shelf.ts'
import type { Store, WantedFile } from './store.ts'
import type { TextShelf } from './texts.ts'

export interface ModelLibrary {
  readonly ids: (signal: AbortSignal) => Promise<readonly string[]>
  /** The model used when none is named. */
  readonly standard: (signal: AbortSignal) => Promise<string>
  /** @throws GenerationError not_found, offline, model_format. */
  readonly card: (id: string, signal: AbortSignal) => Promise<ModelCard>
  /** The model with its weights checked. `onProgress` hears bytes here and in all. */
  readonly load: (card: ModelCard, signal: AbortSignal, onProgress: DownloadProgress) => Promise<Runnable>
  /** The weight files that a run takes, its text encoder apart. */
  readonly files: (card: ModelCard) => readonly WeightsReference[]
  /** Whether all of these are here. */
  readonly cached: (card: ModelCard) => Promise<boolean>
}

const indexSchema = v.object({
  default_model: v.string(),
  data: v.array(v.string()),
  imported: v.optional(v.array(v.string()), []),
})

export type DownloadProgress = (received: number, total: number) => void

export interface LibraryOptions {
  /** Address of the models, ending in a slash. */
  readonly base: string
  readonly store: Store
  /** Where small files are remembered. */
  readonly cards: Shelf
  /** Ed25519 public keys, 32 bytes as base64url; none where nothing is pinned. */
  readonly keys?: readonly string[]
  readonly texts: TextShelf
  readonly patience?: NetworkPatience
}

/** Milliseconds that a document may take over the network. */
export interface NetworkPatience {
  readonly first: number
  /** Where it is here as it was. */
  readonly known: number
}

const usualPatience: NetworkPatience = { first: 30_000, known: 4_000 }

export function modelLibrary(options: LibraryOptions): ModelLibrary {
  const { base, store, cards, keys = [], texts, patience = usualPatience } = options
  const manifests = new Map<string, ImportedManifest>()
  const memory = { shelf: cards, patience }
  const release = releaseAt(base, memory, keys)
  const document = (name: string, path: string, signal: AbortSignal) =>
    remembered(memory, name, `${base}${path}`, signal, (bytes) => release.vouch(path, bytes, signal))
  const index = async (signal: AbortSignal) => {
    const result = v.safeParse(indexSchema, await document('index.json', 'index.json', signal))
    if (result.success) return result.output
    throw new GenerationError(
      'model_format',
      `models: ${base}index.json must hold default_model and data, a list of ids`,
    )
  }
  const files = (card: ModelCard): readonly WeightsReference[] => {
    const manifest = manifests.get(card.id)
    if (manifest === undefined) return Object.values(card.weights)
    const { denoiser, decoder, upscaler } = manifest.parts
    return [denoiser, decoder, upscaler].flatMap((part) => part?.files ?? [])
  }
  const addressOf = (card: ModelCard) => (manifests.has(card.id) ? `${base}imported/${card.id}/` : `${base}weights/`)
  const fitted = (manifest: ImportedManifest) =>
    fittedHere(
      manifest,
      (file, stop) => store.read(file, `${base}imported/${manifest.id}/${file.file}`, stop),
      texts.of(manifest.id),
    )
  const importedCard = async (id: string, signal: AbortSignal) => {
    const manifest = readManifest(await document(`${id}.manifest.json`, `imported/${id}/manifest.json`, signal))
    manifests.set(id, manifest)
    return fitted(manifest).card
  }
  return {
    ids: async (signal) => {
      const { data, imported } = await index(signal)
      return [...data, ...imported]
    },
    standard: async (signal) => (await index(signal)).default_model,
    card: async (id, signal) => {
      if ((await index(signal)).imported.includes(id)) return importedCard(id, signal)
      return readCard(await document(`${id}.json`, `cards/${id}.json`, signal))
    },
    files,
    load: async (card, signal, onProgress) => {
      const manifest = manifests.get(card.id)
      const chunked = await release.newest(signal)
      const download = downloading(files(card), onProgress)
      const fetched = (file: WeightsReference) =>
        store.read(listed(file, chunked, keys.length > 0), `${addressOf(card)}${file.file}`, signal, (count) =>
          download(file, count),
        )
      if (manifest === undefined) {
        const loaded = files(card).map(async (file) => [file.file, await fetched(file)] as const)
        return ownModel(modelOf(card, Object.fromEntries(await Promise.all(loaded))), texts.of(card.id))
      }
      // Only brought here: its sessions read it again, one part at a time.
      for (const file of files(card)) await fetched(file)
      return importedModel(fitted(manifest), manifest)
    },
    cached: async (card) => {
      const ready = new Set((await store.list()).filter(({ state }) => state === 'ready').map(({ sha256 }) => sha256))
      return files(card).every(({ sha256 }) => ready.has(sha256))
    },
  }
}

/** Sums up what has come of some files. */
function downloading(files: readonly WeightsReference[], onProgress: DownloadProgress) {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0)
  const received = new Map<string, number>()
  return (file: WeightsReference, count: number) => {
    received.set(file.file, count)
    onProgress(
      [...received.values()].reduce((sum, each) => sum + each, 0),
      total,
    )
  }
}

/** What a site's manifest vouches for. */
interface Release {
  /** The manifest as it is served now; undefined where there is none and none is asked for. */
  readonly newest: (signal: AbortSignal) => Promise<WeightsManifest | undefined>
  /** @throws GenerationError weights_integrity for a document that a signed manifest does not list as it is. */
  readonly vouch: (path: string, bytes: Uint8Array<ArrayBuffer>, signal: AbortSignal) => Promise<void>
}

function releaseAt(base: string, memory: Memory, keys: readonly string[]): Release {
  let known: Promise<WeightsManifest | undefined> | undefined
  const newest = (signal: AbortSignal) => {
    const asked = manifestAt(base, memory, keys, signal)
    known = asked
    asked.catch(() => {
      if (known === asked) known = undefined
    })
    return asked
  }
  return {
    newest,
    vouch: async (path, bytes, signal) => {
      if (keys.length === 0) return
      const hash = await sha256(bytes)
      const lists = (manifest: WeightsManifest | undefined) =>
        manifest?.documents.some((each) => each.path === path && each.sha256 === hash) === true
      // A site may have been released anew since the manifest was read.
      if (lists(await (known ?? newest(signal))) || lists(await newest(signal))) return
      throw new GenerationError(
        'weights_integrity',
        `${path}: got SHA-256 ${hash}, which the signed manifest does not list; serve index, cards and manifest of one release`,
      )
    },
  }
}

const versionName = 'manifest-version'

/** The chunks of this site's weights; undefined where there is no manifest and none is asked for. */
async function manifestAt(
  base: string,
  memory: Memory,
  pinned: readonly string[],
  signal: AbortSignal,
): Promise<WeightsManifest | undefined> {
  const data = await remembered(memory, 'manifest.json', `${base}manifest.json`, signal).catch((error: unknown) => {
    if (pinned.length > 0 || signal.aborted) throw error
    return undefined
  })
  if (data === undefined) return undefined
  const manifest = await readWeightsManifest(data, await Promise.all(pinned.map(publicKeyOf)))
  if (pinned.length > 0) await requireNewest(memory.shelf, manifest)
  return manifest
}

/** Remembers the highest version. @throws GenerationError weights_integrity for an older one. */
async function requireNewest(shelf: Shelf, { version }: WeightsManifest): Promise<void> {
  const known = Number(new TextDecoder().decode((await readFile(shelf, versionName)) ?? new Uint8Array()))
  if (version < known) {
    throw new GenerationError(
      'weights_integrity',
      `weights manifest: got version ${version}, allowed is ${known} or newer; the address serves an old release`,
    )
  }
  if (version > known) await noteFile(shelf, versionName, new TextEncoder().encode(String(version)))
}

/** A card's file with its chunks. @throws GenerationError weights_integrity where a signed manifest does not list it. */
function listed(file: WeightsReference, manifest: WeightsManifest | undefined, required: boolean): WantedFile {
  const found = manifest?.files.find(({ sha256, bytes }) => sha256 === file.sha256 && bytes === file.bytes)
  if (found !== undefined) return withChunks(file, found)
  if (!required) return file
  throw new GenerationError(
    'weights_integrity',
    `${file.file}: its card asks for SHA-256 ${file.sha256}, which the signed manifest does not list; serve both of one release`,
  )
}

const withChunks = (file: WeightsReference, { chunk_bytes, chunks }: ChunkedFile): WantedFile => ({
  ...file,
  chunk_bytes,
  chunks,
})

type Check = (bytes: Uint8Array<ArrayBuffer>) => Promise<void>

/** Where small documents are remembered, and how long the network is waited for. */
interface Memory {
  readonly shelf: Shelf
  readonly patience: NetworkPatience
}

/** JSON from the network, or as it was when it was last fetched; without a network nothing is asked. */
async function remembered(
  { shelf, patience }: Memory,
  name: string,
  url: string,
  signal: AbortSignal,
  check: Check = async () => {},
): Promise<unknown> {
  const checked = async (bytes: Uint8Array<ArrayBuffer>, from: string) => {
    await check(bytes)
    return parsed(bytes, from)
  }
  const known = await readFile(shelf, name)
  if (known !== undefined && !navigator.onLine) return checked(known, name)
  const answer = await answerOf(url, signal, known === undefined ? patience.first : patience.known)
  if (answer instanceof Uint8Array) {
    const bytes = answer as Uint8Array<ArrayBuffer>
    const read = await checked(bytes, url)
    await noteFile(shelf, name, bytes)
    return read
  }
  if (known !== undefined) return checked(known, name)
  if (!(answer instanceof Response))
    throw new GenerationError('offline', `models: ${url} cannot be reached; connect once`, { cause: answer })
  throw new GenerationError(
    'not_found',
    `models: ${url} answered ${answer.status}; name a model of ${new URL('index.json', url)}`,
  )
}

/** A document's bytes, an answer that has none, or why there is no answer: a silent network is as good as none. */
async function answerOf(url: string, signal: AbortSignal, longest: number): Promise<unknown> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(longest)])
  try {
    const response = await fetch(url, { signal: within, cache: 'no-cache' })
    return response.ok ? new Uint8Array(await response.arrayBuffer()) : response
  } catch (cause) {
    signal.throwIfAborted()
    return cause
  }
}

function parsed(bytes: Uint8Array, from: string): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch (cause) {
    throw new GenerationError('model_format', `models: ${from} is no JSON; serve the released files there`, { cause })
  }
}
