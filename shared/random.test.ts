import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gaussian, philox, randomStream } from './random.ts'

const words = (counter: readonly number[], key: readonly number[]) => {
  const out = new Uint32Array(4)
  philox(counter, key, out)
  return Array.from(out, (word) => word.toString(16).padStart(8, '0')).join(' ')
}

describe('philox', () => {
  it('gives the known answers of Random123', () => {
    expect(words([0, 0, 0, 0], [0, 0])).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8')
    const ones = 0xffffffff
    expect(words([ones, ones, ones, ones], [ones, ones])).toBe('408f276d 41c83b0e a20bc7c6 6d5451fd')
    expect(words([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toBe(
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    )
  })
})

describe('gaussian', () => {
  it('gives any slice as it lies in the whole', () => {
    const whole = gaussian(7, 3, 0, 200)
    fc.assert(
      fc.property(fc.nat(150), fc.nat(50), (offset, length) => {
        expect(gaussian(7, 3, offset, length)).toEqual(whole.subarray(offset, offset + length))
      }),
      { seed: 1 },
    )
  })

  it('is standard normal: moments, tails and the Kolmogorov distance', () => {
    const count = 200000
    const values = gaussian(1, 0, 0, count)
    const moment = (power: number) => values.reduce((total, value) => total + value ** power, 0) / count
    expect(moment(1)).toBeCloseTo(0, 2)
    expect(moment(2)).toBeCloseTo(1, 2)
    expect(Math.abs(moment(3))).toBeLessThan(0.03)
    expect(moment(4)).toBeCloseTo(3, 1)
    expect(values.filter((value) => Math.abs(value) > 3).length / count).toBeCloseTo(0.0027, 3)
    // Against points of the normal distribution function.
    for (const [point, below] of [
      [-1.959964, 0.025],
      [-1, 0.158655],
      [0, 0.5],
      [0.67449, 0.75],
      [1.644854, 0.95],
    ] as const) {
      expect(Math.abs(values.filter((value) => value < point).length / count - below)).toBeLessThan(0.004)
    }
  })

  it('has the same bits on every engine', () => {
    const bits = new Uint32Array(gaussian(7, 0, 0, 8).buffer.slice(0, 32))
    expect(Array.from(bits, (word) => word.toString(16))).toMatchInlineSnapshot(`
      [
        "3998dd84",
        "be9c14e7",
        "3fe4f600",
        "3f88b00c",
        "3ec0b7f6",
        "bfa4bccd",
        "3fe7df5c",
        "befb83ee",
      ]
    `)
  })

  it('differs by seed and by stream, and seed zero is a seed', () => {
    const [a, b, c] = [gaussian(0, 0, 0, 4), gaussian(1, 0, 0, 4), gaussian(0, 1, 0, 4)]
    expect(a).not.toEqual(b)
    expect(a).not.toEqual(c)
    expect(a.every((value) => value !== 0 && Number.isFinite(value))).toBe(true)
  })
})

describe('randomStream', () => {
  it('repeats itself for the same seed and stream', () => {
    const draw = () => {
      const random = randomStream(5, 2)
      return [random.uniform(), random.integer(10), random.pick(['a', 'b', 'c']), random.normal(), random.between(2, 3)]
    }
    expect(draw()).toEqual(draw())
  })

  it('stays within its bounds', () => {
    const random = randomStream(9)
    for (let n = 0; n < 2000; n++) {
      expect(random.uniform()).toBeLessThan(1)
      expect(random.integer(7)).toBeLessThan(7)
    }
    expect(() => random.pick([])).toThrow('empty list')
  })
})
