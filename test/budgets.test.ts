/**
 * Budgets of the source: no any, headers everywhere, files that can be read in one sitting, no rag-bag names.
 */

import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root, sources } from './sources.ts'

const read = (file: string): string => readFileSync(join(root, file), 'utf8')

/** Tables may be long. */
const tables = ['models/world/puppets.ts']

describe('every source file', () => {
  it('opens with its duty', () => {
    expect(sources().filter((file) => !read(file).startsWith('/**'))).toEqual([])
  })

  it('names no any', () => {
    expect(
      sources().filter((file) => /(:|as|<)\s*any\b/.test(read(file).replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, ''))),
    ).toEqual([])
  })

  it('is at most 480 lines long, tables apart', () => {
    const long = sources().filter((file) => !tables.includes(file) && read(file).split('\n').length > 480)
    expect(long).toEqual([])
  })

  it('has a name that says what it holds', () => {
    expect(sources().filter((file) => /^(utils?|helpers?|types|misc|common)\.ts$/.test(basename(file)))).toEqual([])
  })
})
