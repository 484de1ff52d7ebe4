import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { evaluate } from '../graph/evaluate.ts'
import { input, trace } from '../graph/graph.ts'
import { channelsIntoSpace, convolution3d, doubled, type FramesOptions } from './temporal.ts'

const [batch, frames, channels, height, width, out] = [2, 3, 2, 3, 4, 2] as const
const x = gaussian(1, 0, 0, batch * frames * channels * height * width)
const weight = gaussian(1, 1, 0, out * channels * 27)
const bias = gaussian(1, 2, 0, out)

/** A pixel of the clip: zero outside the frame; outside the clip the nearest frame, or zero. */
function pixel(b: number, f: number, c: number, row: number, column: number, beyond: 'nearest' | 'zero'): number {
  if (beyond === 'zero' && (f < 0 || f >= frames)) return 0
  if (row < 0 || row >= height || column < 0 || column >= width) return 0
  const frame = Math.min(Math.max(f, 0), frames - 1)
  return x[(((b * frames + frame) * channels + c) * height + row) * width + column] as number
}

/** The definition, one loop per axis; `shift` is the frame that the first tap sees, relative to the output's. */
function direct(
  b: number,
  f: number,
  o: number,
  row: number,
  column: number,
  shift: number,
  beyond: 'nearest' | 'zero',
): number {
  let total = bias[o] as number
  for (let c = 0; c < channels; c++)
    for (let t = 0; t < 3; t++)
      for (let i = 0; i < 3; i++)
        for (let j = 0; j < 3; j++)
          total +=
            (weight[(((o * channels + c) * 3 + t) * 3 + i) * 3 + j] as number) *
            pixel(b, f + t + shift, c, row + i - 1, column + j - 1, beyond)
  return total
}

function convolved(padding: FramesOptions['padding']): Float64Array {
  const graph = trace(() => ({
    out: convolution3d('conv', input('x', [batch * frames, channels, height, width]), out, 3, { frames, padding }),
  }))
  const parameters = { 'conv.weight': weight, 'conv.bias': bias }
  return evaluate(graph, { inputs: { x }, parameters }).out?.data ?? new Float64Array()
}

describe('a convolution over frames', () => {
  it.each([
    ['replicate', -1],
    ['causal', -2],
    ['zeros', -1],
  ] as const)('equals its definition with %s padding', (padding, shift) => {
    const got = convolved(padding)
    expect(got.length).toBe(batch * frames * out * height * width)
    got.forEach((value, index) => {
      const [column, row] = [index % width, Math.floor(index / width) % height]
      const [o, f] = [Math.floor(index / width / height) % out, Math.floor(index / width / height / out) % frames]
      const b = Math.floor(index / width / height / out / frames)
      expect(value).toBeCloseTo(direct(b, f, o, row, column, shift, padding === 'zeros' ? 'zero' : 'nearest'), 10)
    })
  })
})

describe('doubled', () => {
  it('repeats every pixel in both directions', () => {
    const graph = trace(() => ({ out: doubled(input('x', [1, 1, 2, 2])) }))
    const got = evaluate(graph, { inputs: { x: [1, 2, 3, 4] } }).out
    expect(got?.shape).toEqual([1, 1, 4, 4])
    expect([...(got?.data ?? [])]).toEqual([1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4])
  })
})

describe('channels into space', () => {
  it('lie row by row within each cell', () => {
    const graph = trace(() => ({ out: channelsIntoSpace(input('x', [1, 8, 1, 2]), 2) }))
    const got = evaluate(graph, { inputs: { x: Array.from({ length: 16 }, (_, n) => n) } }).out
    expect(got?.shape).toEqual([1, 2, 2, 4])
    expect([...(got?.data ?? [])]).toEqual([0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15])
  })
})
