/** The vocabulary: its size, and the triples kept from training. */

import { describe, expect, it } from 'vitest'
import { actions, cameras, colours, fnv1a, heldOut, puppets, sampleAttributes, scenes } from './vocabulary.ts'

describe('vocabulary', () => {
  it('is that of version 1', () => {
    expect([puppets, colours, actions, scenes, cameras].map(({ length }) => length)).toEqual([24, 8, 18, 8, 5])
  })

  it('hashes as FNV-1a does', () => {
    // Values of the function's published test suite.
    expect([fnv1a(''), fnv1a('a'), fnv1a('foobar')]).toEqual([0x811c9dc5, 0xe40c292c, 0xbf9cf968])
  })

  it('holds out about one triple in ten', () => {
    const triples = puppets.flatMap((puppet) =>
      colours.flatMap((colour) => actions.map((action) => ({ puppet, colour, action }))),
    )
    const share = triples.filter(heldOut).length / triples.length
    expect(share).toBeGreaterThan(0.08)
    expect(share).toBeLessThan(0.12)
  })

  it('samples each split from its own triples, the same for the same seed', () => {
    for (let seed = 0; seed < 500; seed++) {
      expect(heldOut(sampleAttributes(seed, 'seen'))).toBe(false)
      expect(heldOut(sampleAttributes(seed, 'held-out'))).toBe(true)
      expect(sampleAttributes(seed, 'all')).toEqual(sampleAttributes(seed, 'all'))
    }
  })

  it('reaches every value', () => {
    const samples = Array.from({ length: 1000 }, (_, seed) => sampleAttributes(seed, 'all'))
    expect(new Set(samples.map(({ puppet }) => puppet)).size).toBe(24)
    expect(new Set(samples.map(({ action }) => action)).size).toBe(18)
    expect(new Set(samples.map(({ camera }) => camera)).size).toBe(5)
  })
})
