import { describe, expect, it } from 'vitest'
import { resized } from './resize.ts'

/** Two frames that rise evenly along both axes. */
const ramp = (height: number, width: number): Uint8Array =>
  Uint8Array.from({ length: 2 * height * width * 3 }, (_, index) => {
    const [pixel, colour] = [Math.floor(index / 3) % (height * width), index % 3]
    return 40 + (120 * ((pixel % width) + 0.5)) / width + (60 * (Math.floor(pixel / width) + 0.5)) / height + colour
  })

describe('frames brought to another size', () => {
  it('are the very same where it is their own', () => {
    const pixels = ramp(3, 4)
    expect(resized(pixels, [3, 4], [3, 4])).toBe(pixels)
  })

  it('keep an even rise, but for the outermost pixels', () => {
    const [small, large] = [resized(ramp(32, 64), [32, 64], [24, 48]), ramp(24, 48)]
    expect(small.length).toBe(large.length)
    small.forEach((value, index) => {
      expect(Math.abs(value - (large[index] as number))).toBeLessThanOrEqual(2)
    })
  })

  it('keep one colour', () => {
    const pixels = new Uint8Array(5 * 7 * 3).fill(99)
    expect(new Set(resized(pixels, [5, 7], [11, 3]))).toEqual(new Set([99]))
  })
})
