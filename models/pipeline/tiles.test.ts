import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Span, type Tiling, tilesOf, tilingOf } from './tiles.ts'

const side = fc.integer({ min: 1, max: 40 })
const options = fc.record({
  height: side,
  width: side,
  reach: fc.integer({ min: 1, max: 12 }),
  stride: fc.constantFrom(1, 2, 8),
  cellBytes: fc.constantFrom(1, 7),
  budget: fc.integer({ min: 1, max: 3000 }),
})

const sizeOf = ({ rows: [row], columns: [column] }: Tiling) =>
  [row, column].map((span) => (span ? span.to - span.from : 0))

/** The sum of all spans' shares at each pixel. */
function sums(spans: readonly Span[], length: number, stride: number): number[] {
  const out = new Array<number>(length * stride).fill(0)
  for (const { from, shares } of spans)
    shares.forEach((share, pixel) => {
      out[from * stride + pixel] = (out[from * stride + pixel] as number) + share
    })
  return out
}

describe('a tiling', () => {
  it('gives every pixel to tiles whose shares add up to one, all of one size and inside the picture', () => {
    fc.assert(
      fc.property(options, (given) => {
        const tiling = tilingOf(given)
        for (const [spans, length] of [
          [tiling.rows, given.height],
          [tiling.columns, given.width],
        ] as const) {
          for (const sum of sums(spans, length, given.stride)) expect(sum).toBeCloseTo(1, 5)
          expect(new Set(spans.map(({ from, to }) => to - from)).size).toBe(1)
          for (const { from, to } of spans) expect([from >= 0, to <= length]).toEqual([true, true])
        }
      }),
      { seed: 3 },
    )
  })

  it('holds no tile beyond the budget, unless that is below three by three cells', () => {
    fc.assert(
      fc.property(options, (given) => {
        const [tall = 0, wide = 0] = sizeOf(tilingOf(given))
        expect(tall * wide * given.cellBytes).toBeLessThanOrEqual(Math.max(given.budget, 9 * given.cellBytes))
      }),
      { seed: 4 },
    )
  })

  it('takes nothing of a tile that is nearer than the margin to a border inside the picture', () => {
    fc.assert(
      fc.property(options, (given) => {
        const { rows, margin } = tilingOf(given)
        const sure = Math.min(margin, given.reach)
        // Faded tiles show the better half of their margin.
        const hidden = (sure < given.reach ? sure - Math.max(1, Math.floor(sure / 2)) : sure) * given.stride
        for (const { from, to, shares } of rows) {
          const shown = [...shares.keys()].filter((pixel) => (shares[pixel] as number) > 0)
          if (from > 0) expect(shown[0]).toBeGreaterThanOrEqual(hidden)
          if (to < given.height) expect(shown.at(-1)).toBeLessThan(shares.length - hidden)
        }
      }),
      { seed: 5 },
    )
  })

  it('is the whole picture where the budget allows it, and exact where that is bearable', () => {
    const given = { height: 60, width: 104, reach: 18, stride: 8, cellBytes: 1 }
    expect(tilesOf(tilingOf({ ...given, budget: 60 * 104 }))).toHaveLength(1)
    expect(tilingOf({ ...given, budget: 60 * 70 }).margin).toBe(18)
    expect(tilingOf({ ...given, budget: 400 }).margin).toBeLessThan(18)
  })
})
