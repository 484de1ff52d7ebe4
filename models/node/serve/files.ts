/**
 * Files of the node: what was uploaded, and what predictions made. In memory, bounded, gone at their time.
 *
 * Nothing is written to disk, so a crash leaves nothing behind. Downloads carry their permission in the address, as
 * Replicate's do: an id nobody can guess, an expiry and a signature over both.
 */

import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { GenerationError } from '../../../shared/errors.ts'
import { type Clock, timestamp } from './clock.ts'

export interface StoredFile {
  readonly id: string
  readonly name: string
  readonly contentType: string
  readonly bytes: Uint8Array
  readonly sha256: string
  readonly metadata: Readonly<Record<string, unknown>>
  /** Milliseconds since 1970, as `expiresAt`. */
  readonly createdAt: number
  readonly expiresAt: number
}

export interface NewFile {
  /** One nobody can guess where left out. */
  readonly id?: string
  readonly name: string
  readonly contentType: string
  readonly bytes: Uint8Array
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly lifetime: number
}

export interface FileStore {
  readonly add: (file: NewFile) => StoredFile
  /** Undefined where there is none, or none any more. */
  readonly get: (id: string) => StoredFile | undefined
  /** Newest first. */
  readonly list: () => StoredFile[]
  readonly remove: (id: string) => boolean
  /** An address that gives the bytes to whoever has it, until the file expires. */
  readonly downloadUrl: (origin: string, file: StoredFile) => string
  /**
   * The file of such an address.
   * @throws GenerationError not_found for a wrong signature, content_expired for a right one that came too late.
   */
  readonly open: (id: string, expires: string, signature: string) => StoredFile
}

export interface FileStoreOptions {
  readonly clock: Clock
  /** Bytes of all files together; the oldest make room for new ones. */
  readonly limit?: number
}

export const hour = 3_600_000
export const day = 24 * hour
export const uploadLimit = 64 * 2 ** 20

export function fileStore({ clock, limit = 2 ** 30 }: FileStoreOptions): FileStore {
  const files = new Map<string, StoredFile>()
  // A key of its own: addresses of an earlier process mean nothing to this one.
  const key = randomBytes(32)
  let held = 0
  const drop = (file: StoredFile) => {
    files.delete(file.id)
    held -= file.bytes.length
  }
  const sweep = () => {
    for (const file of files.values()) if (file.expiresAt <= clock.now()) drop(file)
  }
  const sign = (id: string, expires: string) => createHmac('sha256', key).update(`${id}.${expires}`).digest('base64url')
  return {
    add: ({ name, contentType, bytes, metadata = {}, lifetime, id = randomBytes(20).toString('base64url') }) => {
      sweep()
      const before = files.get(id)
      if (before !== undefined) drop(before)
      for (const file of files.values()) {
        if (held + bytes.length <= limit) break
        drop(file)
      }
      const createdAt = clock.now()
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      const file = { id, name, contentType, bytes, sha256, metadata, createdAt, expiresAt: createdAt + lifetime }
      files.set(id, file)
      held += bytes.length
      return file
    },
    get: (id) => {
      sweep()
      return files.get(id)
    },
    list: () => {
      sweep()
      return [...files.values()].reverse()
    },
    remove: (id) => {
      const file = files.get(id)
      if (file !== undefined) drop(file)
      return file !== undefined
    },
    downloadUrl: (origin, { id, expiresAt }) => {
      const expires = String(Math.floor(expiresAt / 1000))
      return `${origin}/v1/files/${id}/download?expires=${expires}&signature=${sign(id, expires)}`
    },
    open: (id, expires, signature) => {
      const [given, wanted] = [Buffer.from(signature), Buffer.from(sign(id, expires))]
      if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) throw notFound(id)
      sweep()
      const file = files.get(id)
      if (file === undefined) {
        throw new GenerationError('content_expired', `file: ${id} is no longer kept; make or upload it again`)
      }
      return file
    },
  }
}

export const notFound = (id: string): GenerationError =>
  new GenerationError('not_found', `file: there is no ${id}, or not any more`)

/** The id in an address that this node gave out for a file. */
export const fileIdOf = (address: string): string | undefined =>
  /^https?:\/\/[^/]+\/v1\/files\/([\w-]+)(?:\/download)?(?:\?.*)?$/.exec(address)?.[1]

/** A file as Replicate's API shows it. */
export function fileObject(file: StoredFile, origin: string, store: FileStore) {
  const { id, name, contentType, bytes, sha256, metadata, createdAt, expiresAt } = file
  return {
    id,
    name,
    content_type: contentType,
    size: bytes.length,
    etag: sha256,
    checksums: { sha256 },
    metadata,
    created_at: timestamp(createdAt),
    expires_at: timestamp(expiresAt),
    urls: { get: `${origin}/v1/files/${id}`, download: store.downloadUrl(origin, file) },
  }
}
