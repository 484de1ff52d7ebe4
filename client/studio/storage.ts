/**
 * What this browser keeps between visits, in one IndexedDB: clips, letters that wait, jobs that the service has taken.
 *
 * Credentials are never among it.
 */

import type { VideoRequest } from '../events.ts'
import type { Letter, LetterBox } from '../outbox.ts'

/** A job that the service has acknowledged, until its clip is here. */
export interface SentJob {
  readonly id: string
  readonly request: VideoRequest
  /** Milliseconds since 1970. */
  readonly sentAt: number
}

/** Every store by its name, its key and how it is added to a database of an older version. */
const stores = { clips: 'id', letters: 'key', jobs: 'id' } as const
export type StoreName = keyof typeof stores

export interface Storage {
  readonly all: <T>(store: StoreName) => Promise<T[]>
  /** Adds a record or replaces the one of the same key. */
  readonly put: (store: StoreName, record: object) => Promise<void>
  readonly remove: (store: StoreName, key: string) => Promise<void>
}

/** @throws DOMException where this browser keeps nothing at all. */
export async function openStorage(name = 'zoetrope-studio'): Promise<Storage> {
  const request = indexedDB.open(name, 2)
  request.onupgradeneeded = () => {
    const { result: database } = request
    for (const [store, keyPath] of Object.entries(stores))
      if (!database.objectStoreNames.contains(store)) database.createObjectStore(store, { keyPath })
  }
  const database = await done(request)
  const writing = (store: StoreName) => database.transaction(store, 'readwrite').objectStore(store)
  return {
    all: (store) => done(database.transaction(store).objectStore(store).getAll()),
    put: async (store, record) => void (await done(writing(store).put(record))),
    remove: async (store, key) => void (await done(writing(store).delete(key))),
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
