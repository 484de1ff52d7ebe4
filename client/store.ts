/**
 * The model store: weight files by their hash, downloaded once, resumed where they were cut, never used unhashed.
 *
 * A download continues by Range and If-Range; its journal is flushed with every few MiB. A browser may drop all that
 * an answer brought when its connection ends early, so after a fruitless try less is asked for at once. Several tabs share one download
 * by a lock per file. A file that does not hash to its card is removed before anything parses a byte of it. Full storage
 * first costs the least recently used files, then is an error of its own.
 */

import { GenerationError } from '../shared/errors.ts'
import type { WeightsReference } from '../shared/manifest.ts'
import { sha256 } from './hash.ts'
import { emptyJournal, evictions, type Journal, rangeHeaders, readJournal, startOf, writeJournal } from './journal.ts'
import { pause } from './pause.ts'
import { type Drawer, readFile, type Shelf, writeFile } from './shelf.ts'

export interface StoreOptions {
  readonly shelf: Shelf
  readonly fetch?: typeof globalThis.fetch
  /** One holder per name at a time, over all tabs. */
  readonly lock?: <T>(name: string, body: () => Promise<T>) => Promise<T>
  readonly pause?: (milliseconds: number, signal: AbortSignal) => Promise<void>
  readonly now?: () => number
  /** Bytes between two flushes of the journal. */
  readonly chunk?: number
}

export interface StoredFile {
  readonly sha256: string
  readonly bytes: number
  readonly state: Journal['state']
}

export interface Store {
  /**
   * The bytes of a file, downloaded if need be. `onProgress` hears how many of them are here.
   * @throws GenerationError weights_integrity, storage_full, offline, aborted.
   */
  readonly read: (
    file: WeightsReference,
    url: string,
    signal: AbortSignal,
    onProgress?: (received: number) => void,
  ) => Promise<Uint8Array>
  readonly list: () => Promise<StoredFile[]>
  readonly remove: (sha256: string) => Promise<void>
}

const journalEnding = '.journal'
/** Attempts in a row that bring no byte. */
const patience = 5
/** Asked for after a fruitless try; half of it after another. */
const smallSpan = 2 ** 18

export function createStore(options: StoreOptions): Store {
  const context = {
    fetch: options.fetch ?? ((...words: Parameters<typeof fetch>) => globalThis.fetch(...words)),
    lock: options.lock ?? webLock,
    pause: options.pause ?? pause,
    now: options.now ?? Date.now,
    chunk: options.chunk ?? 2 ** 21,
    shelf: options.shelf,
    inUse: new Set<string>(),
  }
  return {
    read: (file, url, signal, onProgress = () => {}) =>
      context.lock(`zoetrope:${file.sha256}`, () => verified(context, { file, url, signal, onProgress })),
    list: () => listFiles(context.shelf),
    remove: (name) => context.lock(`zoetrope:${name}`, () => forget(context.shelf, name)),
  }
}

type Context = Required<StoreOptions> & {
  /** Files of this process that must not be evicted. */
  readonly inUse: Set<string>
}

interface Wanted {
  readonly file: WeightsReference
  readonly url: string
  readonly signal: AbortSignal
  readonly onProgress: (received: number) => void
}

/** Two tries: a resumed file may have been poisoned by an earlier one, a fresh one may not. */
async function verified(context: Context, wanted: Wanted): Promise<Uint8Array> {
  const { file, signal } = wanted
  context.inUse.add(file.sha256)
  for (const last of [false, true]) {
    signal.throwIfAborted()
    using drawer = await context.shelf.open(file.sha256)
    const journal = await journalOf(context.shelf, file.sha256)
    const resumed = Math.min(journal.received, drawer.size()) > 0
    await complete(context, wanted, drawer, journal)
    const bytes = drawer.read(0, file.bytes)
    const digest = await sha256(bytes)
    if (digest === file.sha256) {
      await note(context, file.sha256, { ...journal, received: file.bytes, state: 'ready', usedAt: context.now() })
      return bytes
    }
    drawer.truncate(0)
    await note(context, file.sha256, emptyJournal)
    if (last || !resumed) throw damaged(file, bytes.length, digest)
  }
  throw new Error('unreachable: the second try returns or throws')
}

function damaged({ file, sha256: allowed }: WeightsReference, bytes: number, digest: string): GenerationError {
  return new GenerationError(
    'weights_integrity',
    `${file}: got ${bytes} bytes with SHA-256 ${digest}, allowed is ${allowed}; the address does not serve the released file`,
  )
}

/** Downloads what is missing, trying again while bytes still come. */
async function complete(context: Context, wanted: Wanted, drawer: Drawer, known: Journal): Promise<void> {
  const { file, signal, onProgress } = wanted
  let journal: Journal = { ...known, received: Math.min(known.received, drawer.size(), file.bytes) }
  let span = Number.POSITIVE_INFINITY
  for (let fruitless = 0; journal.received < file.bytes; ) {
    signal.throwIfAborted()
    onProgress(journal.received)
    const before = journal.received
    const outcome = await attempt(context, wanted, drawer, journal, span)
    journal = outcome.journal
    if (journal.received === file.bytes) break
    fruitless = journal.received > before ? 0 : fruitless + 1
    span = fruitless > 0 ? Math.min(span / 2, smallSpan) : span * 2
    if (fruitless >= patience) throw unreachable(wanted, journal.received, outcome.cause)
    if (fruitless > 0) await context.pause(250 * 2 ** fruitless, signal)
  }
  onProgress(file.bytes)
}

function unreachable({ file, url }: Wanted, received: number, cause: unknown): GenerationError {
  return new GenerationError(
    'offline',
    `${file.file}: got ${received} of ${file.bytes} bytes from ${url}; connect and try again, it will go on from there`,
    { cause },
  )
}

interface Outcome {
  readonly journal: Journal
  readonly cause?: unknown
}

/** One request: appends to the file until it ends, is cut or brings too much. */
async function attempt(
  context: Context,
  wanted: Wanted,
  drawer: Drawer,
  journal: Journal,
  span: number,
): Promise<Outcome> {
  const { file, url, signal } = wanted
  let response: Response
  try {
    response = await context.fetch(url, { headers: rangeHeaders(journal, span), signal })
  } catch (cause) {
    if (signal.aborted) throw cause
    return { journal, cause }
  }
  if (!response.ok || response.body === null) {
    await response.body?.cancel()
    const fresh = response.status === 416 ? emptyJournal : journal
    return { journal: fresh, cause: new Error(`${url} answered ${response.status}`) }
  }
  const start = startOf(response, journal.received)
  if (start > journal.received) return { journal: emptyJournal, cause: new Error(`${url} skipped to byte ${start}`) }
  const etag = response.headers.get('ETag') ?? undefined
  return append(context, file, response.body, drawer, { ...emptyJournal, etag, received: start }, signal)
}

async function append(
  context: Context,
  { bytes: limit, sha256: name }: WeightsReference,
  body: ReadableStream<Uint8Array>,
  drawer: Drawer,
  begun: Journal,
  signal: AbortSignal,
): Promise<Outcome> {
  let [received, noted] = [begun.received, begun.received]
  const settle = async () => {
    drawer.flush()
    noted = received
    await note(context, name, { ...begun, received })
  }
  try {
    for await (const piece of body) {
      // More than the card says is cut off; the hash will tell.
      const bytes = piece.subarray(0, limit - received)
      await writeWithin(context, drawer, bytes, received)
      received += bytes.length
      if (received - noted >= context.chunk) await settle()
      if (received === limit) break
    }
  } catch (cause) {
    await settle()
    if (signal.aborted || cause instanceof GenerationError) throw cause
    return { journal: { ...begun, received }, cause }
  }
  await settle()
  return { journal: { ...begun, received } }
}

/** Writes, making room once where there is none. */
async function writeWithin(context: Context, drawer: Drawer, bytes: Uint8Array, offset: number): Promise<void> {
  try {
    drawer.write(bytes, offset)
  } catch (cause) {
    if (!(cause instanceof GenerationError) || !(await makeRoom(context, bytes.length))) throw cause
    drawer.write(bytes, offset)
  }
}

async function makeRoom({ shelf, inUse }: Context, shortage: number): Promise<boolean> {
  const files = await Promise.all(
    (await listFiles(shelf)).map(async (file) => ({
      name: file.sha256,
      bytes: file.bytes,
      usedAt: (await journalOf(shelf, file.sha256)).usedAt,
    })),
  )
  // Another tab's open file cannot be removed.
  const removed = await Promise.allSettled(evictions(files, inUse, shortage).map((name) => forget(shelf, name)))
  return removed.some(({ status }) => status === 'fulfilled')
}

async function listFiles(shelf: Shelf): Promise<StoredFile[]> {
  const names = (await shelf.names()).filter((name) => name.endsWith(journalEnding))
  return Promise.all(
    names.map(async (each) => {
      const name = each.slice(0, -journalEnding.length)
      const { received, state } = await journalOf(shelf, name)
      return { sha256: name, bytes: received, state }
    }),
  )
}

async function forget(shelf: Shelf, name: string): Promise<void> {
  await shelf.remove(name + journalEnding)
  await shelf.remove(name)
}

async function journalOf(shelf: Shelf, name: string): Promise<Journal> {
  return readJournal((await readFile(shelf, name + journalEnding)) ?? new Uint8Array())
}

const note = ({ shelf }: Context, name: string, journal: Journal): Promise<void> =>
  writeFile(shelf, name + journalEnding, writeJournal(journal))

function webLock<T>(name: string, body: () => Promise<T>): Promise<T> {
  return 'locks' in navigator ? (navigator.locks.request(name, body) as Promise<T>) : body()
}
