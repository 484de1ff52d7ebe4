import { describe, expect, it } from 'vitest'
import { evaluateValues } from './evaluate.ts'
import { input, type Shape, scope, type Value } from './graph.ts'
import * as op from './ops.ts'

const x = (...shape: number[]) => input('x', shape)
const y = (...shape: number[]) => input('y', shape)
const rows = (...shape: number[]) => op.constant(new Int32Array(shape.reduce((a, b) => a * b, 1)), shape)

describe('shapes', () => {
  it.each<[string, Value, Shape]>([
    ['broadcasting aligns at the right', op.add(x(2, 1, 4), y(3, 1)), [2, 3, 4]],
    ['a scalar broadcasts to anything', op.multiply(x(2, 3), 2), [2, 3]],
    ['select joins three shapes', op.select(op.less(x(2, 1, 1), 0), y(3, 1), 1), [2, 3, 1]],
    ['reductions keep their axes', op.sum(x(2, 3, 4), [0, -1]), [1, 3, 1]],
    ['a sum over all keeps the rank', op.sum(x(2, 3)), [1, 1]],
    ['a reduction over nothing is the value', op.max(x(2, 3), []), [2, 3]],
    ['a product of stacks broadcasts them', op.matmul(x(5, 1, 2, 3), y(4, 3, 6)), [5, 4, 2, 6]],
    ['indices take the place of their axis', op.gather(x(2, 9, 4), rows(3, 5), 1), [2, 3, 5, 4]],
    ['a negative axis counts from the end', op.gather(x(2, 9), rows(3), -1), [2, 3]],
    ['one index removes the axis', op.gather(x(2, 9), rows()), [9]],
    ['scattering puts the axis back', op.scatterAdd(x(2, 3, 5, 4), rows(3, 5), 1, 9), [2, 9, 4]],
    ['a slice takes negative bounds', op.slice(x(4, 5), -1, -3, -1), [4, 2]],
    ['padding adds on both sides', op.pad(x(2, 3), [1, 0], [0, 2]), [3, 5]],
    ['a convolution drops the rest of its stride', op.convolution(x(2, 3, 6, 5), y(7, 3, 3, 2), [2, 2]), [2, 7, 2, 2]],
    [
      'its padding is top, left, bottom, right',
      op.convolution(x(1, 1, 4, 4), y(1, 1, 2, 2), [1, 1], [1, 2, 3, 4]),
      [1, 1, 7, 9],
    ],
    ['comparisons give truth values of the joint shape', op.less(x(2, 1), y(3)), [2, 3]],
  ])('%s', (_, value, shape) => {
    expect(value.shape).toEqual(shape)
  })

  it('dtypes follow the inputs but for comparisons and casts', () => {
    const whole = op.cast(x(2), 'int32')
    expect([
      whole,
      op.add(whole, whole),
      op.equal(whole, whole),
      op.select(op.less(x(2), 0), whole, whole),
    ]).toMatchObject([{ dtype: 'int32' }, { dtype: 'int32' }, { dtype: 'bool' }, { dtype: 'int32' }])
  })
})

describe('a refusal says what was got:', () => {
  it.each<[() => unknown, string]>([
    [() => op.add(x(2, 3), y(2)), 'broadcast [2,3] and [2] differ at 3 and 2'],
    [() => op.matmul(x(3, 4), y(5, 2)), 'matmul [3,4] · [5,2]: inner sizes 4 and 5 differ'],
    [() => op.matmul(x(4), y(4, 2)), 'matmul [4] · [4,2]'],
    [() => op.reshape(x(2, 3), [4]), 'reshape [2,3] to [4]: 6 elements are not 4'],
    [() => op.broadcast(x(2, 3), [3]), 'broadcast [2,3] does not broadcast to [3]'],
    [() => op.transpose(x(2, 3), [0, 0]), 'transpose got [0,0], allowed is an order of the axes of [2,3]'],
    [() => op.transpose(x(2, 3), [1]), 'transpose got [1]'],
    [() => op.concatenate([x(2, 3), y(3, 3)], 1), 'concatenate [3,3] does not join [2,3] along axis 1'],
    [() => op.slice(x(4), 0, 3, 2), 'slice [3, 2) is not within an axis of 4'],
    [() => op.slice(x(4), 1, 0, 2), 'axis 1 is not an axis of [4]'],
    [() => op.pad(x(4), [-1], [0]), 'pad got [-1] and [0], allowed is 0 or more'],
    [() => op.split(x(4), 3, 0), 'split axis 0 of [4] does not divide into 3'],
    [() => op.gather(x(4), rows(2), 1), 'axis 1 is not an axis of [4]'],
    [() => op.scatterAdd(x(3, 2), rows(4), 0, 9), 'scatterAdd [3,2] does not hold rows for indices [4] at axis 0'],
    [() => op.convolution(x(1, 3, 4, 4), y(2, 4, 1, 1)), 'convolution 3 channels meet a kernel over 4'],
    [() => op.convolution(x(3, 4, 4), y(2, 4, 1, 1)), 'convolution got [3,4,4], wants four axes'],
    [() => op.constant([1, 2, 3], [2]), 'constant 3 elements do not fill [2]'],
  ])('%s', (build, message) => {
    expect(build).toThrow(message)
    expect(() => scope('layers.3', build)).toThrow('layers.3: ')
  })
})

describe('what builders simplify', () => {
  it('is the value itself where nothing would change', () => {
    const value = x(2, 3)
    const same = [
      op.add(value, 0),
      op.subtract(value, 0),
      op.multiply(1, value),
      op.divide(value, 1),
      op.reshape(op.reshape(value, [6]), [2, 3]),
      op.transpose(op.transpose(value, [1, 0]), [1, 0]),
      op.broadcast(value, [2, 3]),
      op.slice(value, 1, 0, 3),
      op.pad(value, [0, 0], [0, 0]),
      op.concatenate([value], 0),
      op.cast(value, 'float32'),
      op.sumTo(value, [2, 3]),
    ]
    for (const each of same) expect(each).toBe(value)
  })

  it('never changes the numbers of chained transposes and reshapes', () => {
    const data = Array.from({ length: 24 }, (_, k) => k)
    const chained = op.reshape(op.reshape(op.transpose(op.transpose(x(2, 3, 4), [2, 0, 1]), [2, 1, 0]), [6, 4]), [24])
    // [2, 3, 4] → [4, 2, 3] → [3, 2, 4]: element (b, a, c) of the last is element (a, b, c) of the first.
    const expected = [0, 1, 2].flatMap((b) => [0, 1].flatMap((a) => [0, 1, 2, 3].map((c) => (a * 3 + b) * 4 + c)))
    expect(Array.from(evaluateValues([chained], { inputs: { x: data } })[0]?.data ?? [])).toEqual(expected)
  })

  it('sums down to what was broadcast', () => {
    const summed = op.sumTo(x(2, 3, 4), [3, 1])
    expect(summed.shape).toEqual([3, 1])
    expect(Array.from(evaluateValues([summed], { inputs: { x: new Array(24).fill(1) } })[0]?.data ?? [])).toEqual([
      8, 8, 8,
    ])
  })
})
