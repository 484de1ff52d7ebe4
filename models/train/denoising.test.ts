import { describe, expect, it } from 'vitest'
import { cosine } from '../../shared/schedule.ts'
import { cellCoverage, type Films, renderFilms } from './batches.ts'
import { type Draw, draw, type LatentSet, weightFeed } from './denoising.ts'

const set: LatentSet = {
  count: 3,
  channels: 2,
  frames: 2,
  height: 2,
  width: 2,
  latents: Float32Array.from({ length: 48 }, (_, n) => n),
  coverage: Uint8Array.from({ length: 24 }, (_, n) => n * 10),
  attributes: () => ({ puppet: 'bird', colour: 'blue', action: 'jumps', scene: 'sea', camera: 'still' }),
}

const drawn = (given: number): Draw =>
  draw({ set, name: 'video', batch: 4, frames: 2, tokens: 8, seed: 5, step: 0, dropout: 0, given })

describe('a draw', () => {
  it('takes the coverage of the clips whose latents it takes', () => {
    const { clean, coverage } = drawn(0)
    for (let clip = 0; clip < 4; clip++) {
      const index = (clean[clip * 16] as number) / 16
      const expected = set.coverage.subarray(index * 8, index * 8 + 8)
      Array.from(expected).forEach((covered, n) => {
        expect(coverage[clip * 8 + n]).toBeCloseTo(covered / 255, 6)
      })
    }
  })
})

describe('the weight of a cell', () => {
  const levels = [0, 0.25, 0.5, 1].map(cosine())

  it('grows with the puppet in it, less with noise, and not at all in pure noise', () => {
    const batch = drawn(0)
    const { data } = weightFeed(batch, levels, () => 2, 3)['video.weight'] as { data: Float32Array }
    levels.forEach(({ alpha }, clip) => {
      for (let n = 0; n < 8; n++) {
        const covered = batch.coverage[clip * 8 + n] as number
        expect(data[clip * 8 + n]).toBeCloseTo(2 * (1 + 3 * alpha ** 2 * covered), 5)
      }
    })
    expect(new Set(data.subarray(24)).size).toBe(1)
  })

  it('is nothing where the first frame is given', () => {
    const { data } = weightFeed(drawn(1), levels, () => 2, 3)['video.weight'] as { data: Float32Array }
    for (let clip = 0; clip < 4; clip++) {
      expect(Array.from(data.subarray(clip * 8, clip * 8 + 4))).toEqual([0, 0, 0, 0])
      expect(data[clip * 8 + 4]).toBeGreaterThan(0)
    }
  })
})

describe('the coverage of cells', () => {
  it('is the mean of a tube, and of the first frame alone in the first group', () => {
    const films: Films = { count: 1, frames: 5, side: 16, channels: 4, bytes: new Uint8Array(5 * 256 * 4) }
    const paint = (frame: number, row: number, column: number) => {
      films.bytes[((frame * 16 + row) * 16 + column) * 4 + 3] = 255
    }
    for (let n = 0; n < 64; n++) paint(0, n >> 3, 8 + (n & 7))
    for (let n = 0; n < 64; n++) paint(3, 8 + (n >> 3), n & 7)
    expect(Array.from(cellCoverage(films))).toEqual([0, 255, 0, 0, 0, 0, 64, 0])
  })

  it('is somewhere in every film, since a puppet is', () => {
    const coverage = cellCoverage(renderFilms(1, 2, 5, 64, 4))
    for (const film of [0, 1]) expect(Math.max(...coverage.subarray(film * 128, film * 128 + 128))).toBeGreaterThan(60)
  })
})
