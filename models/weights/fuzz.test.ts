/**
 * Hostile files: mutated headers and manifests are refused by typed errors, or describe nothing outside the file.
 *
 * Sized to seconds; ZOETROPE_FUZZ=200000 sets the number of headers (a tenth as many manifests) for a long run. Nothing is
 * written: how files on disk are read is models/node/checkpoint-files.test.ts's.
 */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GenerationError } from '../../shared/errors.ts'
import { hostileFile, hostilePatience, hostileRuns, odd, soundFile } from '../../test/hostile-files.ts'
import { conversionsOf } from './conversion.ts'
import { readManifest } from './manifest.ts'
import { recognise } from './recognise.ts'
import { partKinds } from './rename.ts'
import { readSafetensors, readTensor, WeightsFormatError } from './safetensors.ts'
import { storedTensors } from './stored.ts'

/** Longest that one file may keep the processor, in milliseconds, however busy the machine: a hang shows as much more. */
const patience = 2000
const processorTime = (): number => process.cpuUsage().user / 1000

/** Everything that import does with a header, short of reading gigabytes. Plain checks: a million of them are to be cheap. */
function explore(bytes: Uint8Array): 'refused' | 'unknown' | 'incomplete' | 'whole' {
  const read = typed(() => readSafetensors(bytes))
  if (read === undefined) return 'refused'
  for (const { name, offset, length } of read.entries.values()) {
    if (offset < 8 || offset + length > bytes.length) throw new Error(`${name} lies outside the file`)
    typed(() => readTensor(read, name))
  }
  const { parts } = recognise({ headers: { file: read } })
  const stored = storedTensors({ file: read })
  for (const { graph, tensors, missing, misshapen } of parts) {
    if (missing.length + misshapen.length + tensors.size !== graph.parameters.length)
      throw new Error('a parameter is neither there nor missed')
    conversionsOf({ graph, tensors }, 'q4')
    for (const { attributes, shape } of graph.parameters) typed(() => stored(attributes.name, shape))
  }
  if (parts.length === 0) return 'unknown'
  return parts.every(({ missing, misshapen }) => missing.length + misshapen.length === 0) ? 'whole' : 'incomplete'
}

/** A value, or undefined where it was refused by the error of this kind; any other error is a fault. */
function typed<T>(body: () => T): T | undefined {
  try {
    return body()
  } catch (error) {
    if (error instanceof WeightsFormatError) return undefined
    throw error
  }
}

describe('a header as it is', () => {
  it('describes whole parts', () => {
    expect(explore(soundFile())).toBe('whole')
    const { parts } = recognise({ headers: { file: readSafetensors(soundFile()) } })
    expect(parts.map(({ kind }) => kind)).toEqual(['taehv-decoder', 'motion-module'])
  })
})

describe('a mutated header', () => {
  it(
    'is refused by its own error or describes the file, quickly',
    () => {
      const seen = { refused: 0, unknown: 0, incomplete: 0, whole: 0 }
      fc.assert(
        fc.property(hostileFile, (bytes) => {
          const began = processorTime()
          seen[explore(bytes)]++
          if (processorTime() - began > patience) throw new Error('took too long')
        }),
        { numRuns: hostileRuns, seed: 20 },
      )
      // A generator whose files are all refused tries nothing but the parser.
      expect(Math.min(seen.refused, seen.incomplete, seen.whole)).toBeGreaterThan(hostileRuns / 100)
      if (process.env.ZOETROPE_REPORT) process.stderr.write(`headers ${JSON.stringify(seen)}\n`)
    },
    hostilePatience,
  )
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
  it(
    'is refused by its own error or is what it says',
    () => {
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
        { numRuns: Math.ceil(hostileRuns / 10), seed: 21 },
      )
      expect(refused).toBeGreaterThan(hostileRuns / 40)
      expect(readManifest(manifest)).toEqual(manifest)
      if (process.env.ZOETROPE_REPORT)
        process.stderr.write(`manifests: ${refused} of ${Math.ceil(hostileRuns / 10)} refused\n`)
    },
    hostilePatience,
  )
})
