/**
 * Checkpoints on disk: which files belong together, their headers, and their bytes a piece at a time.
 *
 * Only headers are held in memory. Pickles are refused by name and by content, since reading one may run code.
 */

import { type FileHandle, open, readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, extname, join } from 'node:path'
import { GenerationError } from '../../shared/errors.ts'
import type { Checkpoint } from '../weights/recognise.ts'
import {
  headerLength,
  readHeader,
  type SafetensorsHeader,
  type TensorEntry,
  WeightsFormatError,
  widened,
} from '../weights/safetensors.ts'

/** One checkpoint with its files open; locations are their paths. */
export interface OpenCheckpoint extends Checkpoint, AsyncDisposable {
  /** Bytes of all its files. */
  readonly bytes: number
  /** Fills `into` from a file. @throws GenerationError weights_integrity when the file ends before. */
  readonly read: (location: string, offset: number, into: Uint8Array) => Promise<void>
}

const pickled = ['.pt', '.pth', '.ckpt', '.bin', '.pkl']

/**
 * The checkpoints of a file, or of a folder and the folders in it.
 * @throws GenerationError not_found, model_format for what is no safetensors, weights_integrity for a damaged file.
 */
export async function openCheckpoints(path: string): Promise<OpenCheckpoint[]> {
  const kind = await stat(path).catch(() => undefined)
  if (kind === undefined) throw new GenerationError('not_found', `${path}: there is no such file or folder`)
  const files = kind.isDirectory() ? await weightFiles(path) : [path]
  if (files.length === 0) {
    throw new GenerationError(
      'not_found',
      `${path}: got a folder without .safetensors files; name the one that has them`,
    )
  }
  const groups = Map.groupBy(files, groupOf)
  return Promise.all([...groups.values()].map(openGroup))
}

/** Files of one checkpoint share folder and stem: `model-00001-of-00002`, `model-00002-of-00002`. */
const groupOf = (file: string): string => file.replace(/-\d{5}-of-\d{5}(?=\.safetensors$)/, '')

async function weightFiles(folder: string): Promise<string[]> {
  const inside = await readdir(folder, { withFileTypes: true })
  const nested = inside.filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name))
  const own = inside.filter((entry) => entry.isFile()).map((entry) => join(folder, entry.name))
  const deeper = await Promise.all(
    nested.map(async (each) => (await readdir(each, { withFileTypes: true })).map((entry) => join(each, entry.name))),
  )
  return [...own, ...deeper.flat()].filter((file) => extname(file) === '.safetensors').sort()
}

async function openGroup(files: readonly string[]): Promise<OpenCheckpoint> {
  const handles = new Map<string, FileHandle>()
  const close = async () => {
    await Promise.all([...handles.values()].map((handle) => handle.close()))
  }
  try {
    const headers: Record<string, SafetensorsHeader> = {}
    let bytes = 0
    for (const file of files) {
      const handle = await open(file, 'r')
      handles.set(file, handle)
      const { size } = await handle.stat()
      headers[file] = await headerOf(file, handle, size)
      bytes += size
    }
    const read = (location: string, offset: number, into: Uint8Array) =>
      readExactly(location, handles.get(location) as FileHandle, offset, into)
    return {
      headers,
      config: await configBeside(files[0] as string),
      scalars: await scalarsOf(headers, read),
      bytes,
      read,
      [Symbol.asyncDispose]: close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

async function headerOf(file: string, handle: FileHandle, size: number): Promise<SafetensorsHeader> {
  const start = new Uint8Array(Math.min(8, size))
  await readExactly(file, handle, 0, start)
  refuseOthers(file, start)
  try {
    const bytes = new Uint8Array(8 + headerLength(start, size))
    await readExactly(file, handle, 0, bytes)
    return readHeader(bytes, size)
  } catch (error) {
    if (!(error instanceof WeightsFormatError)) throw error
    throw new GenerationError('weights_integrity', `${basename(file)}: ${error.message}`, { cause: error })
  }
}

/** Other formats have names and first bytes of their own. */
function refuseOthers(file: string, start: Uint8Array): void {
  const text = new TextDecoder('latin1').decode(start)
  const name = basename(file)
  // PyTorch's files are zip archives of pickles, or pickles of protocol 2 and up.
  const [first = 0, second = 0] = start
  const protocol = first === 0x80 && second >= 2 && second <= 5
  const pickle = pickled.includes(extname(file)) || text.startsWith('PK\x03\x04') || protocol
  if (pickle) {
    throw new GenerationError(
      'model_format',
      `${name}: got a pickle, which may run code when read; allowed are .safetensors: convert it where it may do no harm`,
    )
  }
  if (text.startsWith('GGUF')) {
    throw new GenerationError('model_format', `${name}: got a GGUF file, allowed are .safetensors; take the original`)
  }
}

async function readExactly(file: string, handle: FileHandle, offset: number, into: Uint8Array): Promise<void> {
  let filled = 0
  while (filled < into.length) {
    const { bytesRead } = await handle.read(into, filled, into.length - filled, offset + filled)
    if (bytesRead === 0) {
      throw new GenerationError(
        'weights_integrity',
        `${basename(file)}: ends at byte ${offset + filled}; fetch it again`,
      )
    }
    filled += bytesRead
  }
}

async function configBeside(file: string): Promise<Checkpoint['config']> {
  const text = await readFile(join(dirname(file), 'config.json'), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  try {
    return JSON.parse(text) as Checkpoint['config']
  } catch (error) {
    throw new GenerationError('model_format', `config.json beside ${basename(file)}: is no JSON`, { cause: error })
  }
}

/** Tensors of one element, which configs are read from. */
async function scalarsOf(
  headers: Readonly<Record<string, SafetensorsHeader>>,
  read: OpenCheckpoint['read'],
): Promise<ReadonlyMap<string, number>> {
  const scalars = new Map<string, number>()
  const numeric = ['float32', 'float16', 'bfloat16', 'int32']
  for (const [location, { entries }] of Object.entries(headers)) {
    const single = [...entries.values()].filter(
      ({ shape, dtype }: TensorEntry) => shape.every((size) => size === 1) && numeric.includes(dtype),
    )
    for (const entry of single) {
      const bytes = new Uint8Array(entry.length)
      await read(location, entry.offset, bytes)
      scalars.set(entry.name, widened(entry, bytes)[0] as number)
    }
  }
  return scalars
}
