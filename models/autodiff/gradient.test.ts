import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import {
  attention,
  expansion,
  gelu,
  isComposite,
  layerNorm,
  rmsNorm,
  rope,
  softmax,
  squaredRelu,
} from '../graph/composites.ts'
import { evaluateValues } from '../graph/evaluate.ts'
import { type Composite, input, type Primitive, sizeOf, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { gradient } from './gradient.ts'
import { compositeRules } from './vjp.ts'

interface Case {
  readonly shapes: readonly (readonly number[])[]
  readonly build: (...inputs: Value[]) => Value
  /** Moves standard normal numbers to where the op is smooth. */
  readonly place?: (x: number) => number
}

const unary = (build: (x: Value) => Value, place?: (x: number) => number): Case => ({
  shapes: [[2, 3]],
  build,
  ...(place ? { place } : {}),
})
const binary = (build: (a: Value, b: Value) => Value, place?: (x: number) => number): Case => ({
  shapes: [
    [2, 3, 4],
    [3, 1],
  ],
  build: (a, b) => build(a as Value, b as Value),
  ...(place ? { place } : {}),
})
const positive = (x: number) => Math.abs(x) + 0.5
const awayFromZero = (x: number) => x + Math.sign(x) * 0.3
const indices = op.constant(Int32Array.of(2, 0, 2), [3])
const strided = { stride: [2, 1], padding: [1, 0, 0, 1] } as const

/** A graph per primitive through which a gradient flows; total, so a new primitive without a case does not compile. */
const cases = {
  input: unary((x) => op.multiply(x, 2)),
  parameter: unary((x) => op.multiply(x, 3)),
  constant: unary((x) => op.add(x, op.constant([1, 2, 3]))),
  negate: unary(op.negate),
  exp: unary(op.exp),
  log: unary(op.log, positive),
  sqrt: unary(op.sqrt, positive),
  reciprocal: unary(op.reciprocal, positive),
  sin: unary(op.sin),
  cos: unary(op.cos),
  tanh: unary(op.tanh),
  erf: unary(op.erf),
  sigmoid: unary(op.sigmoid),
  abs: unary(op.abs, awayFromZero),
  relu: unary(op.relu, awayFromZero),
  add: binary(op.add),
  subtract: binary(op.subtract),
  multiply: binary(op.multiply),
  divide: binary(op.divide, positive),
  maximum: binary(op.maximum),
  minimum: binary(op.minimum),
  less: binary((a, b) => op.select(op.less(a, b), a, op.multiply(b, 2))),
  equal: binary((a, b) => op.select(op.equal(a, b), a, op.multiply(b, 2))),
  select: binary((a, b) => op.select(op.less(a, 0), op.multiply(a, b), b)),
  sum: unary((x) => op.square(op.sum(x, [1]))),
  max: unary((x) => op.max(x, [1])),
  reshape: unary((x) => op.square(op.reshape(x, [3, 2]))),
  transpose: { shapes: [[2, 3, 4]], build: (x) => op.square(op.transpose(x, [2, 0, 1])) },
  broadcast: {
    shapes: [[3, 1]],
    build: (x) => op.multiply(op.broadcast(x, [2, 3, 4]), op.constant(ramp(24), [2, 3, 4])),
  },
  slice: unary((x) => op.square(op.slice(x, 1, 1, 3))),
  pad: unary((x) => op.multiply(op.pad(x, [1, 0], [0, 2]), op.constant(ramp(15), [3, 5]))),
  concatenate: {
    shapes: [
      [2, 3],
      [2, 1],
    ],
    build: (a, b) => op.square(op.concatenate([a, b, a], 1)),
  },
  gather: { shapes: [[4, 3]], build: (x) => op.square(op.gather(x, indices)) },
  scatterAdd: { shapes: [[3, 2]], build: (x) => op.square(op.scatterAdd(x, indices, 0, 4)) },
  matmul: {
    shapes: [
      [2, 3, 4],
      [4, 5],
    ],
    build: op.matmul,
  },
  convolution: {
    shapes: [
      [2, 3, 5, 4],
      [2, 3, 3, 2],
    ],
    build: (x, k) => op.convolution(x, k, strided.stride, strided.padding),
  },
  convolutionInput: {
    shapes: [
      [1, 2, 2, 4],
      [2, 3, 3, 2],
    ],
    build: (y, k) => op.primitive('convolutionInput', [y, k], { ...strided, size: [5, 4] }),
  },
  convolutionKernel: {
    shapes: [
      [1, 3, 5, 4],
      [1, 2, 2, 4],
    ],
    build: (x, y) => op.primitive('convolutionKernel', [x, y], { ...strided, size: [3, 2] }),
  },
  cast: unary((x) => op.square(op.cast(x, 'float16'))),
  stopGradient: unary((x) => op.add(op.square(x), op.stopGradient(x))),
} as const satisfies Readonly<Record<Primitive, Case>>

const compositeCases = {
  softmax: { shapes: [[2, 4]], build: softmax },
  layerNorm: { shapes: [[2, 5]], build: (x) => layerNorm(x, 1e-3) },
  rmsNorm: { shapes: [[2, 5], [5]], build: (x, scale) => rmsNorm(x, scale, 1e-3) },
  squaredRelu: unary(squaredRelu, awayFromZero),
  gelu: unary((x) => op.add(gelu(x, 'tanh'), gelu(x, 'none'))),
  rope: { shapes: [[2, 3, 8]], build: (x) => rope(x, op.constant(ramp(6), [3, 2]), op.constant(ramp(6), [3, 2]), 2) },
  attention: {
    shapes: [
      [2, 3, 4],
      [2, 5, 4],
      [2, 5, 4],
      [2, 1, 1, 5],
    ],
    build: (q, k, v, bias) => attention(q, k, v, 2, bias),
  },
} as const satisfies Readonly<Record<Composite, Case>>

function ramp(length: number): number[] {
  return Array.from({ length }, (_, index) => 0.3 + 0.2 * index - 0.01 * index * index)
}

/** The loss: outputs weighted by fixed numbers, so that no gradient is zero by symmetry. */
function weighted(y: Value): Value {
  return op.reshape(op.sum(op.multiply(y, op.constant(Array.from(gaussian(3, 9, 0, sizeOf(y.shape))), y.shape))), [])
}

/**
 * The largest relative difference between `gradientOf` and central differences over all elements of all inputs.
 */
function worstError({ shapes, build, place = (x) => x }: Case, gradientOf = gradient): number {
  const inputs = shapes.map((shape, index) => input(`x${index}`, shape))
  const loss = weighted(build(...inputs))
  const point = Object.fromEntries(
    shapes.map((shape, index) => [`x${index}`, Float64Array.from(gaussian(7, index, 0, sizeOf(shape)), place)]),
  )
  const analytic = evaluateValues(gradientOf(loss, inputs), { inputs: point })
  const at = (name: string, element: number, step: number) => {
    const moved = Float64Array.from(point[name] as Float64Array)
    moved[element] = (moved[element] as number) + step
    return evaluateValues([loss], { inputs: { ...point, [name]: moved } })[0]?.data[0] as number
  }
  let worst = 0
  shapes.forEach((shape, index) => {
    for (let element = 0; element < sizeOf(shape); element++) {
      const [name, h] = [`x${index}`, 1e-5]
      // Fourth order: the error of the differences stays far below the bound.
      const numeric =
        (8 * (at(name, element, h) - at(name, element, -h)) - (at(name, element, 2 * h) - at(name, element, -2 * h))) /
        (12 * h)
      const exact = analytic[index]?.data[element] as number
      worst = Math.max(worst, Math.abs(numeric - exact) / Math.max(1, Math.abs(numeric)))
    }
  })
  return worst
}

describe('gradient', () => {
  for (const [name, each] of Object.entries(cases) as [Primitive, Case][]) {
    if (name === 'stopGradient') continue
    it(`of ${name} agrees with central differences`, () => {
      expect(worstError(each)).toBeLessThan(1e-6)
    })
  }

  for (const [name, each] of Object.entries(compositeCases) as [Composite, Case][]) {
    it(`of ${name} agrees with central differences`, () => {
      expect(worstError(each)).toBeLessThan(1e-6)
    })
  }

  it('does not pass stopGradient', () => {
    const x = input('x', [2, 3])
    const stopped = gradient(weighted(cases.stopGradient.build(x)), [x])
    const plain = gradient(weighted(op.square(x)), [x])
    const [a, b] = evaluateValues([...stopped, ...plain], { inputs: { x: [1, 2, 3, 4, 5, 6] } })
    expect(a?.data).toEqual(b?.data)
  })

  it('of a composite with its own rule equals that of its expansion', () => {
    for (const [name, { shapes, build }] of Object.entries(compositeCases) as [Composite, Case][]) {
      if (compositeRules[name] === undefined || name === 'gelu') continue
      const inputs = shapes.map((shape, index) => input(`x${index}`, shape))
      const whole = build(...inputs)
      if (!isComposite(whole)) throw new TypeError(`${name}: the case gives a ${whole.op}`)
      const feeds = {
        inputs: Object.fromEntries(shapes.map((shape, index) => [`x${index}`, gaussian(2, index, 0, sizeOf(shape))])),
      }
      const own = evaluateValues(gradient(weighted(whole), inputs), feeds)
      const through = evaluateValues(gradient(weighted(expansion(whole)), inputs), feeds)
      own.forEach(({ data }, index) => {
        data.forEach((value, element) => {
          expect(value).toBeCloseTo(through[index]?.data[element] as number, 10)
        })
      })
    }
  })

  it('is caught when a rule is broken', () => {
    const broken: typeof gradient = (loss, variables) =>
      gradient(loss, variables).map((each) => op.multiply(each, 1.00001))
    expect(worstError(cases.tanh, broken)).toBeGreaterThan(1e-6)
    expect(worstError(cases.matmul, broken)).toBeGreaterThan(1e-6)
  })

  it('of random compositions agrees with central differences', () => {
    const steps = [
      op.tanh,
      op.sigmoid,
      op.square,
      (x: Value) => softmax(x),
      (x: Value) => layerNorm(x, 1e-2),
      (x: Value) => op.matmul(x, op.swapLast(x)),
      (x: Value) => op.multiply(x, op.sum(x, [0])),
    ]
    fc.assert(
      fc.property(fc.array(fc.nat(steps.length - 1), { minLength: 1, maxLength: 5 }), (chosen) => {
        const build = (x: Value) =>
          chosen.reduce((value, index) => (steps[index] as (x: Value) => Value)(op.multiply(value, 0.5)), x)
        return worstError({ shapes: [[3, 3]], build }) < 1e-6
      }),
      { numRuns: 25, seed: 11 },
    )
  })

  it('can be differentiated again', () => {
    const x = input('x', [1])
    const third = op.reshape(op.multiply(op.square(x), x), [])
    const [first] = gradient(third, [x]) as [Value]
    const [second] = gradient(op.reshape(first, []), [x])
    expect(evaluateValues([second as Value], { inputs: { x: [2] } })[0]?.data[0]).toBeCloseTo(12, 10)
  })

  it('refuses a loss that is not a scalar', () => {
    const x = input('x', [2])
    expect(() => gradient(x, [x])).toThrow('gradient: the loss has shape [2], allowed is a scalar')
  })
})
