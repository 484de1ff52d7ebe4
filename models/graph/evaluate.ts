/**
 * The reference interpreter: a graph's numbers in float64, one plain loop per primitive.
 *
 * Slow and clear; the oracle of tests, never of users. Composites are evaluated through their expansion, so a fused
 * operator is held against the primitives it stands for.
 */

import { expansion, isComposite } from './composites.ts'
import { type Graph, type Primitive, type Shape, sizeOf, topologicalOrder, type Value, type ValueOf } from './graph.ts'
import { at } from './ops.ts'

export interface Tensor {
  readonly shape: Shape
  readonly data: Float64Array
}

export interface Feeds {
  readonly inputs: Readonly<Record<string, ArrayLike<number>>>
  readonly parameters?: Readonly<Record<string, ArrayLike<number>>>
}

type Rule<K extends Primitive> = (node: ValueOf<K>, inputs: readonly Tensor[], feeds: Feeds) => Float64Array

const first = (inputs: readonly Tensor[]): Tensor => at(inputs, 0)
const second = (inputs: readonly Tensor[]): Tensor => at(inputs, 1)

const unary =
  (apply: (x: number) => number) =>
  (_: unknown, inputs: readonly Tensor[]): Float64Array =>
    first(inputs).data.map(apply)

const binary =
  (apply: (a: number, b: number) => number) =>
  (node: { readonly shape: Shape }, inputs: readonly Tensor[]): Float64Array => {
    const [a, b] = [spread(first(inputs), node.shape), spread(second(inputs), node.shape)]
    return a.map((value, index) => apply(value, b[index] as number))
  }

const evaluationRules = {
  input: ({ attributes, shape }, _, { inputs }) => fed('input', attributes.name, inputs[attributes.name], shape),
  parameter: ({ attributes, shape }, _, { parameters }) =>
    fed('parameter', attributes.name, parameters?.[attributes.name], shape),
  constant: ({ attributes }) => Float64Array.from(attributes.data),
  negate: unary((x) => -x),
  exp: unary(Math.exp),
  log: unary(Math.log),
  sqrt: unary(Math.sqrt),
  reciprocal: unary((x) => 1 / x),
  sin: unary(Math.sin),
  cos: unary(Math.cos),
  tanh: unary(Math.tanh),
  erf: unary(errorFunction),
  sigmoid: unary((x) => 1 / (1 + Math.exp(-x))),
  abs: unary(Math.abs),
  relu: unary((x) => Math.max(0, x)),
  add: binary((a, b) => a + b),
  subtract: binary((a, b) => a - b),
  multiply: binary((a, b) => a * b),
  divide: binary((a, b) => a / b),
  maximum: binary(Math.max),
  minimum: binary(Math.min),
  less: binary((a, b) => (a < b ? 1 : 0)),
  equal: binary((a, b) => (a === b ? 1 : 0)),
  select: ({ shape }, inputs) => {
    const [condition, yes, no] = inputs.map((each) => spread(each, shape)) as [Float64Array, Float64Array, Float64Array]
    return condition.map((value, index) => (value === 0 ? (no[index] as number) : (yes[index] as number)))
  },
  sum: (node, inputs) => reduced(node, first(inputs), 0, (total, value) => total + value),
  max: (node, inputs) => reduced(node, first(inputs), Number.NEGATIVE_INFINITY, Math.max),
  reshape: (_, inputs) => first(inputs).data.slice(),
  transpose: ({ shape, attributes }, inputs) => {
    const strides = stridesOf(first(inputs).shape)
    const moved = attributes.permutation.map((axis) => at(strides, axis))
    return gathered(shape, (index) => at2(first(inputs).data, dot(index, moved)))
  },
  broadcast: ({ shape }, inputs) => spread(first(inputs), shape),
  slice: ({ shape, attributes }, inputs) => {
    const strides = stridesOf(first(inputs).shape)
    const origin = dot(attributes.starts, strides)
    return gathered(shape, (index) => at2(first(inputs).data, origin + dot(index, strides)))
  },
  pad: ({ shape, attributes }, inputs) => {
    const { shape: inner, data } = first(inputs)
    const strides = stridesOf(inner)
    return gathered(shape, (index) => {
      const inside = index.map((place, axis) => place - at(attributes.before, axis))
      const within = inside.every((place, axis) => place >= 0 && place < at(inner, axis))
      return within ? at2(data, dot(inside, strides)) : 0
    })
  },
  concatenate: ({ shape, attributes: { axis } }, inputs) =>
    gathered(shape, (index) => {
      let place = at(index, axis)
      const part = inputs.find(({ shape: each }) => {
        if (place < at(each, axis)) return true
        place -= at(each, axis)
        return false
      }) as Tensor
      return at2(part.data, dot(index.with(axis, place), stridesOf(part.shape)))
    }),
  gather: ({ shape, attributes: { axis } }, inputs) => {
    const [table, indices] = [first(inputs), second(inputs)]
    const [strides, inner] = [stridesOf(table.shape), stridesOf(indices.shape)]
    return gathered(shape, (index) => {
      const row = at2(indices.data, dot(index.slice(axis, axis + indices.shape.length), inner))
      return at2(table.data, dot([...index.slice(0, axis), row, ...index.slice(axis + indices.shape.length)], strides))
    })
  },
  scatterAdd: ({ shape, attributes: { axis } }, inputs) => {
    const [updates, indices] = [first(inputs), second(inputs)]
    const out = new Float64Array(sizeOf(shape))
    const [strides, inner] = [stridesOf(shape), stridesOf(indices.shape)]
    eachIndex(updates.shape, (index, position) => {
      const row = at2(indices.data, dot(index.slice(axis, axis + indices.shape.length), inner))
      const target = dot([...index.slice(0, axis), row, ...index.slice(axis + indices.shape.length)], strides)
      out[target] = (out[target] as number) + (updates.data[position] as number)
    })
    return out
  },
  matmul: ({ shape }, inputs) => product(shape, first(inputs), second(inputs)),
  convolution: (node, inputs) => {
    const out = new Float64Array(sizeOf(node.shape))
    eachTap(node, first(inputs).shape, second(inputs).shape, node.shape, (x, kernel, y) => {
      out[y] = (out[y] as number) + at2(first(inputs).data, x) * at2(second(inputs).data, kernel)
    })
    return out
  },
  convolutionInput: (node, inputs) => {
    const out = new Float64Array(sizeOf(node.shape))
    eachTap(node, node.shape, second(inputs).shape, first(inputs).shape, (x, kernel, y) => {
      out[x] = (out[x] as number) + at2(first(inputs).data, y) * at2(second(inputs).data, kernel)
    })
    return out
  },
  convolutionKernel: (node, inputs) => {
    const out = new Float64Array(sizeOf(node.shape))
    eachTap(node, first(inputs).shape, node.shape, second(inputs).shape, (x, kernel, y) => {
      out[kernel] = (out[kernel] as number) + at2(first(inputs).data, x) * at2(second(inputs).data, y)
    })
    return out
  },
  cast: ({ dtype }, inputs) =>
    dtype === 'bool'
      ? first(inputs).data.map((x) => (x === 0 ? 0 : 1))
      : dtype === 'int32'
        ? first(inputs).data.map(Math.trunc)
        : first(inputs).data.slice(),
  stopGradient: (_, inputs) => first(inputs).data.slice(),
} as const satisfies { readonly [K in Primitive]: Rule<K> }

/** The outputs of a graph, by name. */
export function evaluate(graph: Graph, feeds: Feeds): Readonly<Record<string, Tensor>> {
  const names = [...graph.outputs.keys()]
  const tensors = evaluateValues([...graph.outputs.values()], feeds)
  return Object.fromEntries(names.map((name, index) => [name, at(tensors, index)]))
}

/** The numbers of some values, each computed once. */
export function evaluateValues(values: readonly Value[], feeds: Feeds): Tensor[] {
  const known = new Map<Value, Tensor>()
  const written = (node: Value): Value => {
    let current = node
    while (isComposite(current)) current = expansion(current)
    return current
  }
  const roots = values.map(written)
  for (const node of topologicalOrder(roots, (each) => each.inputs.map(written))) {
    const inputs = node.inputs.map((each) => known.get(written(each)) as Tensor)
    const rule = evaluationRules[node.op as Primitive] as Rule<Primitive>
    known.set(node, { shape: node.shape, data: rule(node as ValueOf<Primitive>, inputs, feeds) })
  }
  return roots.map((root) => known.get(root) as Tensor)
}

function fed(kind: string, name: string, data: ArrayLike<number> | undefined, shape: Shape): Float64Array {
  if (data === undefined) throw new RangeError(`evaluate: ${kind} ${name} is not fed; pass it under that name`)
  if (data.length !== sizeOf(shape))
    throw new RangeError(`evaluate: ${kind} ${name} got ${data.length} numbers, [${shape}] takes ${sizeOf(shape)}`)
  return Float64Array.from(data)
}

function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length).fill(1)
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = at(strides, axis + 1) * at(shape, axis + 1)
  return strides
}

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((total, value, index) => total + value * at(b, index), 0)
const at2 = (data: Float64Array, index: number): number => data[index] as number

/** Visits every index of a shape in row-major order. */
function eachIndex(shape: Shape, visit: (index: number[], position: number) => void): void {
  const index = new Array<number>(shape.length).fill(0)
  for (let position = 0; position < sizeOf(shape); position++) {
    visit([...index], position)
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = at(index, axis) + 1
      if (at(index, axis) < at(shape, axis)) break
      index[axis] = 0
    }
  }
}

function gathered(shape: Shape, read: (index: number[]) => number): Float64Array {
  const out = new Float64Array(sizeOf(shape))
  eachIndex(shape, (index, position) => {
    out[position] = read(index)
  })
  return out
}

/** A tensor repeated along its axes of size one. */
function spread({ shape, data }: Tensor, to: Shape): Float64Array {
  if (shape.join() === to.join()) return data
  const lead = to.length - shape.length
  const strides = [
    ...new Array<number>(lead).fill(0),
    ...stridesOf(shape).map((stride, axis) => (at(shape, axis) === 1 ? 0 : stride)),
  ]
  return gathered(to, (index) => at2(data, dot(index, strides)))
}

function reduced(
  node: { readonly shape: Shape },
  { shape, data }: Tensor,
  start: number,
  join: (total: number, value: number) => number,
): Float64Array {
  const out = new Float64Array(sizeOf(node.shape)).fill(start)
  const strides = stridesOf(node.shape).map((stride, axis) => (at(node.shape, axis) === 1 ? 0 : stride))
  eachIndex(shape, (index, position) => {
    const target = dot(index, strides)
    out[target] = join(out[target] as number, data[position] as number)
  })
  return out
}

function product(shape: Shape, a: Tensor, b: Tensor): Float64Array {
  const [rows, columns, inner] = [
    at(shape, shape.length - 2),
    at(shape, shape.length - 1),
    at(a.shape, a.shape.length - 1),
  ]
  const lead = shape.slice(0, -2)
  const [left, right] = [spread(a, [...lead, rows, inner]), spread(b, [...lead, inner, columns])]
  const out = new Float64Array(sizeOf(shape))
  for (let matrix = 0; matrix < sizeOf(lead); matrix++) {
    for (let row = 0; row < rows; row++) {
      for (let k = 0; k < inner; k++) {
        const factor = at2(left, (matrix * rows + row) * inner + k)
        const [from, to] = [(matrix * inner + k) * columns, (matrix * rows + row) * columns]
        for (let column = 0; column < columns; column++)
          out[to + column] = (out[to + column] as number) + factor * at2(right, from + column)
      }
    }
  }
  return out
}

/** Calls `visit` with the positions of input, kernel and output that meet in a convolution. */
function eachTap(
  { attributes: { stride, padding } }: ValueOf<'convolution' | 'convolutionInput' | 'convolutionKernel'>,
  input: Shape,
  kernel: Shape,
  output: Shape,
  visit: (input: number, kernel: number, output: number) => void,
): void {
  const [inputs, kernels] = [stridesOf(input), stridesOf(kernel)]
  eachIndex(output, ([n, o, row, column], y) => {
    eachIndex(kernel.slice(1), ([c, up, across]) => {
      const h = (row as number) * stride[0] - padding[0] + (up as number)
      const w = (column as number) * stride[1] - padding[1] + (across as number)
      if (h < 0 || w < 0 || h >= at(input, 2) || w >= at(input, 3)) return
      visit(
        dot([n as number, c as number, h, w], inputs),
        dot([o as number, c as number, up as number, across as number], kernels),
        y,
      )
    })
  })
}

/** erf to double precision: a series for small, a continued fraction for large arguments (Abramowitz & Stegun 7.1). */
function errorFunction(x: number): number {
  if (x < 0) return -errorFunction(-x)
  if (x < 2.5) {
    let [term, total] = [x, x]
    for (let n = 1; n < 80; n++) {
      term *= (-x * x) / n
      total += term / (2 * n + 1)
    }
    return (2 / Math.sqrt(Math.PI)) * total
  }
  let fraction = 0
  for (let n = 60; n >= 1; n--) fraction = n / 2 / (x + fraction)
  return 1 - Math.exp(-x * x) / (Math.sqrt(Math.PI) * (x + fraction))
}
