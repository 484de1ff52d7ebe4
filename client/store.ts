/**
 * The model store: weight files by their hash, downloaded once, resumed where they were cut, never used unhashed.
 *
 * A download continues by Range and If-Range; its journal is flushed with every few MiB. Where a manifest lists chunks,
 * each is hashed as soon as it is whole, and a wrong one is refused there; what an earlier visit left is hashed before
 * it is built upon. Without a list the file is one chunk. A browser may drop all that an answer brought when its
 * connection ends early, so after a fruitless try less is asked for at once. Several tabs share one download by a lock
 * per file. Full storage first costs the least recently used files, then is an error of its own.
 */

import { GenerationError } from '../shared/errors.ts'
import type { WeightsReference } from '../shared/manifest.ts'
import type { ChunkedFile } from '../shared/weights-manifest.ts'
import { sha256 } from './hash.ts'
import { emptyJournal, evictions, type Journal, rangeHeaders, readJournal, startOf, writeJournal } from './journal.ts'
import { pause } from './pause.ts'
import { type Drawer, isFull, noteFile, readFile, type Shelf, writeFile } from './shelf.ts'

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

/** A file to fetch: how long, what it hashes to, and its chunks where a manifest lists them. */
export type WantedFile = WeightsReference & Partial<Pick<ChunkedFile, 'chunk_bytes' | 'chunks'>>

export interface StoredFile {
  readonly sha256: string
  readonly bytes: number
  readonly state: Journal['state']
}

export interface Store {
  /** Whether its files outlive this page. */
  readonly durable: boolean
  /**
   * The bytes of a file, downloaded if need be. `onProgress` hears how many of them are here.
   * @throws GenerationError weights_integrity, storage_full, offline, aborted.
   */
  readonly read: (
    file: WantedFile,
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
    durable: context.shelf.durable,
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
  readonly file: WantedFile
  readonly url: string
  readonly signal: AbortSignal
  readonly onProgress: (received: number) => void
}

async function verified(context: Context, wanted: Wanted): Promise<Uint8Array> {
  const { file, signal } = wanted
  context.inUse.add(file.sha256)
  signal.throwIfAborted()
  using drawer = await context.shelf.open(file.sha256)
  const journal = await journalOf(context.shelf, file.sha256)
  if (journal.state === 'ready') {
    const here = await whole(drawer, file)
    if (here !== undefined) return ready(context, file, journal, here)
  }
  const fetched = await complete(context, wanted, drawer, journal)
  const bytes = await whole(drawer, file)
  if (bytes !== undefined) return ready(context, file, fetched, bytes)
  // Every chunk was right, so the list is of another file than the card's.
  await abandon(context, file, drawer, 0)
  throw damaged(file, 'its chunks as listed')
}

/** The bytes of a file that hashes to its card. */
async function whole(drawer: Drawer, file: WantedFile): Promise<Uint8Array | undefined> {
  const bytes = drawer.read(0, file.bytes)
  return (await sha256(bytes)) === file.sha256 ? bytes : undefined
}

async function ready(context: Context, file: WantedFile, journal: Journal, bytes: Uint8Array): Promise<Uint8Array> {
  const whole: Journal = { ...journal, received: file.bytes, state: 'ready', usedAt: context.now() }
  // The bytes are right; where there is no room to say so the next visit hashes them anew.
  await noteFile(context.shelf, file.sha256 + journalEnding, writeJournal(whole))
  return bytes
}

/** Goes back to the bytes that are known to be right. */
async function abandon(context: Context, { sha256: name }: WantedFile, drawer: Drawer, checked: number): Promise<void> {
  drawer.truncate(Math.min(checked, drawer.size()))
  await note(context, name, { ...emptyJournal, received: checked })
}

function damaged({ file, sha256: allowed }: WantedFile, what: string): GenerationError {
  return new GenerationError(
    'weights_integrity',
    `${file}: got ${what}, which is not part of the file with SHA-256 ${allowed}; the address does not serve the released file`,
  )
}

/** The chunk that begins at `start`: where it ends and what it must hash to. */
function chunkAt({ bytes, sha256: all, chunk_bytes: size, chunks }: WantedFile, start: number) {
  if (size === undefined || chunks === undefined) return { end: bytes, allowed: all }
  return { end: Math.min(bytes, start + size), allowed: chunks[start / size] }
}

/** What is known of a file while it is fetched. */
interface Tally {
  /** Up to here all chunks are whole and hash. */
  checked: number
  /** Bytes up to here may be of an earlier visit, and of another version. */
  old: number
}

/** Hashes the chunks that are whole by now; false where one is wrong. */
async function advance(drawer: Drawer, file: WantedFile, tally: Tally, received: number): Promise<boolean> {
  while (tally.checked < file.bytes) {
    const { end, allowed } = chunkAt(file, tally.checked)
    if (received < end) break
    if ((await sha256(drawer.read(tally.checked, end - tally.checked))) !== allowed) return false
    tally.checked = end
  }
  return true
}

/** Downloads what is missing, trying again while bytes still come. Gives the journal of a file whose chunks are right. */
async function complete(context: Context, wanted: Wanted, drawer: Drawer, known: Journal): Promise<Journal> {
  const { file, signal, onProgress } = wanted
  let journal: Journal = { ...known, state: 'partial', received: Math.min(known.received, drawer.size(), file.bytes) }
  const tally: Tally = { checked: 0, old: journal.received }
  if (!(await advance(drawer, file, tally, journal.received))) journal = await goBack(context, file, drawer, tally)
  let [span, fruitless] = [Number.POSITIVE_INFINITY, 0]
  while (tally.checked < file.bytes) {
    signal.throwIfAborted()
    onProgress(journal.received)
    const before = journal.received
    const outcome = await attempt(context, wanted, drawer, { journal, span, tally })
    journal = outcome.wrong === true ? await goBack(context, file, drawer, tally) : outcome.journal
    const fruitful = journal.received > before
    fruitless = fruitful ? 0 : fruitless + 1
    span = fruitful ? span * 2 : Math.min(span / 2, smallSpan)
    if (tally.checked === file.bytes) break
    if (fruitless >= patience) throw unreachable(wanted, journal.received, outcome.cause)
    if (fruitless > 0) await context.pause(250 * 2 ** fruitless, signal)
  }
  onProgress(file.bytes)
  return journal
}

/**
 * Drops a wrong chunk and what is behind it.
 * @throws GenerationError weights_integrity where no byte of it was there before: then the address serves it so.
 */
async function goBack(context: Context, file: WantedFile, drawer: Drawer, tally: Tally): Promise<Journal> {
  const { checked, old } = tally
  await abandon(context, file, drawer, checked)
  if (checked >= old) throw damaged(file, `bytes from ${checked} on`)
  tally.old = 0
  return { ...emptyJournal, received: checked }
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
  /** A chunk became whole and does not hash. */
  readonly wrong?: boolean
  readonly cause?: unknown
}

interface Standing {
  readonly journal: Journal
  /** Bytes to ask for at most. */
  readonly span: number
  readonly tally: Tally
}

/** One request: appends to the file until it ends, is cut, brings too much or something wrong. */
async function attempt(context: Context, wanted: Wanted, drawer: Drawer, standing: Standing): Promise<Outcome> {
  const { url, signal } = wanted
  const { journal, span, tally } = standing
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
  // A server that starts over may have another version: nothing written before it stands.
  if (start < tally.checked) tally.checked = 0
  tally.old = Math.min(tally.old, start)
  const etag = response.headers.get('ETag') ?? undefined
  const begun = { ...emptyJournal, etag, received: start }
  return append(context, wanted, response.body, drawer, { ...standing, journal: begun })
}

async function append(
  context: Context,
  { file, signal }: Wanted,
  body: ReadableStream<Uint8Array>,
  drawer: Drawer,
  { journal: begun, tally }: Standing,
): Promise<Outcome> {
  let [received, noted] = [begun.received, begun.received]
  const settle = async () => {
    drawer.flush()
    noted = received
    await note(context, file.sha256, { ...begun, received })
  }
  try {
    for await (const piece of body) {
      // More than the card says is cut off; the hash will tell.
      const bytes = piece.subarray(0, file.bytes - received)
      await writeWithin(context, drawer, bytes, received)
      received += bytes.length
      if (!(await advance(drawer, file, tally, received))) return { journal: { ...begun, received }, wrong: true }
      if (received - noted >= context.chunk) await settle()
      if (received === file.bytes) break
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
    if (!isFull(cause) || !(await makeRoom(context, bytes.length))) throw cause
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
