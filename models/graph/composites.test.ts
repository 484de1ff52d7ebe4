import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import {
  attention,
  expansion,
  gelu,
  inverseDeviation,
  isComposite,
  layerNorm,
  neighbours,
  rmsNorm,
  rope,
  softmax,
  squaredRelu,
} from './composites.ts'
import { evaluateValues } from './evaluate.ts'
import { input, type Shape, sizeOf, topologicalOrder, type Value } from './graph.ts'
import * as op from './ops.ts'

const random = (seed: number, ...shape: number[]): number[] => Array.from(gaussian(seed, 0, 0, sizeOf(shape)))
const numbers = (value: Value, inputs: Record<string, readonly number[]> = {}): number[] =>
  Array.from(evaluateValues([value], { inputs })[0]?.data ?? [])
const x = (...shape: number[]) => input('x', shape)
const table = (values: readonly number[], shape: Shape) => op.constant(values, shape)
const dot = (a: readonly number[], b: readonly number[]) =>
  a.reduce((sum, value, k) => sum + value * (b[k] as number), 0)

function expectClose(got: readonly number[], expected: readonly number[], digits = 12): void {
  expect(got.length).toBe(expected.length)
  got.forEach((value, index) => {
    expect(value).toBeCloseTo(expected[index] as number, digits)
  })
}

describe('a composite', () => {
  it('expands to primitives and composites of its own shape, the same ones every time', () => {
    const angles = table([1, 2, 3, 4], [2, 2])
    const all = [
      softmax(x(2, 8)),
      layerNorm(x(2, 8)),
      rmsNorm(x(2, 8), op.constant(random(1, 8))),
      inverseDeviation(x(2, 8), 1e-6, true),
      squaredRelu(x(2, 8)),
      neighbours(x(2, 3, 2, 4)),
      gelu(x(2, 8)),
      gelu(x(2, 8), 'none'),
      rope(x(1, 2, 8), angles, angles, 2),
      attention(x(1, 2, 8), input('k', [1, 3, 8]), input('v', [1, 3, 8]), 2),
    ]
    for (const each of all) {
      if (!isComposite(each)) throw new TypeError(`${each.op} is no composite`)
      expect(expansion(each)).toBe(expansion(each))
      expect(expansion(each).shape).toEqual(each.shape)
      expect(topologicalOrder([expansion(each)])).not.toContain(each)
    }
  })

  it('neighbours lays the nine cells around each side by side, zeros beyond the border', () => {
    const around = numbers(neighbours(x(1, 2, 2, 1)), { x: [1, 2, 3, 4] })
    expect(around.slice(0, 9)).toEqual([0, 0, 0, 0, 1, 2, 0, 3, 4])
    expect(around.slice(27)).toEqual([1, 2, 0, 3, 4, 0, 0, 0, 0])
  })

  it('softmax gives shares that sum to one and ignore a common offset, however large', () => {
    const data = [1, 2, 3, -1, 0, 700]
    const shares = numbers(softmax(x(2, 3)), { x: data })
    const total = Math.exp(1) + Math.exp(2) + Math.exp(3)
    expectClose(
      shares.slice(0, 3),
      [1, 2, 3].map((value) => Math.exp(value) / total),
    )
    expectClose([dot(shares.slice(3), [1, 1, 1])], [1])
    expectClose(numbers(softmax(x(2, 3)), { x: data.map((value) => value + 1000) }), shares)
  })

  it('layer norm leaves mean zero and variance v / (v + ε)', () => {
    const row = [1, 2, 4, 9]
    const [mean, variance] = [4, (9 + 4 + 0 + 25) / 4]
    expectClose(
      numbers(layerNorm(x(1, 4), 0.5), { x: row }),
      row.map((value) => (value - mean) / Math.sqrt(variance + 0.5)),
    )
  })

  it('rms norm divides by the root of the mean square and scales', () => {
    const scale = op.constant([1, -2])
    expectClose(numbers(rmsNorm(x(1, 2), scale, 0.5), { x: [3, 4] }), [3 / Math.sqrt(13), -8 / Math.sqrt(13)])
  })

  it('the inverse deviation is what a norm multiplies by', () => {
    expectClose(numbers(inverseDeviation(x(1, 4), 0.5, true), { x: [1, 2, 4, 9] }), [1 / Math.sqrt(9.5 + 0.5)])
    expectClose(numbers(inverseDeviation(x(1, 2), 0.5, false), { x: [3, 4] }), [1 / Math.sqrt(13)])
  })

  it('squared relu squares what is positive', () => {
    expect(numbers(squaredRelu(x(3)), { x: [-2, 0.5, 3] })).toEqual([0, 0.25, 9])
  })

  it('gelu is x Φ(x), and its tanh form is near', () => {
    // Φ of the standard normal distribution, from tables.
    const [points, phi] = [
      [-3, -1, 0, 1, 2],
      [0.0013498980316301, 0.1586552539314571, 0.5, 0.8413447460685429, 0.9772498680518208],
    ]
    const exact = points.map((value, index) => value * (phi[index] as number))
    expectClose(numbers(gelu(x(5), 'none'), { x: points }), exact)
    const near = numbers(gelu(x(5)), { x: points })
    expectClose(near, exact, 2)
    expect(near).not.toEqual(exact)
  })
})

describe('rope', () => {
  const turn = (data: readonly number[], angles: readonly number[]) =>
    numbers(rope(x(1, 1, 4), table(angles.map(Math.cos), [1, 2]), table(angles.map(Math.sin), [1, 2]), 1), { x: data })

  it('turns each pair of a head by its angle, halves against each other', () => {
    const [first, second] = [0.3, 1.1]
    expectClose(turn([1, 0, 0, 2], [first, second]), [
      Math.cos(first),
      -2 * Math.sin(second),
      Math.sin(first),
      2 * Math.cos(second),
    ])
  })

  it('makes products depend on the difference of positions alone', () => {
    const [q, k] = [random(1, 4), random(2, 4)]
    const at = (position: number) => [position, 0.1 * position]
    const product = (a: number, b: number) => dot(turn(q, at(a)), turn(k, at(b)))
    expect(product(5, 3)).toBeCloseTo(product(102, 100), 10)
    expect(product(5, 3)).not.toBeCloseTo(product(5, 4), 3)
  })

  it('turns every head alike', () => {
    const angles = [table([0.1, 0.2], [1, 2]), table([0.3, 0.4], [1, 2])] as const
    const head = random(3, 4)
    const both = numbers(rope(x(1, 1, 8), ...angles, 2), { x: [...head, ...head] })
    expect(both.slice(0, 4)).toEqual(both.slice(4))
    expectClose(both.slice(0, 4), numbers(rope(x(1, 1, 4), ...angles, 1), { x: head }))
  })

  it('refuses tables of another length and odd heads', () => {
    expect(() => rope(x(1, 3, 4), table([1, 2], [1, 2]), table([1, 2], [1, 2]), 1)).toThrow(
      'rope got tables [1,2] and [1,2], takes [3,2]',
    )
    expect(() => rope(x(1, 3, 6), table([1], [1, 1]), table([1], [1, 1]), 2)).toThrow('wants an even head of 2')
  })
})

describe('attention', () => {
  const [batch, length, memory, heads, width] = [2, 3, 4, 2, 3]
  const [q, k, v] = [
    random(1, batch, length, heads * width),
    random(2, batch, memory, heads * width),
    random(3, batch, memory, heads * width),
  ] as const
  const attend = (bias?: { readonly shape: Shape; readonly data: readonly number[] }) =>
    numbers(
      attention(
        input('q', [batch, length, heads * width]),
        input('k', [batch, memory, heads * width]),
        input('v', [batch, memory, heads * width]),
        heads,
        bias && op.constant(bias.data, bias.shape),
      ),
      { q, k, v },
    )

  /** The definition, a loop per axis. */
  function written(biasOf: (b: number, h: number, t: number, s: number) => number): number[] {
    const out: number[] = []
    const row = (data: readonly number[], rows: number, b: number, t: number, h: number) => {
      const start = ((b * rows + t) * heads + h) * width
      return data.slice(start, start + width)
    }
    for (let b = 0; b < batch; b++) {
      for (let t = 0; t < length; t++) {
        for (let h = 0; h < heads; h++) {
          const logits = Array.from(
            { length: memory },
            (_, s) => dot(row(q, length, b, t, h), row(k, memory, b, s, h)) / Math.sqrt(width) + biasOf(b, h, t, s),
          )
          const powers = logits.map(Math.exp)
          const total = powers.reduce((sum, power) => sum + power)
          for (let d = 0; d < width; d++)
            out.push(powers.reduce((sum, p, s) => sum + (p / total) * (row(v, memory, b, s, h)[d] as number), 0))
        }
      }
    }
    return out
  }

  it('is the weighted mean of the definition', () => {
    expectClose(
      attend(),
      written(() => 0),
    )
  })

  it.each<[Shape, (b: number, h: number, t: number, s: number) => number]>([
    [[2, 2, 3, 4], (b, h, t, s) => ((b * 2 + h) * 3 + t) * 4 + s],
    [[2, 1, 1, 4], (b, _h, _t, s) => b * 4 + s],
    [[2, 3, 4], (_, h, t, s) => (h * 3 + t) * 4 + s],
    [[3, 4], (_b, _h, t, s) => t * 4 + s],
    [[4], (_b, _h, _t, s) => s],
  ])('takes a bias of shape [%s]', (shape, index) => {
    const data = random(4, ...shape)
    expectClose(
      attend({ shape, data }),
      written((...place) => data[index(...place)] as number),
    )
  })

  it('does not look where the bias forbids', () => {
    const hidden = attend({ shape: [4], data: [0, 0, 0, -1e4] })
    expectClose(
      hidden,
      written((_b, _h, _t, s) => (s === 3 ? -1e4 : 0)),
    )
    expect(hidden).not.toEqual(attend())
  })

  it('refuses what does not fit', () => {
    const [query, key] = [x(1, 3, 4), input('k', [1, 5, 4])]
    expect(() => attention(query, key, key, 3)).toThrow('attention of width 4 does not divide into 3 heads')
    expect(() => attention(query, key, input('v', [1, 6, 4]), 2)).toThrow('content [1,6,4], takes [1,5,4]')
    expect(() => attention(query, key, key, 2, op.constant([1, 2, 3]))).toThrow('differ at 3 and 5')
    expect(() => attention(query, key, key, 2, op.constant(random(1, 2, 1, 1, 1), [2, 1, 1, 1]))).toThrow(
      'attention got a bias [2,1,1,1], takes what broadcasts to [1,2,3,5]',
    )
  })
})
