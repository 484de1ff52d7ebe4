import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { evaluate } from '../graph/evaluate.ts'
import { input, trace, type Value } from '../graph/graph.ts'
import { groupNorm, pixelNorm } from './norm.ts'

const x = gaussian(2, 0, 0, 2 * 4 * 3)

function run(build: (x: Value) => Value, parameters: Readonly<Record<string, ArrayLike<number>>> = {}): Float64Array {
  const graph = trace(() => ({ out: build(input('x', [2, 4, 3])) }))
  return evaluate(graph, { inputs: { x }, parameters }).out?.data ?? new Float64Array()
}

describe('group norm', () => {
  it('gives each group mean 0 and variance 1 before weight and bias', () => {
    const y = run((each) => groupNorm('norm', each, 2, 0), { 'norm.weight': [1, 1, 1, 1], 'norm.bias': [0, 0, 0, 0] })
    for (let group = 0; group < 4; group++) {
      const part = y.subarray(group * 6, group * 6 + 6)
      const mean = part.reduce((total, value) => total + value, 0) / 6
      expect(mean).toBeCloseTo(0, 10)
      expect(part.reduce((total, value) => total + (value - mean) ** 2, 0) / 6).toBeCloseTo(1, 10)
    }
  })

  it('scales and shifts each channel by its own weight and bias', () => {
    const plain = run((each) => groupNorm('norm', each, 2, 0), {
      'norm.weight': [1, 1, 1, 1],
      'norm.bias': [0, 0, 0, 0],
    })
    const moved = run((each) => groupNorm('norm', each, 2, 0), {
      'norm.weight': [1, 2, 3, 4],
      'norm.bias': [5, 6, 7, 8],
    })
    moved.forEach((value, index) => {
      const channel = Math.floor(index / 3) % 4
      expect(value).toBeCloseTo((plain[index] as number) * (channel + 1) + channel + 5, 10)
    })
  })

  it('refuses groups that do not divide the channels', () => {
    expect(() => run((each) => groupNorm('norm', each, 3, 0))).toThrow('4 channels do not divide into 3 groups')
  })
})

describe('pixel norm', () => {
  it('gives every position a mean square of 1 over its channels', () => {
    const y = run((each) => pixelNorm(each, 0))
    for (let position = 0; position < 6; position++) {
      const at = (channel: number) => y[(Math.floor(position / 3) * 4 + channel) * 3 + (position % 3)] as number
      expect((at(0) ** 2 + at(1) ** 2 + at(2) ** 2 + at(3) ** 2) / 4).toBeCloseTo(1, 10)
    }
  })
})
