/**
 * Hostile files: mutated headers and manifests are refused by typed errors, or describe nothing outside the file.
 *
 * Sized to seconds; ZOETROPE_FUZZ=200000 sets the number of headers (a tenth as many manifests) for a long run.
 */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GenerationError } from '../../shared/errors.ts'
import { toyLtxMetadata } from '../../test/checkpoints/toys.ts'
import { conversionsOf } from './conversion.ts'
import { readManifest } from './manifest.ts'
import { partGraph } from './parts.ts'
import { recognise } from './recognise.ts'
import { partKinds } from './rename.ts'
import { readSafetensors, readTensor, WeightsFormatError } from './safetensors.ts'
import { storedTensors } from './stored.ts'

const runs = Number(process.env.ZOETROPE_FUZZ ?? 1000)
/** Longest that one file may keep the processor, in milliseconds, however busy the machine: a hang shows as much more. */
const patience = 2000
const processorTime = (): number => process.cpuUsage().user / 1000

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
    header[name] = { dtype: 'BF16', shape, data_offsets: [cursor, cursor + length] }
    cursor += length
  }
  for (const { attributes } of [...motion.parameters, ...taehv.parameters]) add(attributes.name, attributes.shape)
  add('m.transformer_blocks.0.pos_embed.pe', [1, 4, 32])
  return { header, dataBytes: cursor }
}

const { header: valid, dataBytes } = headerOf()
const names = Object.keys(valid)

const odd = fc.oneof(
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

const file = fc
  .record({
    mutations: fc.array(mutation, { maxLength: 3 }),
    flips: seldom(fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 2 })),
    claim: seldom(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
    cut: seldom(fc.nat()),
  })
  .map(({ mutations, flips, claim, cut }) => {
    const header = structuredClone(valid)
    for (const mutate of mutations) mutate(header)
    const text = new TextEncoder().encode(JSON.stringify(header))
    const bytes = new Uint8Array(8 + text.length + dataBytes)
    new DataView(bytes.buffer).setBigUint64(0, claim ?? BigInt(text.length), true)
    bytes.set(text, 8)
    for (const [place, value] of flips ?? []) bytes[8 + (place % text.length)] = value
    return cut === null ? bytes : bytes.subarray(0, cut % (bytes.length + 1))
  })

/** Everything that import does with a header, short of reading gigabytes. */
function explore(bytes: Uint8Array): 'refused' | 'unknown' | 'incomplete' | 'whole' {
  let read: ReturnType<typeof readSafetensors>
  try {
    read = readSafetensors(bytes)
  } catch (error) {
    expect(error).toBeInstanceOf(WeightsFormatError)
    return 'refused'
  }
  for (const { name, offset, length } of read.entries.values()) {
    expect(offset).toBeGreaterThanOrEqual(8)
    expect(offset + length).toBeLessThanOrEqual(bytes.length)
    typed(() => readTensor(read, name))
  }
  const { parts } = recognise({ headers: { file: read } })
  const stored = storedTensors({ file: read })
  for (const { graph, tensors, ...part } of parts) {
    expect(part.missing.length + part.misshapen.length + tensors.size).toBe(graph.parameters.length)
    conversionsOf({ graph, tensors }, 'q4')
    for (const { attributes, shape } of graph.parameters) typed(() => stored(attributes.name, shape))
  }
  if (parts.length === 0) return 'unknown'
  return parts.every(({ missing, misshapen }) => missing.length + misshapen.length === 0) ? 'whole' : 'incomplete'
}

function typed(body: () => unknown): void {
  try {
    body()
  } catch (error) {
    expect(error).toBeInstanceOf(WeightsFormatError)
  }
}

describe('a header as it is', () => {
  it('describes whole parts', () => {
    const text = new TextEncoder().encode(JSON.stringify(valid))
    const bytes = new Uint8Array(8 + text.length + dataBytes)
    new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true)
    bytes.set(text, 8)
    expect(explore(bytes)).toBe('whole')
    const { parts } = recognise({ headers: { file: readSafetensors(bytes) } })
    expect(parts.map(({ kind }) => kind)).toEqual(['taehv-decoder', 'motion-module'])
  })
})

describe('a mutated header', () => {
  it('is refused by its own error or describes the file, quickly', () => {
    const seen = { refused: 0, unknown: 0, incomplete: 0, whole: 0 }
    fc.assert(
      fc.property(file, (bytes) => {
        const began = processorTime()
        seen[explore(bytes)]++
        expect(processorTime() - began).toBeLessThan(patience)
      }),
      { numRuns: runs, seed: 20 },
    )
    // A generator whose files are all refused tries nothing but the parser.
    expect(Math.min(seen.refused, seen.incomplete, seen.whole)).toBeGreaterThan(runs / 100)
    if (process.env.ZOETROPE_REPORT) process.stderr.write(`headers ${JSON.stringify(seen)}\n`)
  }, 3_600_000)
})

const hash = 'a'.repeat(64)
const manifest = {
  format: 1,
  id: 'toy',
  licenses: { 'wan-dit': 'Apache-2.0' },
  parts: {
    denoiser: {
      kind: partKinds[2],
      config: { width: 8 },
      precision: 'q4',
      files: [{ file: 'a.safetensors', bytes: 70, sha256: hash, chunkBytes: 64, chunks: [hash, hash] }],
      kept: [{ name: 'w', target: 'q8', error: 0.2 }],
      source: { file: 'b.safetensors', bytes: 100 },
    },
  },
}

/** Replaces or removes the value at a random place of a JSON tree. */
function mutated(tree: unknown, steps: readonly number[], value: unknown, remove: boolean): unknown {
  const [step = 0, ...rest] = steps
  if (typeof tree !== 'object' || tree === null) return value
  const keys = Object.keys(tree)
  const key = keys[step % Math.max(1, keys.length)]
  if (key === undefined) return value
  const copy = (Array.isArray(tree) ? [...tree] : { ...tree }) as Record<string, unknown>
  if (rest.length === 0 && remove) delete copy[key]
  else copy[key] = rest.length === 0 ? value : mutated(copy[key], rest, value, remove)
  return copy
}

describe('a mutated manifest', () => {
  it('is refused by its own error or is what it says', () => {
    let refused = 0
    const steps = fc.array(fc.nat(9), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(
        steps,
        fc.oneof(odd, fc.constantFrom('../../etc/passwd', 'a/b', '.', '')),
        fc.boolean(),
        (...each) => {
          try {
            const read = readManifest(mutated(manifest, ...each))
            for (const part of Object.values(read.parts))
              for (const { file: name } of part?.files ?? []) expect(name).toMatch(/^\w[\w.-]*$/)
          } catch (error) {
            expect(error).toBeInstanceOf(GenerationError)
            refused++
          }
        },
      ),
      { numRuns: Math.ceil(runs / 10), seed: 21 },
    )
    expect(refused).toBeGreaterThan(runs / 40)
    expect(readManifest(manifest)).toEqual(manifest)
  }, 3_600_000)
})
