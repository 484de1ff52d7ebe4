import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { evaluate, evaluateValues } from './evaluate.ts'
import { input, parameter, type Shape, sizeOf, trace, type Value } from './graph.ts'
import * as op from './ops.ts'

const count = (shape: Shape): number[] => Array.from({ length: sizeOf(shape) }, (_, k) => k + 1)
const numbers = (value: Value, inputs: Record<string, readonly number[]> = {}): number[] =>
  Array.from(evaluateValues([value], { inputs })[0]?.data ?? [])

describe('evaluate', () => {
  it('gives named outputs of inputs and parameters', () => {
    const graph = trace(() => {
      const x = input('x', [2])
      return { total: op.sum(x), scaled: op.multiply(x, parameter('scale', [2], { kind: 'ones' })) }
    })
    const { total, scaled } = evaluate(graph, { inputs: { x: [1, 2] }, parameters: { scale: [10, 100] } })
    expect([total?.shape, Array.from(total?.data ?? [])]).toEqual([[1], [3]])
    expect(Array.from(scaled?.data ?? [])).toEqual([10, 200])
  })

  it('says which leaf is not fed, or misfed', () => {
    const graph = trace(() => ({ out: op.add(input('x', [2]), parameter('w', [2], { kind: 'ones' })) }))
    expect(() => evaluate(graph, { inputs: {} })).toThrow('input x is not fed; pass it under that name')
    expect(() => evaluate(graph, { inputs: { x: [1, 2] } })).toThrow('parameter w is not fed')
    expect(() => evaluate(graph, { inputs: { x: [1] } })).toThrow('input x got 1 numbers, [2] takes 2')
  })

  // Computed with forty digits.
  it.each([
    [1e-9, 1.1283791670955127e-9],
    [0.01, 0.011283415555849618],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [2.4999999, 0.9995930477647266],
    [2.5, 0.999593047982555],
    [3, 0.9999779095030014],
    [5, 0.9999999999984626],
    [10, 1],
    [-0.7, -0.6778011938374184],
  ])('knows erf(%s) to the last digits', (x, expected) => {
    expect(Math.abs((numbers(op.erf(op.constant([x])))[0] ?? 0) / expected - 1)).toBeLessThan(1e-14)
  })

  it('broadcasts as numpy does', () => {
    const sum = op.add(op.constant([1, 2, 3], [3, 1]), op.constant([10, 20, 30, 40], [2, 1, 2]))
    expect(sum.shape).toEqual([2, 3, 2])
    expect(numbers(sum)).toEqual([11, 21, 12, 22, 13, 23, 31, 41, 32, 42, 33, 43])
  })

  it('moves numbers where the definitions say', () => {
    const x = op.constant(count([2, 3]), [2, 3])
    expect(numbers(op.transpose(x, [1, 0]))).toEqual([1, 4, 2, 5, 3, 6])
    expect(numbers(op.slice(x, 1, 1))).toEqual([2, 3, 5, 6])
    expect(numbers(op.pad(x, [0, 1], [1, 0]))).toEqual([0, 1, 2, 3, 0, 4, 5, 6, 0, 0, 0, 0])
    expect(numbers(op.concatenate([x, op.constant([7, 8], [2, 1])], 1))).toEqual([1, 2, 3, 7, 4, 5, 6, 8])
    expect(numbers(op.broadcast(op.constant([1, 2], [2, 1]), [2, 3]))).toEqual([1, 1, 1, 2, 2, 2])
    const picks = op.constant(Int32Array.of(2, 0, 2))
    expect(numbers(op.gather(x, picks, 1))).toEqual([3, 1, 3, 6, 4, 6])
    expect(numbers(op.scatterAdd(x, picks, 1, 4))).toEqual([2, 0, 4, 0, 5, 0, 10, 0])
  })

  it('moves a random index by arithmetic on indices alone', () => {
    const shape = [2, 3, 4, 5]
    const [x, data] = [input('x', shape), count(shape)]
    const position = ([a, b, c, d]: readonly number[], [, p, q, r]: readonly number[]) =>
      (((a as number) * (p as number) + (b as number)) * (q as number) + (c as number)) * (r as number) + (d as number)
    fc.assert(
      fc.property(
        fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }),
        fc.tuple(fc.nat(1), fc.nat(2), fc.nat(3), fc.nat(4)),
        (permutation, index) => {
          const moved = op.transpose(x, permutation)
          const target = permutation.map((axis) => index[axis] as number)
          expect(numbers(moved, { x: data })[position(target, moved.shape)]).toBe(data[position(index, shape)])
        },
      ),
    )
  })

  it('multiplies stacks of matrices', () => {
    const [a, b] = [op.constant(count([2, 1, 2]), [2, 1, 2]), op.constant([1, 10, 100, 1000], [2, 2])]
    expect(numbers(op.matmul(a, b))).toEqual([201, 2010, 403, 4030])
  })

  it('convolves as written out by hand', () => {
    // A corner of zeros above and to the left, a stride of two down and one across.
    const x = op.constant(count([1, 1, 3, 2]), [1, 1, 3, 2])
    const y = op.convolution(x, op.constant([1, 10, 100, 1000], [1, 1, 2, 2]), [2, 1], [1, 1, 0, 0])
    expect(y.shape).toEqual([1, 1, 2, 2])
    expect(numbers(y)).toEqual([1000, 2100, 5030, 6543])
  })

  it('holds the adjoints of a convolution to ⟨conv(x, k), y⟩ = ⟨x, convᵀ(y, k)⟩ = ⟨k, conv*(x, y)⟩', () => {
    const random = (shape: Shape, seed: number) =>
      op.sin(
        op.constant(
          count(shape).map((k) => k * seed),
          shape,
        ),
      )
    const geometry = { stride: [2, 1], padding: [1, 0, 0, 2] } as const
    const [x, k] = [random([2, 3, 5, 4], 1.7), random([4, 3, 2, 3], 2.3)]
    const image = op.convolution(x, k, geometry.stride, geometry.padding)
    const y = random(image.shape, 0.9)
    const inner = (a: Value, b: Value) => numbers(op.sum(op.multiply(a, b)))[0]
    const back = op.primitive('convolutionInput', [y, k], { ...geometry, size: [5, 4] })
    const kernel = op.primitive('convolutionKernel', [x, y], { ...geometry, size: [2, 3] })
    expect(inner(x, back)).toBeCloseTo(inner(image, y) as number, 10)
    expect(inner(k, kernel)).toBeCloseTo(inner(image, y) as number, 10)
  })

  it('reduces over the axes named, keeping them', () => {
    const x = op.constant([1, 5, 3, -4, -2, -6], [2, 3])
    expect(numbers(op.sum(x, [1]))).toEqual([9, -12])
    expect(numbers(op.max(x, [0]))).toEqual([1, 5, 3])
    expect(numbers(op.max(x, [1]))).toEqual([5, -2])
    expect(op.max(x, [1]).shape).toEqual([2, 1])
  })

  it('lets what is not a number through', () => {
    const x = op.constant([Number.NaN, 1])
    expect(numbers(op.max(x))).toEqual([Number.NaN])
    expect(numbers(op.relu(x))).toEqual([Number.NaN, 1])
  })

  it('refuses an index that is no row', () => {
    const rows = input('rows', [1], 'int32')
    const picked = op.gather(op.constant([1, 2, 3]), rows)
    for (const odd of [-1, 3, 0.5]) {
      expect(() => numbers(picked, { rows: [odd] })).toThrow(`got the index ${odd}, allowed are 0 to 2`)
    }
  })

  it('computes each shared value once, however deep the graph', () => {
    let deep: Value = input('x', [1])
    // Without sharing this would take 2¹⁰⁰⁰ additions; by recursion, too deep a stack.
    for (let step = 0; step < 1000; step++) deep = op.multiply(op.add(deep, deep), 0.5)
    for (let step = 0; step < 20_000; step++) deep = op.negate(deep)
    expect(numbers(deep, { x: [3] })).toEqual([3])
  })
})
