import { describe, expect, it } from 'vitest'
import {
  attention,
  gelu,
  inverseDeviation,
  layerNorm,
  neighbours,
  rmsNorm,
  rope,
  softmax,
  squaredRelu,
} from '../graph/composites.ts'
import { evaluateValues } from '../graph/evaluate.ts'
import type { Composite, ConvolutionAttributes, Op, Primitive, Shape, Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { type GradientCase, lossOf, pointOf, worstError, worstSecondError } from './differences.ts'
import { gradient } from './gradient.ts'
import { compositeRules, type GradientRules, gradientRules, vjpRules } from './vjp.ts'

type Build = GradientCase['build']
type Cases = readonly GradientCase[]

const on = (shapes: readonly Shape[], build: (...inputs: Value[]) => Value, place?: (x: number) => number) => ({
  shapes,
  build,
  ...(place === undefined ? {} : { place }),
})
const unary = (build: (x: Value) => Value, place?: (x: number) => number): Cases =>
  [[2, 3], [1, 4, 1, 2], []].map((shape) => on([shape], build as Build, place))
/** Ranks that differ, sizes of one on either side, a scalar constant. */
const binary = (build: (a: Value, b: Value) => Value, place?: (x: number) => number): Cases => [
  on(
    [
      [2, 3, 4],
      [3, 1],
    ],
    build as Build,
    place,
  ),
  on(
    [
      [3, 1],
      [2, 1, 4],
    ],
    build as Build,
    place,
  ),
  on([[5], []], build as Build, place),
  on([[2, 3]], (a) => op.add(build(a as Value, op.constant(0.7)), build(op.constant(1.3), a as Value)), place),
]
const positive = (x: number) => Math.abs(x) + 0.5
const awayFromZero = (x: number) => x + Math.sign(x) * 0.3
const whole = (...values: number[]) => op.constant(Int32Array.from(values))
const ramp = (...shape: number[]) =>
  op.constant(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, k) => Math.cos(1 + k)),
    shape,
  )

/** Every combination matters: a stride that leaves a rest, uneven padding, kernels that are not square. */
const geometries: readonly (ConvolutionAttributes & { readonly kernel: readonly [number, number] })[] = [
  { stride: [1, 1], padding: [0, 0, 0, 0], kernel: [1, 1] },
  { stride: [1, 1], padding: [1, 1, 1, 1], kernel: [3, 3] },
  { stride: [2, 1], padding: [1, 0, 0, 1], kernel: [3, 2] },
  { stride: [2, 3], padding: [0, 2, 1, 0], kernel: [2, 3] },
]
const image = [5, 4] as const
function convolved(build: (x: Value, kernel: Value, geometry: (typeof geometries)[number]) => Value): Cases {
  return geometries.map((geometry) =>
    on(
      [
        [2, 2, ...image],
        [3, 2, ...geometry.kernel],
      ],
      (x, k) => build(x as Value, k as Value, geometry),
    ),
  )
}
const output = (x: Value, kernel: Value, { stride, padding }: ConvolutionAttributes) =>
  op.convolution(x, kernel, stride, padding)

/** Graphs through which each primitive's gradient flows; total, so a new primitive without a case does not compile. */
const cases = {
  input: unary((x) => op.multiply(x, 2)),
  parameter: unary((x) => op.multiply(x, 3)),
  constant: [on([[2, 3]], (x) => op.multiply(x as Value, op.constant([1, 2, 3])))],
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
  multiply: [...binary(op.multiply), ...unary(op.square)],
  divide: binary(op.divide, positive),
  maximum: binary(op.maximum),
  minimum: binary(op.minimum),
  less: binary((a, b) => op.select(op.less(a, b), op.sin(a), op.multiply(b, 2))),
  equal: binary((a, b) => op.select(op.equal(a, b), a, op.multiply(b, a))),
  select: [
    ...binary((a, b) => op.select(op.less(a, 0), op.multiply(a, b), op.exp(b))),
    on([[2, 1, 3], [4, 1], [3]], (c, a, b) => op.select(op.less(c as Value, 0), a as Value, b as Value)),
  ],
  sum: [
    on([[2, 3]], (x) => op.square(op.sum(x as Value))),
    on([[2, 3, 4]], (x) => op.square(op.sum(x as Value, [-2]))),
    on([[2, 3, 4]], (x) => op.square(op.mean(x as Value, [0, 2]))),
  ],
  max: [on([[2, 3]], (x) => op.max(x as Value)), on([[2, 3, 4]], (x) => op.square(op.max(x as Value, [0, -1])))],
  reshape: [on([[2, 3]], (x) => op.square(op.reshape(x as Value, [3, 1, 2])))],
  transpose: [
    on([[2, 3, 4]], (x) => op.square(op.transpose(x as Value, [2, 0, 1]))),
    on([[2, 3]], (x) => op.matmul(op.swapLast(x as Value), x as Value)),
  ],
  broadcast: [
    on([[3, 1]], (x) => op.square(op.broadcast(x as Value, [2, 3, 4]))),
    on([[]], (x) => op.square(op.broadcast(x as Value, [2, 3]))),
    on([[1, 1]], (x) => op.square(op.broadcast(x as Value, [1, 1, 1]))),
  ],
  slice: [
    on([[2, 3]], (x) => op.square(op.slice(x as Value, 1, 1, 3))),
    on([[4, 5]], (x) => op.square(op.slice(op.slice(x as Value, 0, 1, -1), -1, -3, -1))),
  ],
  pad: [on([[2, 3]], (x) => op.square(op.pad(x as Value, [1, 0], [0, 2])))],
  concatenate: [
    on(
      [
        [2, 3],
        [2, 1],
      ],
      (a, b) => op.square(op.concatenate([a as Value, b as Value, a as Value], -1)),
    ),
    on(
      [
        [1, 2],
        [3, 2],
      ],
      (a, b) => op.square(op.concatenate([a as Value, b as Value], 0)),
    ),
  ],
  gather: [
    on([[4, 3]], (x) => op.square(op.gather(x as Value, whole(2, 0, 2)))),
    on([[2, 4, 3]], (x) => op.square(op.gather(x as Value, op.reshape(whole(3, 3, 0, 1), [2, 2]), 1))),
    on([[2, 4]], (x) => op.square(op.gather(x as Value, whole(1, 1), -1))),
  ],
  scatterAdd: [
    on([[3, 2]], (x) => op.square(op.scatterAdd(x as Value, whole(2, 0, 2), 0, 4))),
    on([[2, 2, 2, 3]], (x) => op.square(op.scatterAdd(x as Value, op.reshape(whole(3, 3, 0, 1), [2, 2]), 1, 5))),
  ],
  matmul: [
    on(
      [
        [3, 4],
        [4, 2],
      ],
      (a, b) => op.matmul(a as Value, b as Value),
    ),
    on(
      [
        [2, 3, 4],
        [4, 5],
      ],
      (a, b) => op.matmul(a as Value, b as Value),
    ),
    on(
      [
        [3, 4],
        [2, 4, 5],
      ],
      (a, b) => op.matmul(a as Value, b as Value),
    ),
    on(
      [
        [2, 1, 2, 3],
        [4, 3, 2],
      ],
      (a, b) => op.matmul(a as Value, b as Value),
    ),
  ],
  convolution: convolved(output),
  convolutionInput: convolved((x, kernel, geometry) =>
    op.primitive('convolutionInput', [op.sin(output(x, kernel, geometry)), kernel], { ...geometry, size: image }),
  ),
  convolutionKernel: convolved((x, kernel, geometry) =>
    op.primitive('convolutionKernel', [x, op.sin(output(x, kernel, geometry))], { ...geometry, size: geometry.kernel }),
  ),
  cast: [
    on([[2, 3]], (x) => op.cast(op.cast(op.square(x as Value), 'float16'), 'float32')),
    // Flat but for the jumps, so nothing may flow through the whole numbers.
    on([[2, 3]], (x) => op.multiply(op.cast(op.cast(x as Value, 'int32'), 'float32'), x as Value)),
    on([[2, 3]], (x) => op.multiply(op.cast(op.less(x as Value, 0), 'float32'), x as Value)),
  ],
  // Not differentiable by design: gradient.test.ts.
  stopGradient: [],
} as const satisfies Readonly<Record<Primitive, Cases>>

const compositeCases = {
  softmax: unary((x) => (x.shape.length === 0 ? softmax(op.reshape(x, [1])) : softmax(x))).slice(0, 2),
  layerNorm: [on([[2, 5]], (x) => layerNorm(x as Value, 1e-3)), on([[1, 2, 4]], (x) => layerNorm(x as Value, 0.5))],
  rmsNorm: [
    on([[2, 5], [5]], (x, scale) => rmsNorm(x as Value, scale as Value, 1e-3)),
    on([[2, 1, 4], [4]], (x, scale) => rmsNorm(x as Value, scale as Value, 0.5)),
  ],
  inverseDeviation: [
    on([[2, 5]], (x) => inverseDeviation(x as Value, 1e-3, true)),
    on([[2, 1, 4]], (x) => inverseDeviation(x as Value, 0.5, false)),
  ],
  squaredRelu: unary(squaredRelu, awayFromZero),
  neighbours: [
    on([[2, 3, 2, 2]], (x) => neighbours(x as Value)),
    on([[1, 1, 4, 1]], (x) => neighbours(x as Value)),
    // As convolutions meet it: through a product, which goes back another way.
    on(
      [
        [2, 3, 4, 2],
        [18, 3],
      ],
      (x, weight) => op.matmul(op.reshape(neighbours(x as Value), [24, 18]), weight as Value),
    ),
  ],
  gelu: [...unary((x) => gelu(x, 'tanh')), ...unary((x) => gelu(x, 'none'))],
  rope: [
    on(
      [
        [2, 3, 8],
        [3, 2],
        [3, 2],
      ],
      (x, cos, sin) => rope(x as Value, cos as Value, sin as Value, 2),
    ),
    on([[1, 2, 4]], (x) => rope(x as Value, ramp(2, 2), op.sin(ramp(2, 2)), 1)),
    on(
      [
        [2, 3, 8],
        [3, 2],
        [3, 2],
      ],
      (x, cos, sin) => rope(x as Value, cos as Value, sin as Value, 2, 'neighbours'),
    ),
  ],
  attention: [
    ...([[2, 1, 1, 5], [1, 2, 3, 5], [3, 5], [5]] as const).map((bias) =>
      on([[2, 3, 4], [2, 5, 4], [2, 5, 4], bias], (q, k, v, b) => attention(q as Value, k as Value, v as Value, 2, b)),
    ),
    on([[1, 3, 4]], (x) => attention(x as Value, x as Value, x as Value, 1)),
    on([[1, 3, 4]], (x) => attention(x as Value, x as Value, x as Value, 2, undefined, 1)),
  ],
} as const satisfies Readonly<Record<Composite, Cases>>

const everyCase = Object.entries({ ...cases, ...compositeCases }) as [Op, Cases][]
const worstOf = (list: Cases, judge: (each: GradientCase) => number): number => Math.max(0, ...list.map(judge))

/** All rules, one of them giving cotangents a thousandth too large. */
function broken(name: Op): GradientRules {
  // Sound because the rule is only wrapped: it stays in the place of its own op.
  const rule = gradientRules[name] as (node: Value, cotangent: Value) => readonly (Value | null)[]
  const wrong = (node: Value, cotangent: Value) =>
    rule(node, cotangent).map((part) => (part === null ? null : op.multiply(part, 1.001)))
  return { ...gradientRules, [name]: wrong }
}

/** These give no cotangent at all, so there is nothing to get wrong. */
const silent: readonly Op[] = ['input', 'parameter', 'constant', 'less', 'equal', 'stopGradient']

describe('every rule', () => {
  for (const [name, list] of everyCase) {
    it(`of ${name} agrees with central differences`, () => {
      expect(worstOf(list, (each) => worstError(each))).toBeLessThan(1e-6)
    })

    it(`of ${name} can be differentiated again`, () => {
      expect(worstOf(list, (each) => worstSecondError(each))).toBeLessThan(1e-6)
    })

    if (gradientRules[name] === undefined || silent.includes(name)) continue
    it(`of ${name} is caught when it is a thousandth off`, () => {
      expect(worstOf(list, (each) => worstError(each, broken(name)))).toBeGreaterThan(1e-5)
    })
  }
})

describe('a wrong rule is caught:', () => {
  const first = (node: { readonly inputs: readonly Value[] }) => op.at(node.inputs, 0)
  const second = (node: { readonly inputs: readonly Value[] }) => op.at(node.inputs, 1)
  const planted: { readonly [K in Primitive | Composite]?: GradientRules[K] } = {
    tanh: (node, cotangent) => [op.multiply(cotangent, op.subtract(1, node))],
    subtract: (node, cotangent) => [op.sumTo(cotangent, first(node).shape), op.sumTo(cotangent, second(node).shape)],
    multiply: (node, cotangent) => [
      op.sumTo(op.multiply(cotangent, first(node)), first(node).shape),
      op.sumTo(op.multiply(cotangent, second(node)), second(node).shape),
    ],
    transpose: (node, cotangent) => [
      op.reshape(op.transpose(cotangent, node.attributes.permutation), first(node).shape),
    ],
    max: (node, cotangent) => [op.broadcast(cotangent, first(node).shape)],
    slice: (node, cotangent) => {
      const rest = first(node).shape.map((size, axis) => size - op.at(node.shape, axis))
      return [op.pad(cotangent, new Array(rest.length).fill(0), rest)]
    },
    relu: (_, cotangent) => [cotangent],
    softmax: (node, cotangent) => [op.multiply(cotangent, op.multiply(node, op.subtract(1, node)))],
    rope: (node, cotangent) => [rope(cotangent, second(node), op.at(node.inputs, 2), 2), null, null],
  }
  for (const name of Object.keys(planted) as Op[]) {
    it(name, () => {
      const list = Object.fromEntries(everyCase)[name] as Cases
      const rules: GradientRules = { ...gradientRules, [name]: planted[name] }
      expect(worstError(list[0] as GradientCase, rules)).toBeGreaterThan(1e-2)
    })
  }
})

describe('a composite with a rule of its own', () => {
  for (const name of Object.keys(compositeRules) as (keyof typeof compositeCases)[]) {
    it(`has the gradient of its expansion: ${name}`, () => {
      for (const each of compositeCases[name]) {
        const { inputs, loss } = lossOf(each)
        const feeds = { inputs: pointOf(each) }
        const own = evaluateValues(gradient(loss, inputs), feeds)
        const through = evaluateValues(gradient(loss, inputs, vjpRules), feeds)
        for (const [index, { data }] of own.entries()) {
          const other = through[index]?.data ?? new Float64Array(0)
          const scale = Math.max(1e-2, ...other.map(Math.abs))
          const worst = Math.max(...data.map((value, k) => Math.abs(value - (other[k] ?? Number.NaN)))) / scale
          expect(worst).toBeLessThan(1e-12)
        }
      }
    })
  }
})

describe('ties', () => {
  const slopeAt = (build: (x: Value) => Value, shape: Shape, x: readonly number[]) => {
    const { inputs } = lossOf({ shapes: [shape], build: (each) => each as Value })
    const total = op.reshape(op.sum(build(inputs[0] as Value)), [])
    return Array.from(evaluateValues(gradient(total, inputs), { inputs: { x0: x } })[0]?.data ?? [])
  }

  it('share the cotangent of max', () => {
    expect(slopeAt((x) => op.max(x), [4], [2, 1, 2, 0])).toEqual([0.5, 0, 0.5, 0])
  })

  it('give one side of maximum and minimum the whole cotangent', () => {
    expect(slopeAt((x) => op.maximum(x, x), [1], [3])).toEqual([1])
    expect(slopeAt((x) => op.minimum(x, x), [1], [3])).toEqual([1])
  })

  it('leave relu silent at zero', () => {
    expect(slopeAt(op.relu, [3], [-1, 0, 1])).toEqual([0, 0, 1])
  })
})
