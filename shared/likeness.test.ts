import { describe, expect, it } from 'vitest'
import { cosine, pooled } from './likeness.ts'

/** Bits of a few numbers in half precision. */
const halves: Readonly<Record<number, number>> = { 1: 0x3c00, 9: 0x4880 }

describe('the pooled embedding', () => {
  it('is the mean over a prompt’s own tokens, of length one, and nothing where the tensor is none', () => {
    const tensor = (numbers: number[], told: object) => ({
      bytes: Uint16Array.from(numbers, (number) => halves[number] ?? 0).buffer,
      description: JSON.stringify(told),
    })
    const [x = 0, y = 0] = pooled(tensor([1, 0, 0, 1, 9, 9], { shape: [1, 3, 2], tokens: [2] }))
    expect([x, y]).toEqual([expect.closeTo(Math.SQRT1_2), expect.closeTo(Math.SQRT1_2)])
    for (const wrong of [{ shape: [1, 3, 2] }, { shape: [1, 2, 2], tokens: [2] }, { shape: [1, 3, 2], tokens: [4] }]) {
      expect(() => pooled(tensor([1, 0, 0, 1, 9, 9], wrong))).toThrow(/not as it is described/)
    }
    expect(() => pooled(tensor([0, 0], { shape: [1, 1, 2], tokens: [1] }))).toThrow(/not as it is described/)
  })
})

describe('the likeness of two prompts', () => {
  it('is the cosine of their vectors, and none of vectors of two widths', () => {
    const vector = (...numbers: number[]) => Float32Array.from(numbers)
    expect(cosine(vector(0.6, 0.8), vector(0.6, 0.8))).toBeCloseTo(1)
    expect(cosine(vector(0.6, 0.8), vector(1, 0))).toBeCloseTo(0.6)
    expect(cosine(vector(0.6, 0.8), vector(1, 0, 0))).toBe(Number.NEGATIVE_INFINITY)
  })
})
