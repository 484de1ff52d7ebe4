import { describe, expect, it } from 'vitest'
import { randomStream } from '../../shared/random.ts'
import { parsePrompt } from '../world/captions.ts'
import { attributeNames, sampleAttributes } from '../world/vocabulary.ts'
import { miscaption } from './miscaption.ts'

describe('a wrong caption', () => {
  it('is wrong by one attribute, which is read back from it, and each is the wrong one sometimes', () => {
    const random = randomStream(1, 0)
    const wrong = Array.from({ length: 400 }, (_, n) => {
      const attributes = sampleAttributes(n, 'all')
      const asked = parsePrompt(miscaption(attributes, random))
      return attributeNames.filter((name) => asked[name] !== undefined && asked[name] !== attributes[name])
    })
    expect(wrong.every((names) => names.length === 1)).toBe(true)
    const times = Object.fromEntries(attributeNames.map((name) => [name, wrong.filter(([n]) => n === name).length]))
    expect(Math.min(...Object.values(times))).toBeGreaterThan(0)
    expect((times.action ?? 0) + (times.camera ?? 0)).toBeGreaterThan(200)
  })
})
