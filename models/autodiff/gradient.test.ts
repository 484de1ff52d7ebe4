import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { attention, gelu, layerNorm, rmsNorm, rope, softmax } from '../graph/composites.ts'
import { evaluateValues } from '../graph/evaluate.ts'
import { type Graph, input, trace, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { rewrite } from '../graph/passes.ts'
import { type GradientCase, worstError, worstSecondError } from './differences.ts'
import { gradient, vjp } from './gradient.ts'

const scalar = (x: Value): Value => op.reshape(x, [])
const numbers = (values: readonly Value[], x: readonly number[]): number[][] =>
  evaluateValues(values, { inputs: { x } }).map(({ data }) => Array.from(data))

/** Steps from [2, 3, 4] to itself, with a matrix [4, 4] and a kernel [3, 3, 2, 2] to draw on. */
const steps: readonly ((x: Value, matrix: Value, kernel: Value) => Value)[] = [
  op.tanh,
  op.silu,
  (x) => gelu(x),
  (x) => softmax(x),
  (x) => layerNorm(x, 1e-2),
  (x, matrix) => rmsNorm(x, op.slice(op.reshape(matrix, [16]), 0, 4, 8), 1e-2),
  (x, matrix) => op.matmul(x, matrix),
  (x, matrix) => op.add(x, op.tanh(op.matmul(x, op.swapLast(matrix)))),
  (x) => attention(x, op.sin(x), x, 2),
  (x, matrix) => {
    const angles = op.slice(op.reshape(matrix, [8, 2]), 0, 0, 3)
    return rope(x, op.cos(angles), op.sin(angles), 1)
  },
  (x, _, kernel) => {
    const convolved = op.convolution(op.reshape(x, [2, 3, 2, 2]), kernel, [1, 1], [1, 0, 0, 1])
    return op.reshape(convolved, [2, 3, 4])
  },
  (x) => op.gather(x, op.constant(Int32Array.of(2, 0, 2)), 1),
  (x) => op.subtract(x, op.mean(x, [0, 1])),
  (x) => op.concatenate([op.slice(x, -1, 2), op.exp(op.negate(op.square(op.slice(x, -1, 0, 2))))], -1),
  (x) => op.transpose(op.reshape(op.transpose(x, [2, 0, 1]), [3, 4, 2]), [2, 0, 1]),
  (x) => op.slice(op.slice(op.pad(op.sin(x), [0, 1, 0], [0, 0, 1]), 1, 0, 3), 2, 1),
]

const composition = (chosen: readonly number[]): GradientCase => ({
  shapes: [
    [2, 3, 4],
    [4, 4],
    [3, 3, 2, 2],
  ],
  build: (x, matrix, kernel) =>
    chosen.reduce((value, index) => op.at(steps, index)(value, matrix as Value, kernel as Value), x as Value),
  place: (x) => 0.7 * x,
})

describe('gradient', () => {
  it('of random compositions agrees with central differences', () => {
    const chains = fc.array(fc.nat(steps.length - 1), { minLength: 2, maxLength: 5 })
    fc.assert(
      fc.property(chains, (chosen) => worstError(composition(chosen)) < 1e-6),
      { numRuns: 30, seed: 11 },
    )
  })

  it('of the gradient of a random composition agrees with central differences', () => {
    const chains = fc.array(fc.nat(steps.length - 1), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(chains, (chosen) => worstSecondError(composition(chosen)) < 1e-6),
      { numRuns: 10, seed: 12 },
    )
  })

  it('of a small transformer agrees with central differences', () => {
    const network: GradientCase = {
      shapes: [[2, 3, 4], [4, 12], [4, 8], [8, 4], [4]],
      build: (tokens, qkv, up, down, scale) => {
        const [q, k, v] = op.split(op.matmul(layerNorm(tokens as Value), qkv as Value), 3, -1) as [Value, Value, Value]
        const heard = op.add(tokens as Value, attention(q, k, v, 2))
        const inner = gelu(op.matmul(rmsNorm(heard, scale as Value), up as Value))
        return op.add(heard, op.matmul(inner, down as Value))
      },
    }
    expect(worstError(network)).toBeLessThan(1e-6)
  })

  it('of a small convolutional network agrees with central differences', () => {
    const network: GradientCase = {
      shapes: [
        [1, 2, 6, 6],
        [3, 2, 3, 3],
        [2, 3, 2, 2],
      ],
      build: (image, first, second) => {
        const down = op.silu(op.convolution(image as Value, first as Value, [2, 2], [1, 1, 1, 1]))
        return op.tanh(op.convolution(down, second as Value))
      },
    }
    expect(worstError(network)).toBeLessThan(1e-6)
  })

  it('gives derivatives of every order', () => {
    const x = input('x', [1])
    const derivatives = [scalar(op.multiply(op.square(op.square(x)), x))]
    for (let order = 0; order < 5; order++) {
      derivatives.push(scalar(gradient(op.at(derivatives, order), [x])[0] as Value))
    }
    expect(numbers(derivatives, [2]).flat()).toEqual([32, 80, 160, 240, 240, 120])
  })

  it('adds up over every path', () => {
    const x = input('x', [2])
    const shared = op.exp(x)
    const [slope] = gradient(scalar(op.sum(op.add(op.multiply(shared, x), shared))), [x])
    // d/dx (x eˣ + eˣ) = (x + 2) eˣ
    expect(numbers([slope as Value], [0, 1])[0]).toEqual([2, 3 * Math.E])
  })

  it('is zero for what the loss does not reach, and in its shape', () => {
    const [x, idle] = [input('x', [2]), input('idle', [3, 1])]
    const [, none] = gradient(scalar(op.sum(x)), [x, idle])
    expect(none?.shape).toEqual([3, 1])
    expect(numbers([none as Value], [1, 2])).toEqual([[0, 0, 0]])
  })

  it('reaches values in the middle of a graph', () => {
    const x = input('x', [2])
    const middle = softmax(x)
    const [slope] = gradient(scalar(op.sum(op.square(middle))), [middle])
    const [values, slopes] = numbers([middle, slope as Value], [0.3, -1])
    expect(slopes).toEqual(values?.map((value) => 2 * value))
  })

  it('does not pass stopGradient', () => {
    const x = input('x', [3])
    const slope = (build: (y: Value) => Value) => gradient(scalar(op.sum(build(x))), [x])[0] as Value
    const stopped = slope((y) => op.multiply(y, op.stopGradient(y)))
    expect(numbers([stopped], [1, -2, 3])).toEqual([[1, -2, 3]])
    expect(numbers([slope((y) => op.stopGradient(op.square(y)))], [1, -2, 3])).toEqual([[0, 0, 0]])
  })

  it('pulls back several outputs with their seeds', () => {
    const x = input('x', [2])
    const seeds = [op.constant([1, 10]), op.constant([100, 1000])]
    const [pulled] = vjp([op.square(x), op.negate(x)], seeds, [x])
    expect(numbers([pulled as Value], [3, 5])).toEqual([[6 - 100, 100 - 1000]])
  })

  it('keeps the shape of every variable', () => {
    const graph: Graph = trace(() => {
      const inputs = [input('x', [2, 1, 4]), input('matrix', [4, 4]), input('kernel', [1])]
      const loss = scalar(op.sum(op.multiply(op.matmul(inputs[0] as Value, inputs[1] as Value), inputs[2] as Value)))
      return Object.fromEntries(gradient(loss, inputs).map((slope, index) => [inputs[index]?.attributes.name, slope]))
    })
    const shapes = [...rewrite(graph).outputs].map(([name, { shape }]) => [name, shape])
    expect(shapes).toEqual([
      ['x', [2, 1, 4]],
      ['matrix', [4, 4]],
      ['kernel', [1]],
    ])
  })

  it('refuses a loss that is not a scalar', () => {
    const x = input('x', [2])
    expect(() => gradient(x, [x])).toThrow('gradient: the loss has shape [2], allowed is a scalar')
  })
})
