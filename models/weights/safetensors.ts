/**
 * The safetensors file: a JSON header of names, dtypes, shapes and byte ranges, then the bytes.
 *
 * Reading trusts nothing: every length is checked before it is used, ranges must tile the data exactly, and a hostile
 * header is refused before anything of its claimed size is allocated. A header can be read without its data, so a file
 * larger than memory can be judged. Format: huggingface/safetensors, README.
 */

import { GenerationError } from '../../shared/errors.ts'
import type { Shape } from '../graph/graph.ts'
import { fromBfloat16, fromFloat16, toFloat16 } from './float16.ts'

/** What files hold. Graphs take float32, float16, int32 and, for blocks of quantised weights, uint8 as they are. */
export type StoredDType =
  | 'float64'
  | 'float32'
  | 'float16'
  | 'bfloat16'
  | 'float8'
  | 'int64'
  | 'int32'
  | 'int8'
  | 'uint8'

/** Where one tensor lies in the file; `offset` counts from the file's first byte. */
export interface TensorEntry {
  readonly name: string
  readonly dtype: StoredDType
  readonly shape: Shape
  readonly offset: number
  readonly length: number
}

export interface SafetensorsHeader {
  readonly entries: ReadonlyMap<string, TensorEntry>
  readonly metadata: Readonly<Record<string, string>>
}

export interface SafetensorsFile extends SafetensorsHeader {
  readonly bytes: Uint8Array
}

/** What is wrong with a weights file, in one sentence. */
export class WeightsFormatError extends Error {
  override readonly name = 'WeightsFormatError'
}

const headerLimit = 100 * 2 ** 20
const wireDTypes: Readonly<Record<string, StoredDType>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  F8_E4M3: 'float8',
  F8_E5M2: 'float8',
  I64: 'int64',
  I32: 'int32',
  I8: 'int8',
  U8: 'uint8',
  BOOL: 'uint8',
}

/** Bytes of one element. */
export const elementBytes: Readonly<Record<StoredDType, number>> = {
  float64: 8,
  float32: 4,
  float16: 2,
  bfloat16: 2,
  float8: 1,
  int64: 8,
  int32: 4,
  int8: 1,
  uint8: 1,
}

/**
 * Reads the header and checks it against the file.
 * @throws WeightsFormatError naming what was got and what is allowed.
 */
export function readSafetensors(bytes: Uint8Array): SafetensorsFile {
  const length = headerLength(bytes, bytes.length)
  return { bytes, ...readHeader(bytes.subarray(0, 8 + length), bytes.length) }
}

/**
 * The same for a file that whoever asks can name.
 * @param advice what to do where it is damaged.
 * @throws GenerationError weights_integrity, in one sentence that begins with the name.
 */
export function readNamed(name: string, bytes: Uint8Array, advice?: string): SafetensorsFile {
  try {
    return readSafetensors(bytes)
  } catch (error) {
    if (!(error instanceof WeightsFormatError)) throw error
    const message = [`${name}: ${error.message}`, advice].filter((part) => part !== undefined).join('; ')
    throw new GenerationError('weights_integrity', message, { cause: error })
  }
}

/**
 * How many bytes of header follow the first eight of a file.
 * @throws WeightsFormatError when the claim cannot be true of a file of `fileBytes`.
 */
export function headerLength(start: Uint8Array, fileBytes: number): number {
  if (fileBytes < 8 || start.length < 8)
    return fail(`the file has ${fileBytes} bytes, a header length alone takes 8; fetch it again`)
  const claimed = new DataView(start.buffer, start.byteOffset, 8).getBigUint64(0, true)
  if (claimed > BigInt(headerLimit) || claimed > BigInt(fileBytes - 8)) {
    const allowed = Math.min(headerLimit, fileBytes - 8)
    fail(`the header claims ${claimed} bytes, allowed here are ${allowed}; the file is cut short or not safetensors`)
  }
  return Number(claimed)
}

/**
 * Reads a header, its eight bytes of length included, of a file of `fileBytes`.
 * @throws WeightsFormatError
 */
export function readHeader(bytes: Uint8Array, fileBytes: number): SafetensorsHeader {
  const start = 8 + headerLength(bytes, fileBytes)
  if (bytes.length < start) fail(`got ${bytes.length} bytes of the header, it has ${start}; read on`)
  const header = parseHeader(bytes.subarray(8, start))
  const { __metadata__: metadata = {}, ...tensors } = header
  const entries = Object.entries(tensors).map(([name, entry]) => entryOf(name, entry, start))
  checkTiling(entries, start, fileBytes)
  return { entries: new Map(entries.map((entry) => [entry.name, entry])), metadata: textsOf(metadata) }
}

/**
 * A tensor as float32: halves widened exactly, whole numbers as they are.
 * @throws WeightsFormatError for a tensor that is not there, or of a dtype without an exact float32.
 */
export function readTensor({ bytes, entries }: SafetensorsFile, name: string): Float32Array {
  const entry = entries.get(name)
  if (entry === undefined) return fail(`there is no tensor ${name}; the file holds ${entries.size} others`)
  return widened(entry, bytes.subarray(entry.offset, entry.offset + entry.length))
}

/** The bytes of a tensor, or of some whole elements of it, as float32. */
export function widened({ name, dtype }: Pick<TensorEntry, 'name' | 'dtype'>, bytes: Uint8Array): Float32Array {
  // Of the plain type: a Node Buffer's own slice() shares memory instead of copying, and may be unaligned.
  const copy = Uint8Array.prototype.slice.call(bytes).buffer
  switch (dtype) {
    case 'float32':
      return new Float32Array(copy)
    case 'float16':
      return fromFloat16(new Uint16Array(copy))
    case 'bfloat16':
      return fromBfloat16(new Uint16Array(copy))
    case 'int32':
      return Float32Array.from(new Int32Array(copy))
    default:
      return fail(`tensor ${name} is ${dtype}, allowed as numbers are float32, float16, bfloat16 and int32`)
  }
}

export interface WrittenTensor {
  readonly shape: Shape
  readonly data: Float32Array
}

/** A file of all tensors in one dtype, in the order given; data begin at a multiple of 64 bytes. */
export function writeSafetensors(
  tensors: Readonly<Record<string, WrittenTensor>>,
  dtype: 'float32' | 'float16',
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  let cursor = 0
  const header: Record<string, unknown> = { __metadata__: metadata }
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    const length = data.length * elementBytes[dtype]
    header[name] = { dtype: dtype === 'float16' ? 'F16' : 'F32', shape, data_offsets: [cursor, cursor + length] }
    cursor += length
  }
  const text = JSON.stringify(header)
  const encoded = new TextEncoder().encode(text)
  const padded = Math.ceil((8 + encoded.length) / 64) * 64
  const bytes = new Uint8Array(padded + cursor)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded - 8), true)
  bytes.fill(0x20, 8, padded)
  bytes.set(encoded, 8)
  let offset = padded
  for (const { data } of Object.values(tensors)) {
    const stored = dtype === 'float16' ? toFloat16(data) : data
    bytes.set(new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength), offset)
    offset += stored.byteLength
  }
  return bytes
}

function parseHeader(bytes: Uint8Array): Record<string, unknown> {
  try {
    const header: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    if (isRecord(header)) return header
  } catch {
    // The sentence below says all a user can act on; where exactly the JSON breaks does not help.
  }
  return fail('the header is not a JSON object; the file is damaged or not safetensors')
}

function entryOf(name: string, entry: unknown, start: number): TensorEntry {
  if (!isRecord(entry)) return fail(`tensor ${name} has no description`)
  const { dtype, shape, data_offsets: range } = entry
  const known = typeof dtype === 'string' && Object.hasOwn(wireDTypes, dtype) ? wireDTypes[dtype] : undefined
  if (known === undefined) {
    const allowed = Object.keys(wireDTypes).join(', ')
    return fail(`tensor ${name} is ${JSON.stringify(dtype)}, allowed are ${allowed}`)
  }
  if (!isCounts(shape) || !isCounts(range) || range.length !== 2) {
    return fail(`tensor ${name} has a shape or byte range that is not a list of counts`)
  }
  const [from, to] = range as [number, number]
  const wanted = shape.reduce((product, size) => product * size, elementBytes[known])
  if (to - from !== wanted)
    return fail(`tensor ${name} of [${shape}] takes ${wanted} bytes, its range has ${to - from}`)
  return { name, dtype: known, shape, offset: start + from, length: wanted }
}

/** Ranges must follow one another without gap or overlap and end with the file. */
function checkTiling(entries: readonly TensorEntry[], start: number, end: number): void {
  const sorted = [...entries].sort((a, b) => a.offset - b.offset || a.length - b.length)
  const reached = sorted.reduce((cursor, { name, offset, length }) => {
    if (offset !== cursor)
      fail(`tensor ${name} begins at byte ${offset}, allowed is ${cursor}: ranges must be seamless`)
    return cursor + length
  }, start)
  if (reached !== end)
    fail(`the tensors end at byte ${reached}, the file at ${end}; it is cut short or has bytes to spare`)
}

function textsOf(metadata: unknown): Record<string, string> {
  if (!isRecord(metadata)) return fail('the metadata is not an object of texts')
  const odd = Object.entries(metadata).find(([, value]) => typeof value !== 'string')
  if (odd !== undefined) fail(`the metadata's ${odd[0]} is ${typeof odd[1]}, allowed are texts`)
  return metadata as Record<string, string>
}

const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x)

const isCounts = (x: unknown): x is readonly number[] =>
  Array.isArray(x) && x.every((n) => typeof n === 'number' && Number.isSafeInteger(n) && n >= 0)

function fail(message: string): never {
  throw new WeightsFormatError(`weights: ${message}`)
}
