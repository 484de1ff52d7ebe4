/**
 * Files by name, as the store and the checkpoints need them: in OPFS, or in memory where there is none.
 *
 * A name is a single path segment. OPFS access handles are exclusive and exist only in dedicated workers; a write past
 * the quota throws and leaves a valid prefix. Knows nothing of what the files mean.
 */

import { GenerationError } from '../shared/errors.ts'

/** An open file. */
export interface Drawer extends Disposable {
  readonly size: () => number
  /** Exactly the bytes asked for; fewer at the end of the file. */
  readonly read: (offset: number, length: number) => Uint8Array<ArrayBuffer>
  /** @throws GenerationError storage_full. */
  readonly write: (bytes: Uint8Array, offset: number) => void
  readonly truncate: (size: number) => void
  readonly flush: () => void
}

export interface Shelf {
  /** Whether the files outlive this page. */
  readonly durable: boolean
  readonly names: () => Promise<string[]>
  readonly open: (name: string) => Promise<Drawer>
  readonly remove: (name: string) => Promise<void>
}

/** What lib.dom leaves to workers. */
interface SyncAccessHandle {
  getSize(): number
  read(buffer: Uint8Array, options: { at: number }): number
  write(buffer: Uint8Array, options: { at: number }): number
  truncate(size: number): void
  flush(): void
  close(): void
}
type WorkerFileHandle = FileSystemFileHandle & { createSyncAccessHandle(): Promise<SyncAccessHandle> }

/** A folder of the origin's private file system, or a shelf in memory where the browser gives none. */
export async function openShelf(folder: string): Promise<Shelf> {
  try {
    const root = await navigator.storage.getDirectory()
    return opfsShelf(folder, await root.getDirectoryHandle(folder, { create: true }))
  } catch {
    // Private windows and some embedded views have no file system.
    return memoryShelf()
  }
}

function opfsShelf(folder: string, directory: FileSystemDirectoryHandle): Shelf {
  return {
    durable: true,
    names: async () => {
      const names: string[] = []
      for await (const name of directory.keys()) names.push(name)
      return names
    },
    open: async (name) => {
      const file = (await made(name, directory.getFileHandle(name, { create: true }))) as WorkerFileHandle
      // A second handle on a file is refused, so whoever comes second, in any tab, waits.
      const release = await turn(`zoetrope-file:${folder}/${name}`)
      try {
        return opfsDrawer(name, await made(name, file.createSyncAccessHandle()), release)
      } catch (error) {
        release()
        throw error
      }
    },
    remove: async (name) => {
      await directory.removeEntry(name).catch((error: DOMException) => {
        if (error.name !== 'NotFoundError') throw error
      })
    },
  }
}

/** Waits for a lock and holds it until the answer is called. */
async function turn(name: string): Promise<() => void> {
  if (!('locks' in navigator)) return () => {}
  const { promise: until, resolve: release } = Promise.withResolvers<void>()
  const { promise: granted, resolve: grant } = Promise.withResolvers<void>()
  void navigator.locks.request(name, () => {
    grant()
    return until
  })
  await granted
  return release
}

function opfsDrawer(name: string, handle: SyncAccessHandle, release: () => void): Drawer {
  return {
    size: () => handle.getSize(),
    read: (offset, length) => {
      const bytes = new Uint8Array(Math.max(0, Math.min(length, handle.getSize() - offset)))
      return bytes.subarray(0, handle.read(bytes, { at: offset }))
    },
    write: (bytes, offset) => {
      const written = guarded(name, () => handle.write(bytes, { at: offset }))
      if (written !== bytes.length) throw full(name, bytes.length, written)
    },
    truncate: (size) => guarded(name, () => handle.truncate(size)),
    flush: () => guarded(name, () => handle.flush()),
    [Symbol.dispose]: () => {
      handle.close()
      release()
    },
  }
}

/** A small file whole; undefined where there is none. */
export async function readFile(shelf: Shelf, name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (!(await shelf.names()).includes(name)) return undefined
  using drawer = await shelf.open(name)
  return drawer.read(0, drawer.size())
}

/** Replaces a small file. @throws GenerationError storage_full, and the file is as it was. */
export async function writeFile(shelf: Shelf, name: string, bytes: Uint8Array): Promise<void> {
  using drawer = await shelf.open(name)
  drawer.write(bytes, 0)
  // Not before: what finds no room must not cost what was there.
  drawer.truncate(bytes.length)
  drawer.flush()
}

/** Replaces a small file where there is room; what can be found out again is worth no failure. */
export async function noteFile(shelf: Shelf, name: string, bytes: Uint8Array): Promise<void> {
  try {
    await writeFile(shelf, name, bytes)
  } catch (error) {
    if (!isFull(error)) throw error
  }
}

export const isFull = (error: unknown): boolean => error instanceof GenerationError && error.code === 'storage_full'

function guarded<T>(name: string, write: () => T): T {
  try {
    return write()
  } catch (cause) {
    throw refusal(name, cause)
  }
}

/** A full storage refuses even a file's making. */
const made = <T>(name: string, making: Promise<T>): Promise<T> =>
  making.catch((cause: unknown) => {
    throw refusal(name, cause)
  })

const refusal = (name: string, cause: unknown): unknown =>
  cause instanceof DOMException && cause.name === 'QuotaExceededError' ? full(name, 'more', 0, cause) : cause

function full(name: string, wanted: number | string, got: number, cause?: unknown): GenerationError {
  return new GenerationError(
    'storage_full',
    `storage: ${name} wanted ${wanted} bytes, the browser gave ${got}; free space or remove a model`,
    { cause },
  )
}

/** Files in memory. `limit` bytes in all, for tests of full storage. */
export function memoryShelf(limit = Number.POSITIVE_INFINITY): Shelf {
  const files = new Map<string, MemoryFile>()
  const used = () => [...files.values()].reduce((sum, { length }) => sum + length, 0)
  const drawer = (name: string): Drawer => {
    const file = () => files.get(name) ?? emptyFile
    return {
      size: () => file().length,
      read: (offset, length) => file().bytes.slice(offset, Math.min(file().length, offset + length)),
      write: (added, offset) => {
        const old = file()
        const length = Math.max(old.length, offset + added.length)
        if (used() - old.length + length > limit) throw full(name, added.length, 0)
        const bytes = roomFor(old, length)
        bytes.set(added, offset)
        files.set(name, { bytes, length })
      },
      truncate: (size) => {
        const bytes = file().bytes.slice(0, Math.min(size, file().length))
        files.set(name, { bytes, length: bytes.length })
      },
      flush: () => {},
      [Symbol.dispose]: () => {},
    }
  }
  return {
    durable: false,
    names: async () => [...files.keys()],
    open: async (name) => {
      if (!files.has(name)) files.set(name, emptyFile)
      return drawer(name)
    },
    remove: async (name) => void files.delete(name),
  }
}

interface MemoryFile {
  /** At least `length` bytes; zeros behind. */
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly length: number
}

const emptyFile: MemoryFile = { bytes: new Uint8Array(), length: 0 }

/** The same bytes in an array that is long enough; twice as long as before, so that many writes cost little. */
function roomFor({ bytes }: MemoryFile, length: number): Uint8Array<ArrayBuffer> {
  if (length <= bytes.length) return bytes
  const grown = new Uint8Array(Math.max(length, 2 * bytes.length))
  grown.set(bytes)
  return grown
}
