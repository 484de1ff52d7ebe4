/**
 * What this browser keeps between visits, in one IndexedDB: clips, letters that wait, jobs that the service has taken,
 * runs that were begun here; and notes of a line beside it.
 *
 * A private window may keep nothing at all; there everything is as it is elsewhere until the page closes. Credentials
 * are never among it.
 */

import { GenerationError } from '../../shared/errors.ts'
import type { VideoRequest } from '../events.ts'
import type { Letter, LetterBox } from '../outbox.ts'
import { perseverance } from './perseverance.ts'

/** A job that the service has acknowledged, until its clip is here. */
export interface SentJob {
  readonly id: string
  readonly request: VideoRequest
  /** Milliseconds since 1970. */
  readonly sentAt: number
}

/** Every store by its name, its key and how it is added to a database of an older version. */
const stores = { clips: 'id', letters: 'key', jobs: 'id', runs: 'id' } as const
/** One more with every change of `stores`. */
const version = 3
export type StoreName = keyof typeof stores

export interface Storage {
  /** Whether it outlives this page. */
  readonly durable: boolean
  readonly all: <T>(store: StoreName) => Promise<T[]>
  /** A record as it is now, whichever tab wrote it. */
  readonly find: <T>(store: StoreName, key: string) => Promise<T | undefined>
  /** Adds a record or replaces the one of the same key. @throws GenerationError storage_full. */
  readonly put: (store: StoreName, record: object) => Promise<void>
  readonly remove: (store: StoreName, key: string) => Promise<void>
  /** Told of every record that another tab has put or removed; of one that is gone, without it. */
  readonly onOthers: (store: StoreName, listener: (key: string, record: unknown) => void) => void
}

/** What tabs tell each other. */
interface Change {
  readonly store: StoreName
  readonly key: string
}

export async function openStorage(name = 'zoetrope-studio'): Promise<Storage> {
  const connected = connectionTo(name)
  try {
    await connected()
  } catch {
    return memoryStorage()
  }
  const read = async <T>(store: StoreName, ask: (records: IDBObjectStore) => IDBRequest<T>) =>
    done(ask((await connected()).transaction(store).objectStore(store)))
  const find = <T>(store: StoreName, key: string): Promise<T | undefined> => read(store, (records) => records.get(key))
  const line = new BroadcastChannel(name)
  const change = async (store: StoreName, key: string, deed: (records: IDBObjectStore) => void) => {
    const transaction = (await connected()).transaction(store, 'readwrite')
    deed(transaction.objectStore(store))
    await written(transaction)
    line.postMessage({ store, key } satisfies Change)
  }
  return {
    durable: true,
    all: (store) => read(store, (records) => records.getAll()),
    find,
    put: (store, record) => change(store, keyOf(store, record), (records) => records.put(record)),
    remove: (store, key) => change(store, key, (records) => records.delete(key)),
    onOthers: (store, listener) => {
      line.addEventListener('message', async ({ data }: MessageEvent<Change>) => {
        if (data.store !== store) return
        listener(data.key, await find(store, data.key))
      })
    },
  }
}

/**
 * A database that is open when it is needed. Browsers close one under a page, when the site's data is cleared as much as
 * when their storage process ends; it is opened anew then, and so is one whose opening failed or was never answered.
 */
function connectionTo(name: string): () => Promise<IDBDatabase> {
  let connection: Promise<IDBDatabase> | undefined
  const forget = () => {
    connection = undefined
  }
  const connect = async () => {
    try {
      const database = await perseverance({ attempt: () => openDatabase(name), discard: (late) => late.close() })
      database.onclose = forget
      // A later version of this page waits until nothing stands in its way.
      database.onversionchange = () => {
        database.close()
        forget()
      }
      return database
    } catch (error) {
      forget()
      throw outdated(error) ? new Error('A later version of this page is at work; reload this page') : error
    }
  }
  return () => {
    connection ??= connect()
    return connection
  }
}

const outdated = (error: unknown) => error instanceof DOMException && error.name === 'VersionError'

function openDatabase(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, version)
  request.onupgradeneeded = () => {
    const { result: database } = request
    for (const [store, keyPath] of Object.entries(stores))
      if (!database.objectStoreNames.contains(store)) database.createObjectStore(store, { keyPath })
  }
  return done(request)
}

const keyOf = (store: StoreName, record: object): string => String(record[stores[store] as keyof typeof record])

function memoryStorage(): Storage {
  const kept = Object.fromEntries(Object.keys(stores).map((store) => [store, new Map()])) as Record<
    StoreName,
    Map<string, object>
  >
  return {
    durable: false,
    all: async <T>(store: StoreName) => [...kept[store].values()] as T[],
    find: async <T>(store: StoreName, key: string) => kept[store].get(key) as T | undefined,
    put: async (store, record) => void kept[store].set(keyOf(store, record), record),
    remove: async (store, key) => void kept[store].delete(key),
    onOthers: () => {},
  }
}

/** Lines of text by name. */
export interface Notes {
  readonly get: (name: string) => string | undefined
  readonly set: (name: string, text: string) => void
}

/** Notes that outlive the page where the browser lets them. */
export function openNotes(): Notes {
  try {
    // Reading it is refused where the site may keep nothing, writing it where it is full.
    const { localStorage: kept } = globalThis
    kept.setItem('zoetrope-probe', '1')
    kept.removeItem('zoetrope-probe')
    return {
      get: (name) => kept.getItem(name) ?? undefined,
      set: (name, text) => {
        try {
          kept.setItem(name, text)
        } catch {
          // Full. No note is worth the visit that it would fail.
        }
      },
    }
  } catch {
    const kept = new Map<string, string>()
    return { get: (name) => kept.get(name), set: (name, text) => void kept.set(name, text) }
  }
}

/** The outbox's letters among what is kept. */
export const letterBox = (storage: Storage): LetterBox => ({
  all: () => storage.all<Letter>('letters'),
  put: (letter) => storage.put('letters', letter),
  remove: (key) => storage.remove('letters', key),
})

function done<T>(request: IDBRequest<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  request.onsuccess = () => resolve(request.result)
  request.onerror = () => reject(request.error)
  return promise
}

/** Settles when a transaction is on disk: a request may succeed and its transaction still find no room. */
function written(transaction: IDBTransaction): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  transaction.oncomplete = () => resolve()
  transaction.onabort = () => reject(refusal(transaction.error))
  return promise
}

const refusal = (cause: DOMException | null): unknown =>
  cause?.name === 'QuotaExceededError'
    ? new GenerationError('storage_full', 'This browser has no room to keep it; delete clips to make some', { cause })
    : cause
