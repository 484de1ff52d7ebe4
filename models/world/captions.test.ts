/** Captions and prompts: what is written is read back, and free text is understood. */

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { tokenize } from '../text/tokenizer.ts'
import { caption, captionTokens, expandPrompt, parsePrompt } from './captions.ts'
import { sampleAttributes } from './vocabulary.ts'

const seed = fc.nat(2 ** 31)
const style = fc.constantFrom('terse' as const, 'dense' as const, 'mixed' as const)

describe('captions', () => {
  it('are read back as what they ask for', () => {
    fc.assert(
      fc.property(seed, style, fc.boolean(), (n, manner, omit) => {
        const { text, asked } = caption(sampleAttributes(n, 'all'), n, { style: manner, omit })
        expect(parsePrompt(text), text).toEqual(asked)
      }),
      { numRuns: 2000 },
    )
  })

  it('say everything unless asked to omit, and omit each attribute but the puppet at times', () => {
    const missing = new Set<string>()
    for (let n = 0; n < 400; n++) {
      const attributes = sampleAttributes(n, 'all')
      expect(caption(attributes, n).asked).toEqual(attributes)
      const { asked } = caption(attributes, n, { omit: true })
      for (const name of ['puppet', 'colour', 'action', 'scene', 'camera'] as const)
        if (asked[name] === undefined) missing.add(name)
    }
    expect([...missing].sort()).toEqual(['action', 'colour', 'scene'])
  })

  it('fit the tokens of their kind, and fill them', () => {
    for (const [kind, limit] of Object.entries(captionTokens)) {
      const picture = kind === 'picture'
      const lengths = Array.from(
        { length: 4000 },
        (_, n) => tokenize(caption(sampleAttributes(n, 'all'), n, { picture, omit: n % 2 === 1 }).text).length,
      )
      expect(Math.max(...lengths)).toBeLessThanOrEqual(limit)
      expect(Math.max(...lengths)).toBeGreaterThanOrEqual(limit - 2)
    }
  })

  it('of pictures ask for neither action nor camera', () => {
    const { asked } = caption(sampleAttributes(5, 'all'), 5, { picture: true })
    expect(Object.keys(asked)).toEqual(['puppet', 'colour', 'scene'])
  })
})

describe('prompts', () => {
  it.each([
    ['A BLUE BIRD, flying to the left over the sea!', 'bird blue moves left sea still'],
    ['two red foxes jumping at night', 'fox red jumps night sky still'],
    ['a white fish in blue water swims quickly right', 'fish white moves right quickly sea still'],
    ['a star under the stars', 'star - - night sky still'],
    ['zooming in on a pink cup spinning, desert', 'cup pink spins desert zooms in'],
    ['a car zooms in the city', 'car - - city still'],
    ['a fox in white snow', 'fox - - snow still'],
    ['the umbrella is purple; camera panning left', 'umbrella purple - - pans left'],
    ['butterflies flutter upwards', 'butterfly - moves up - still'],
    ['ein Vogel 🐦', '- - - - still'],
  ])('%s', (text, expected) => {
    const { puppet = '-', colour = '-', action = '-', scene = '-', camera } = parsePrompt(text)
    expect([puppet, colour, action, scene, camera].join(' ')).toBe(expected)
  })

  it('keep their meaning when expanded', () => {
    fc.assert(
      fc.property(seed, (n) => {
        const { text, asked } = caption(sampleAttributes(n, 'all'), n, { style: 'terse' })
        const expanded = expandPrompt(text)
        expect(parsePrompt(expanded), expanded).toEqual(asked)
        expect(expanded.length).toBeGreaterThan(text.length)
      }),
      { numRuns: 500 },
    )
    expect(expandPrompt('')).toBe('')
  })

  it('of any Unicode are read without failing', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => parsePrompt(text).camera !== undefined))
  })
})
