import { describe, expect, it } from 'vitest'
import { randomStream } from '../../shared/random.ts'
import { spatialStride } from '../networks/autoencoder.ts'
import { recolouring, renderFilms, windowBatch } from './batches.ts'

const films = renderFilms(0x3000000, 2, 17, 64, 4)
const options = { films, seed: 1, step: 3, batch: 12, frames: 17, side: 40 }

describe('a window of a film', () => {
  it('shows the film where it says it lies', () => {
    const { frames, places } = windowBatch({ ...options, frames: 5 })
    for (const [index, { film, frame, left, top }] of places.entries()) {
      const [time, row, column, colour] = [4, 39, 7, 2]
      const pixel = ((film * 17 + frame + time) * 64 + top + row) * 64 + left + column
      const at = (((index * 5 + time) * 40 + row) * 40 + column) * 3 + colour
      expect(frames[at]).toBeCloseTo((films.bytes[pixel * 4 + colour] as number) / 127.5 - 1, 6)
    }
  })

  it('lies on the cells of latents where it must, from the first frame on, and anywhere else where it need not', () => {
    const off = ({ frame, left, top }: { frame: number; left: number; top: number }) =>
      frame !== 0 || left % spatialStride !== 0 || top % spatialStride !== 0
    const onCells = windowBatch({ ...options, onCells: true }).places
    expect(onCells.filter(off)).toEqual([])
    expect(new Set(onCells.map(({ left, top }) => `${left} ${top}`)).size).toBeGreaterThan(2)
    expect(windowBatch({ ...options, frames: 9 }).places.filter(off).length).toBeGreaterThan(6)
  })
})

describe('other colours', () => {
  it('keep equal pixels equal and pixels within their range, and differ from one drawing to the next', () => {
    const of = (seed: number) => {
      const pixels = Float32Array.from([0.2, -0.7, 1, -1, 1, 0.4, 0.2, -0.7, 1])
      recolouring(randomStream(seed, 0))(pixels)
      return pixels
    }
    const drawn = Array.from({ length: 50 }, (_, seed) => of(seed))
    for (const pixels of drawn) {
      expect(pixels.slice(0, 3)).toEqual(pixels.slice(6))
      expect(Math.max(...pixels.map(Math.abs))).toBeLessThanOrEqual(1)
    }
    expect(new Set(drawn.map(String)).size).toBe(50)
  })
})
