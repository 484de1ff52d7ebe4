/**
 * Weight files that lie: a sound header changed here and there, as a seed has it.
 *
 * ZOETROPE_FUZZ sets how many are tried; by default as many as a test may take seconds for.
 */

import fc from 'fast-check'
import { partGraph } from '../models/weights/parts.ts'
import { toyLtxMetadata } from './checkpoints/toys.ts'

/** How many headers are tried; files on disk and manifests are fewer. */
export const hostileRuns = Number(process.env.ZOETROPE_FUZZ ?? 8000)

/** Minutes of a long run, in milliseconds. */
export const hostilePatience = 3_600_000

interface Entry {
  dtype: unknown
  shape: unknown
  data_offsets: unknown
}
type Header = Record<string, unknown>

/** The tensors of a motion module and of a TAEHV decoder, small: two kinds that a reader must tell apart. */
function headerOf(): { readonly header: Header; readonly dataBytes: number } {
  const motion = partGraph('motion-module', {
    modules: { m: { channels: 32, groups: 32, heads: 8, depth: 1, maxFrames: 4, normSpan: 'clip' } },
  })
  const taehv = partGraph('taehv-decoder', { latentChannels: 2, channels: [2, 2], growth: [1], patch: 1, trim: 0 })
  const header: Header = { __metadata__: toyLtxMetadata }
  let cursor = 0
  const add = (name: string, shape: readonly number[]) => {
    const length = 2 * shape.reduce((product, size) => product * size, 1)
    // Networks take one of the two as it is.
    const dtype = cursor % 4 === 0 ? 'F16' : 'BF16'
    header[name] = { dtype, shape, data_offsets: [cursor, cursor + length] }
    cursor += length
  }
  for (const { attributes } of [...motion.parameters, ...taehv.parameters]) add(attributes.name, attributes.shape)
  add('m.transformer_blocks.0.pos_embed.pe', [1, 4, 32])
  return { header, dataBytes: cursor }
}

const { header: valid, dataBytes } = headerOf()
const names = Object.keys(valid)

/** Values that no field expects. */
export const odd = fc.oneof(
  fc.constantFrom(0, -1, 1, 2, 0.5, 2 ** 31, 2 ** 53, 1e300, 16_777_216),
  fc.constantFrom<unknown>(null, true, '', 'F32', 'I64', [], {}, [[]], { toString: 1, valueOf: 1 }, '__proto__'),
  fc.array(fc.integer({ min: -4, max: 300 }), { maxLength: 6 }),
  fc.jsonValue({ maxDepth: 2 }),
)

type Mutation = (header: Header) => void

const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(fc.constantFrom(...names), odd).map(([name, value]) => (header: Header) => {
    header[name] = value
  }),
  fc
    .tuple(fc.constantFrom(...names), fc.constantFrom('dtype', 'shape', 'data_offsets'), odd)
    .map(([name, field, value]) => (header: Header) => {
      const entry = header[name]
      if (typeof entry === 'object' && entry !== null) (entry as Record<string, unknown>)[field] = value
    }),
  // Shapes of the same size are the lies that tiling cannot show.
  fc.tuple(fc.constantFrom(...names), fc.nat(3)).map(([name, turn]) => (header: Header) => {
    const entry = header[name] as Partial<Entry> | undefined
    if (!Array.isArray(entry?.shape)) return
    const size = entry.shape.reduce((product, side) => product * Number(side), 1)
    entry.shape = [[...entry.shape].reverse(), [size], [1, size, 1], [size, 1, 1, 1, 1]][turn]
  }),
  fc.constantFrom(...names).map((name) => (header: Header) => {
    delete header[name]
  }),
  fc.tuple(fc.constantFrom(...names), fc.constantFrom(...names)).map(([a, b]) => (header: Header) => {
    ;[header[a], header[b]] = [header[b], header[a]]
  }),
  fc.tuple(fc.constantFrom(...names), fc.string()).map(([name, fresh]) => (header: Header) => {
    header[fresh] = header[name]
    delete header[name]
  }),
  fc.tuple(fc.nat(9), fc.constantFrom(...names)).map(([number, name]) => (header: Header) => {
    header[name.replace(/\d+/, String(10 ** number))] = { dtype: 'F32', shape: [0, 10 ** number], data_offsets: [0, 0] }
  }),
)

/** Seldom: most files must get past the parser. */
const seldom = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> =>
  fc.oneof({ weight: 9, arbitrary: fc.constant(null) }, { weight: 1, arbitrary })

/** A file of some header, its data zeros. */
function fileOf(header: Header, claim?: bigint): { readonly bytes: Uint8Array; readonly headerBytes: number } {
  const text = new TextEncoder().encode(JSON.stringify(header))
  const bytes = new Uint8Array(8 + text.length + dataBytes)
  new DataView(bytes.buffer).setBigUint64(0, claim ?? BigInt(text.length), true)
  bytes.set(text, 8)
  return { bytes, headerBytes: text.length }
}

/** The file that hostile ones are made of. */
export const soundFile = (): Uint8Array => fileOf(valid).bytes

/** Whole files whose header, length or bytes were changed. */
export const hostileFile: fc.Arbitrary<Uint8Array> = fc
  .record({
    mutations: fc.array(mutation, { maxLength: 3 }),
    flips: seldom(fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 2 })),
    claim: seldom(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
    cut: seldom(fc.nat()),
  })
  .map(({ mutations, flips, claim, cut }) => {
    const header = structuredClone(valid)
    for (const mutate of mutations) mutate(header)
    const { bytes, headerBytes } = fileOf(header, claim ?? undefined)
    for (const [place, value] of flips ?? []) bytes[8 + (place % headerBytes)] = value
    return cut === null ? bytes : bytes.subarray(0, cut % (bytes.length + 1))
  })
