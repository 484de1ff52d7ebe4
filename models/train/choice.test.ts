import { describe, expect, it } from 'vitest'
import { randomStream } from '../../shared/random.ts'
import type { Attributes } from '../world/vocabulary.ts'
import { anyOf, type Emphasis, moreOften, parseEmphasis } from './choice.ts'

const base: Attributes = { puppet: 'bird', colour: 'blue', action: 'jumps', scene: 'sea', camera: 'still' }
const kinds: readonly Attributes[] = [
  base,
  { ...base, camera: 'pans left' },
  { ...base, action: 'shakes' },
  { ...base, action: 'shakes', camera: 'pans left' },
]
const clips = { count: 400, attributes: (index: number) => kinds[index % 4] as Attributes }

const sharesOf = (choice: ReturnType<typeof anyOf>, draws = 20000) => {
  const [random, counts] = [randomStream(3, 0), [0, 0, 0, 0]]
  for (let n = 0; n < draws; n++) {
    const kind = choice(random) % 4
    counts[kind] = (counts[kind] as number) + 1
  }
  return counts.map((count) => count / draws)
}

const expectShares = (emphasis: Emphasis, expected: readonly number[]) =>
  sharesOf(moreOften(clips, emphasis)).forEach((share, kind) => {
    expect(Math.abs(share - (expected[kind] as number))).toBeLessThan(0.015)
  })

describe('which clips come', () => {
  it('is all alike where nothing is emphasised', () => {
    expectShares({}, [0.25, 0.25, 0.25, 0.25])
    sharesOf(anyOf(clips)).forEach((share) => {
      expect(Math.abs(share - 0.25)).toBeLessThan(0.015)
    })
  })

  it('multiplies the factors of several attributes', () => {
    expectShares({ camera: { still: 0.5 }, action: { shakes: 3 } }, [1 / 12, 2 / 12, 3 / 12, 6 / 12])
  })

  it('never takes what has a factor of nothing, first and last clip included', () => {
    expectShares({ camera: { still: 0 } }, [0, 0.5, 0, 0.5])
    expectShares({ camera: { 'pans left': 0 } }, [0.5, 0, 0.5, 0])
    const least = { ...randomStream(1, 0), uniform: () => 0 }
    expect(moreOften(clips, { camera: { still: 0 } })(least)).toBe(1)
    expect(() => moreOften(clips, { puppet: { bird: 0 } })).toThrow('for each of 400 clips')
  })

  it('reaches every clip, and the same ones for the same numbers', () => {
    const few = { ...clips, count: 5 }
    const [random, again] = [randomStream(1, 0), randomStream(1, 0)]
    const choice = moreOften(few, { action: { shakes: 2 } })
    const seen = Array.from({ length: 200 }, () => choice(random))
    expect(new Set(seen)).toEqual(new Set([0, 1, 2, 3, 4]))
    expect(Array.from({ length: 200 }, () => choice(again))).toEqual(seen)
  })
})

describe('an emphasis in words', () => {
  it('is read by attribute, values of several words too', () => {
    const text = 'camera=still:0.25, scene=night sky:2,action=shakes:3,action=moves left slowly:0'
    expect(parseEmphasis('--often', text)).toEqual({
      camera: { still: 0.25 },
      scene: { 'night sky': 2 },
      action: { shakes: 3, 'moves left slowly': 0 },
    })
    expect(parseEmphasis('--often', '')).toEqual({})
  })

  it.each([
    ['size=64:2', 'of puppet, colour, action, scene, camera'],
    ['action=flies:2', 'as action moves left,'],
    ['camera=still', 'items like camera=still:0.25'],
    ['camera=still:x', 'items like camera=still:0.25'],
    ['camera=still:1.2.3', 'factors from 0 to 100'],
    ['camera=still:101', 'factors from 0 to 100'],
    ['camera=still:1,', 'items like camera=still:0.25'],
    ['camera=still:1,camera=still:2', 'values named once'],
  ])('refuses %s and says what is allowed', (text, allowed) => {
    expect(() => parseEmphasis('--often', text)).toThrow(`--often: got "${text.split(',').at(-1)}", allowed are `)
    expect(() => parseEmphasis('--often', text)).toThrow(allowed)
  })
})
