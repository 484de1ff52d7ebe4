/**
 * Writes safetensors files of bounded size, tensor by tensor, without holding one in memory.
 *
 * The header comes first in the file but is known last, so room is left for it and filled with spaces, which the format
 * allows. A tensor that turns out wrong is forgotten and its room used again. Nothing takes its final name before
 * everything is written.
 */

import { createHash } from 'node:crypto'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { sizeOf } from '../graph/graph.ts'
import type { ImportedFile } from '../weights/manifest.ts'
import { elementBytes } from '../weights/safetensors.ts'
import type { PlacedTensor } from '../weights/stored.ts'

export const shardLimit = 2 ** 30
export const chunkBytes = 64 * 2 ** 20

/** Room for tensors in a shard: byte `offset` of tensor `index` is written by `write`. */
export interface ShardRoom {
  readonly write: (index: number, offset: number, bytes: Uint8Array) => Promise<void>
  /** Takes the tensors back; the room is used again. */
  readonly forget: () => void
}

export interface ShardWriter {
  /** Makes room for tensors that must lie in one file. */
  readonly reserve: (tensors: readonly PlacedTensor[]) => Promise<ShardRoom>
  /** Closes, hashes and renames everything. */
  readonly finish: () => Promise<ImportedFile[]>
  /** Removes what was written. */
  readonly abandon: () => Promise<void>
}

interface Shard {
  readonly handle: FileHandle
  readonly path: string
  readonly name: string
  readonly tensors: { readonly tensor: PlacedTensor; readonly from: number }[]
  cursor: number
}

export interface ShardOptions {
  readonly folder: string
  /** Files are STEM-00001.safetensors, … */
  readonly stem: string
  /** Bytes left for a header. */
  readonly headerRoom: number
  readonly metadata: Readonly<Record<string, string>>
  readonly limit?: number
}

const lengthOf = ({ shape, dtype }: PlacedTensor): number => sizeOf(shape) * elementBytes[dtype]
const aligned = (offset: number): number => Math.ceil(offset / 64) * 64

export function shardWriter({ folder, stem, headerRoom, metadata, limit = shardLimit }: ShardOptions): ShardWriter {
  const shards: Shard[] = []
  const start = aligned(8 + headerRoom)

  const begin = async (): Promise<Shard> => {
    await mkdir(folder, { recursive: true })
    const name = `${stem}-${String(shards.length + 1).padStart(5, '0')}.safetensors`
    const path = join(folder, `${name}.partial`)
    const shard = { handle: await open(path, 'w+'), path, name, tensors: [], cursor: start }
    shards.push(shard)
    return shard
  }
  const close = async (shard: Shard): Promise<ImportedFile> => {
    const header = headerBytes(shard, start, metadata)
    await shard.handle.write(header, 0, header.length, 0)
    await shard.handle.truncate(shard.cursor)
    const hashes = await hashesOf(shard.handle, shard.cursor)
    await shard.handle.sync()
    await shard.handle.close()
    return { file: shard.name, bytes: shard.cursor, chunkBytes, ...hashes }
  }
  return {
    reserve: async (tensors) => {
      const needed = tensors.reduce((total, tensor) => total + lengthOf(tensor), 0)
      const last = shards.at(-1)
      const shard =
        last === undefined || (last.cursor + needed > limit && last.tensors.length > 0) ? await begin() : last
      const [before, held] = [shard.cursor, shard.tensors.length]
      const places = tensors.map((tensor) => {
        const from = shard.cursor
        shard.cursor += lengthOf(tensor)
        shard.tensors.push({ tensor, from })
        return from
      })
      return {
        write: async (index, offset, bytes) => {
          await shard.handle.write(bytes, 0, bytes.length, (places[index] as number) + offset)
        },
        forget: () => {
          shard.cursor = before
          shard.tensors.length = held
        },
      }
    },
    finish: async () => {
      const files: ImportedFile[] = []
      for (const shard of shards) files.push(await close(shard))
      for (const { path, name } of shards) await rename(path, join(folder, name))
      return files
    },
    abandon: async () => {
      for (const { handle, path } of shards) {
        await handle.close().catch(() => {})
        await rm(path, { force: true })
      }
    },
  }
}

function headerBytes({ tensors }: Shard, start: number, metadata: Readonly<Record<string, string>>): Uint8Array {
  const wire = { float32: 'F32', float16: 'F16', uint8: 'U8' } as const
  const entries = tensors.map(({ tensor, from }) => [
    tensor.name,
    { dtype: wire[tensor.dtype], shape: tensor.shape, data_offsets: [from - start, from - start + lengthOf(tensor)] },
  ])
  const text = new TextEncoder().encode(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) }))
  if (text.length > start - 8)
    throw new RangeError(`shards: the header takes ${text.length} bytes, room is ${start - 8}`)
  const bytes = new Uint8Array(start).fill(0x20)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(start - 8), true)
  bytes.set(text, 8)
  return bytes
}

/** SHA-256 of the file and of each of its chunks, read once. */
async function hashesOf(handle: FileHandle, length: number): Promise<Pick<ImportedFile, 'sha256' | 'chunks'>> {
  const whole = createHash('sha256')
  const chunks: string[] = []
  const buffer = new Uint8Array(Math.min(chunkBytes, length))
  for (let offset = 0; offset < length; offset += chunkBytes) {
    const part = buffer.subarray(0, Math.min(chunkBytes, length - offset))
    for (let filled = 0; filled < part.length; ) {
      const { bytesRead } = await handle.read(part, filled, part.length - filled, offset + filled)
      if (bytesRead === 0) throw new RangeError(`shards: the file ends at byte ${offset + filled}, wanted ${length}`)
      filled += bytesRead
    }
    whole.update(part)
    chunks.push(createHash('sha256').update(part).digest('hex'))
  }
  return { sha256: whole.digest('hex'), chunks }
}
