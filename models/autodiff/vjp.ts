/**
 * Vector–Jacobian products: for each primitive, the cotangents of its inputs given the cotangent of its output.
 *
 * The table is total over the primitives; `null` marks an input that carries no gradient (indices, conditions).
 * Composites may have a rule too, where it is shorter than that of their expansion; a test holds each against it.
 * Rules are themselves graphs, so the gradient can be lowered, evaluated or differentiated again.
 */

import { inverseDeviation, neighbours, rope } from '../graph/composites.ts'
import type { Composite, Primitive, RotaryLayout, Shape, Value, ValueOf } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'

export type Cotangents = readonly (Value | null)[]
export type VjpRule<K extends Primitive | Composite> = (node: ValueOf<K>, cotangent: Value) => Cotangents

const none = (): Cotangents => []
const first = (node: { readonly inputs: readonly Value[] }): Value => op.at(node.inputs, 0)
const second = (node: { readonly inputs: readonly Value[] }): Value => op.at(node.inputs, 1)

/** An elementwise rule: cotangent times the derivative, written in the input x and the output y. */
const elementwise =
  (derivative: (x: Value, y: Value) => Value) =>
  (node: ValueOf<Primitive>, cotangent: Value): Cotangents => [
    op.multiply(cotangent, derivative(first(node), node as Value)),
  ]

/** A rule of two broadcast inputs: each side's cotangent, summed back to its own shape. */
const broadcasting =
  (sides: (a: Value, b: Value, cotangent: Value, y: Value) => readonly [Value, Value]) =>
  (node: ValueOf<Primitive>, cotangent: Value): Cotangents => {
    const [a, b] = [first(node), second(node)]
    const [left, right] = sides(a, b, cotangent, node as Value)
    return [op.sumTo(left, a.shape), op.sumTo(right, b.shape)]
  }

export const vjpRules = {
  input: none,
  parameter: none,
  constant: none,
  negate: (_, cotangent) => [op.negate(cotangent)],
  exp: elementwise((_, y) => y),
  log: (node, cotangent) => [op.divide(cotangent, first(node))],
  sqrt: (node, cotangent) => [op.divide(op.multiply(cotangent, 0.5), node)],
  reciprocal: elementwise((_, y) => op.negate(op.square(y))),
  sin: elementwise((x) => op.cos(x)),
  cos: elementwise((x) => op.negate(op.sin(x))),
  tanh: elementwise((_, y) => op.subtract(1, op.square(y))),
  erf: elementwise((x) => op.multiply(op.exp(op.negate(op.square(x))), 2 / Math.sqrt(Math.PI))),
  sigmoid: elementwise((_, y) => op.multiply(y, op.subtract(1, y))),
  abs: (node, cotangent) => [op.select(op.less(first(node), 0), op.negate(cotangent), cotangent)],
  relu: (node, cotangent) => [op.select(op.less(0, first(node)), cotangent, 0)],
  add: broadcasting((_a, _b, cotangent) => [cotangent, cotangent]),
  subtract: broadcasting((_a, _b, cotangent) => [cotangent, op.negate(cotangent)]),
  multiply: broadcasting((a, b, cotangent) => [op.multiply(cotangent, b), op.multiply(cotangent, a)]),
  divide: broadcasting((_, b, cotangent, y) => {
    const left = op.divide(cotangent, b)
    return [left, op.negate(op.multiply(left, y))]
  }),
  maximum: broadcasting((a, b, cotangent) => {
    const right = op.less(a, b)
    return [op.select(right, 0, cotangent), op.select(right, cotangent, 0)]
  }),
  minimum: broadcasting((a, b, cotangent) => {
    const left = op.less(a, b)
    return [op.select(left, cotangent, 0), op.select(left, 0, cotangent)]
  }),
  less: () => [null, null],
  equal: () => [null, null],
  select: (node, cotangent) => {
    const [condition, whenTrue, whenFalse] = [first(node), second(node), op.at(node.inputs, 2)]
    return [
      null,
      op.sumTo(op.select(condition, cotangent, 0), whenTrue.shape),
      op.sumTo(op.select(condition, 0, cotangent), whenFalse.shape),
    ]
  },
  sum: (node, cotangent) => [op.broadcast(cotangent, first(node).shape)],
  // Ties share the cotangent, so that the rule stays a true subgradient.
  max: (node, cotangent) => {
    const hits = op.select(op.equal(first(node), node), op.constant(1), 0)
    return [op.multiply(hits, op.divide(cotangent, op.sum(hits, node.attributes.axes)))]
  },
  reshape: (node, cotangent) => [op.reshape(cotangent, first(node).shape)],
  transpose: (node, cotangent) => [op.transpose(cotangent, inverse(node.attributes.permutation))],
  broadcast: (node, cotangent) => [op.sumTo(cotangent, first(node).shape)],
  slice: (node, cotangent) => {
    const { starts, ends } = node.attributes
    return [
      op.pad(
        cotangent,
        starts,
        ends.map((end, axis) => op.at(first(node).shape, axis) - end),
      ),
    ]
  },
  pad: (node, cotangent) => [
    node.attributes.before.reduce(
      (x, start, axis) => op.slice(x, axis, start, start + op.at(first(node).shape, axis)),
      cotangent,
    ),
  ],
  concatenate: (node, cotangent) => {
    let start = 0
    return node.inputs.map((part) => {
      const size = op.at(part.shape, node.attributes.axis)
      start += size
      return op.slice(cotangent, node.attributes.axis, start - size, start)
    })
  },
  gather: (node, cotangent) => {
    const { axis } = node.attributes
    return [op.scatterAdd(cotangent, second(node), axis, op.at(first(node).shape, axis)), null]
  },
  scatterAdd: (node, cotangent) => [op.gather(cotangent, second(node), node.attributes.axis), null],
  matmul: (node, cotangent) => [
    op.sumTo(op.matmul(cotangent, op.swapLast(second(node))), first(node).shape),
    op.sumTo(op.matmul(op.swapLast(first(node)), cotangent), second(node).shape),
  ],
  convolution: (node, cotangent) => [
    convolutionInput(cotangent, second(node), node.attributes, spatial(first(node))),
    convolutionKernel(first(node), cotangent, node.attributes, spatial(second(node))),
  ],
  // Linear in both inputs; the adjoints of an adjoint are the map itself and the kernel's adjoint with roles swapped.
  convolutionInput: (node, cotangent) => [
    op.convolution(cotangent, second(node), node.attributes.stride, node.attributes.padding),
    convolutionKernel(cotangent, first(node), node.attributes, spatial(second(node))),
  ],
  convolutionKernel: (node, cotangent) => [
    convolutionInput(second(node), cotangent, node.attributes, spatial(first(node))),
    op.convolution(first(node), cotangent, node.attributes.stride, node.attributes.padding),
  ],
  // Rounding to whole numbers or truth values is flat almost everywhere.
  cast: (node, cotangent) => {
    const smooth = [node.dtype, first(node).dtype].every((dtype) => dtype === 'float32' || dtype === 'float16')
    return [smooth ? op.cast(cotangent, first(node).dtype) : null]
  },
  stopGradient: () => [null],
} as const satisfies { readonly [K in Primitive]: VjpRule<K> }

/** Rules that beat the gradient of the expansion; composites without one are differentiated through it. */
export const compositeRules: { readonly [K in Composite]?: VjpRule<K> } = {
  softmax: (node, cotangent) => {
    const weighted = op.multiply(cotangent, node)
    return [op.subtract(weighted, op.multiply(node, op.sum(weighted, [-1])))]
  },
  layerNorm: (node, cotangent) => {
    const root = inverseDeviation(first(node), node.attributes.epsilon, true)
    const inner = op.add(op.multiply(node, op.mean(op.multiply(cotangent, node), [-1])), op.mean(cotangent, [-1]))
    return [op.multiply(op.subtract(cotangent, inner), root)]
  },
  rmsNorm: (node, cotangent) => {
    const [x, scale] = [first(node), second(node)]
    const root = inverseDeviation(x, node.attributes.epsilon, false)
    const scaled = op.multiply(x, root)
    const inner = op.multiply(cotangent, scale)
    const along = op.multiply(scaled, op.mean(op.multiply(inner, scaled), [-1]))
    return [op.multiply(op.subtract(inner, along), root), op.sumTo(op.multiply(cotangent, scaled), scale.shape)]
  },
  // relu(x) is already zero where the mask would be.
  squaredRelu: (node, cotangent) => [op.multiply(op.multiply(cotangent, 2), op.relu(first(node)))],
  neighbours: (node, cotangent) => {
    const product = flatProduct(cotangent)
    const back = product ? gatheredFactor(first(node).shape, ...product) : gatheredBack(first(node).shape, cotangent)
    return [op.reshape(back, first(node).shape)]
  },
  // A rotation: its transpose turns the other way. The tables' parts cost nothing unless somebody asks for them.
  rope: (node, cotangent) => {
    const [x, cos, sin] = [first(node), second(node), op.at(node.inputs, 2)]
    const { heads, layout } = node.attributes
    const [turned, quarter] = [
      rope(cotangent, cos, op.negate(sin), heads, layout),
      rope(x, op.broadcast(op.constant(0), cos.shape), op.broadcast(op.constant(1), sin.shape), heads, layout),
    ]
    const table = (product: Value) => perPair(product, cos.shape, layout)
    return [turned, table(op.multiply(cotangent, x)), table(op.multiply(cotangent, quarter))]
  },
}

/** The factors of a value that is a product of two matrices, or a reshape of one. */
function flatProduct(value: Value): readonly [rows: Value, weight: Value] | undefined {
  const product = value.op === 'reshape' ? first(value) : value
  if (product.op !== 'matmul' || product.shape.length !== 2) return undefined
  return [first(product), second(product)]
}

/**
 * What cells get back through a product rows [N·H·W, O] · weight [O, 9·C]: gathering and a product over channels commute,
 * so the rows are gathered, and neither the nine parts nor their sum are written. The taps come in reverse.
 */
function gatheredFactor([count, height, width, channels]: Shape, rows: Value, weight: Value): Value {
  const [cells, out] = rows.shape as [number, number]
  const taps = op.reshape(weight, [out, 9, channels as number])
  const reversed = op.gather(taps, op.constant(Int32Array.from({ length: 9 }, (_, n) => 8 - n)), 1)
  const turned = op.reshape(op.transpose(reversed, [1, 0, 2]), [9 * out, channels as number])
  const around = neighbours(op.reshape(rows, [count as number, height as number, width as number, out]))
  return op.matmul(op.reshape(around, [cells, 9 * out]), turned)
}

/** The same for any cotangent [N, H, W, 9·C]: gathered too, since adding up by index is slow, then summed. */
function gatheredBack([count, height, width, channels]: Shape, cotangent: Value): Value {
  const [cells, depth] = [(height as number) * (width as number), channels as number]
  const taken = op.reshape(cotangent, [count as number, cells * 9, depth])
  const takers = op.constant(takersOf(height as number, width as number))
  const back = op.gather(op.pad(taken, [0, 0, 0], [0, 1, 0]), takers, 1)
  return op.sum(op.reshape(back, [count as number, cells, 9, depth]), [2])
}

/** For each cell and each of nine turns, which number of H·W·9 took it; the one behind the last where nobody did. */
function takersOf(height: number, width: number): Int32Array {
  return Int32Array.from({ length: height * width * 9 }, (_, n) => {
    const [cell, turn] = [Math.floor(n / 9), n % 9]
    const row = Math.floor(cell / width) + 1 - Math.floor(turn / 3)
    const column = (cell % width) + 1 - (turn % 3)
    const inside = row >= 0 && row < height && column >= 0 && column < width
    return inside ? (row * width + column) * 9 + turn : height * width * 9
  })
}

/** Sums [B, T, heads·d] over batch, heads and the two of each pair: [T, d/2]. */
function perPair(x: Value, [length, pairs]: Shape, layout: RotaryLayout): Value {
  const [batch, tokens, width] = [op.at(x.shape, 0), op.at(x.shape, 1), op.at(x.shape, 2)]
  const count = pairs as number
  const split = layout === 'halves' ? [width / count, count] : [width / count / 2, count, 2]
  const summed = op.sum(op.reshape(x, [batch, tokens, ...split]), layout === 'halves' ? [0, 2] : [0, 2, 4])
  return op.reshape(summed, [length as number, count])
}

/** The rules of a differentiation; a composite without one is differentiated through its expansion. */
export type GradientRules = { readonly [K in Primitive]: VjpRule<K> } & { readonly [K in Composite]?: VjpRule<K> }

export const gradientRules: GradientRules = { ...vjpRules, ...compositeRules }

type Stride = Pick<ValueOf<'convolution'>['attributes'], 'stride' | 'padding'>

function convolutionInput(
  cotangent: Value,
  kernel: Value,
  { stride, padding }: Stride,
  size: readonly [number, number],
): Value {
  return op.primitive('convolutionInput', [cotangent, kernel], { stride, padding, size })
}

function convolutionKernel(
  x: Value,
  cotangent: Value,
  { stride, padding }: Stride,
  size: readonly [number, number],
): Value {
  return op.primitive('convolutionKernel', [x, cotangent], { stride, padding, size })
}

const spatial = (x: Value): readonly [number, number] => [op.at(x.shape, 2), op.at(x.shape, 3)]

function inverse(permutation: readonly number[]): number[] {
  return permutation.map((_, axis) => permutation.indexOf(axis))
}
