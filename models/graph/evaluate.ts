/**
 * The reference interpreter: a graph's numbers in float64, one plain loop per primitive.
 *
 * Clear before fast; the oracle of tests, never of users. Composites are evaluated through their expansion, so a fused
 * operator is held against the primitives it stands for. A cast to float16 does not round: differences taken here stay
 * smooth, and whoever compares with a runtime allows for that dtype's precision.
 *
 * Movement is one idea throughout: `offsetsOf` lists where each element of a shape lies in another buffer.
 */

import { expansion, isComposite } from './composites.ts'
import {
  type Graph,
  type Primitive,
  type Shape,
  sameShape,
  sizeOf,
  topologicalOrder,
  type Value,
  type ValueOf,
} from './graph.ts'
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
    return condition.map((value, index) => (value === 0 ? element(no, index) : element(yes, index)))
  },
  sum: (node, inputs) => reduced(node, first(inputs), 0, (total, value) => total + value),
  max: (node, inputs) => reduced(node, first(inputs), Number.NEGATIVE_INFINITY, Math.max),
  reshape: (_, inputs) => first(inputs).data.slice(),
  transpose: ({ shape, attributes }, inputs) => {
    const strides = stridesOf(first(inputs).shape)
    const moved = attributes.permutation.map((axis) => at(strides, axis))
    return read(first(inputs).data, offsetsOf(shape, moved))
  },
  broadcast: ({ shape }, inputs) => spread(first(inputs), shape),
  slice: ({ shape, attributes }, inputs) => {
    const strides = stridesOf(first(inputs).shape)
    return read(first(inputs).data, offsetsOf(shape, strides, dot(attributes.starts, strides)))
  },
  pad: ({ shape, attributes }, inputs) => {
    const out = new Float64Array(sizeOf(shape))
    place(first(inputs), out, shape, attributes.before)
    return out
  },
  concatenate: ({ shape, attributes: { axis } }, inputs) => {
    const out = new Float64Array(sizeOf(shape))
    let start = 0
    for (const part of inputs) {
      const corner = shape.map((_, index) => (index === axis ? start : 0))
      place(part, out, shape, corner)
      start += at(part.shape, axis)
    }
    return out
  },
  gather: ({ shape, attributes: { axis } }, inputs) => {
    const [table, indices] = [first(inputs), second(inputs)]
    const out = new Float64Array(sizeOf(shape))
    eachRow(table.shape, axis, indices.data, (row, position, length) => {
      out.set(table.data.subarray(row, row + length), position)
    })
    return out
  },
  scatterAdd: ({ shape, attributes: { axis } }, inputs) => {
    const [updates, indices] = [first(inputs), second(inputs)]
    const out = new Float64Array(sizeOf(shape))
    eachRow(shape, axis, indices.data, (row, position, length) => {
      for (let k = 0; k < length; k++) out[row + k] = element(out, row + k) + element(updates.data, position + k)
    })
    return out
  },
  matmul: ({ shape }, inputs) => product(shape, first(inputs), second(inputs)),
  convolution: (node, inputs) => {
    const out = new Float64Array(sizeOf(node.shape))
    eachTap(node, first(inputs).shape, second(inputs).shape, node.shape, (x, kernel, y) => {
      out[y] = element(out, y) + element(first(inputs).data, x) * element(second(inputs).data, kernel)
    })
    return out
  },
  convolutionInput: (node, inputs) => {
    const out = new Float64Array(sizeOf(node.shape))
    eachTap(node, node.shape, second(inputs).shape, first(inputs).shape, (x, kernel, y) => {
      out[x] = element(out, x) + element(first(inputs).data, y) * element(second(inputs).data, kernel)
    })
    return out
  },
  convolutionKernel: (node, inputs) => {
    const out = new Float64Array(sizeOf(node.shape))
    eachTap(node, first(inputs).shape, node.shape, second(inputs).shape, (x, kernel, y) => {
      out[kernel] = element(out, kernel) + element(first(inputs).data, x) * element(second(inputs).data, y)
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
/** A number that is known to be there. */
const element = (data: Float64Array | Int32Array, index: number): number => data[index] as number

/** Where each element of `shape`, in row-major order, lies in a buffer walked with `strides` from `origin`. */
function offsetsOf(shape: Shape, strides: readonly number[], origin = 0): Int32Array {
  let offsets = Int32Array.of(origin)
  shape.forEach((size, axis) => {
    const stride = at(strides, axis)
    const finer = new Int32Array(offsets.length * size)
    let cursor = 0
    for (const offset of offsets) for (let step = 0; step < size; step++) finer[cursor++] = offset + step * stride
    offsets = finer
  })
  return offsets
}

function read(data: Float64Array, offsets: Int32Array): Float64Array {
  const out = new Float64Array(offsets.length)
  for (let index = 0; index < out.length; index++) out[index] = element(data, element(offsets, index))
  return out
}

/** Writes a tensor into a larger one, its first element at `corner`. */
function place({ shape, data }: Tensor, out: Float64Array, whole: Shape, corner: readonly number[]): void {
  const strides = stridesOf(whole)
  const offsets = offsetsOf(shape, strides, dot(corner, strides))
  for (let index = 0; index < data.length; index++) out[element(offsets, index)] = element(data, index)
}

/** A shape's strides with steps of zero along axes of size one, which are thereby repeated. */
const repeatingStrides = (shape: Shape): number[] =>
  stridesOf(shape).map((stride, axis) => (at(shape, axis) === 1 ? 0 : stride))

/** A tensor repeated along its axes of size one. */
function spread({ shape, data }: Tensor, to: Shape): Float64Array {
  if (sameShape(shape, to)) return data
  const lead = new Array<number>(to.length - shape.length).fill(0)
  return read(data, offsetsOf(to, [...lead, ...repeatingStrides(shape)]))
}

function reduced(
  node: { readonly shape: Shape },
  { shape, data }: Tensor,
  start: number,
  join: (total: number, value: number) => number,
): Float64Array {
  const out = new Float64Array(sizeOf(node.shape)).fill(start)
  const targets = offsetsOf(shape, repeatingStrides(node.shape))
  for (let index = 0; index < data.length; index++) {
    const target = element(targets, index)
    out[target] = join(element(out, target), element(data, index))
  }
  return out
}

/**
 * Visits the runs that gather and scatterAdd move: where a run starts in the table, where among the rows picked, and
 * its length. @throws RangeError for an index that is no row of the table.
 */
function eachRow(
  table: Shape,
  axis: number,
  indices: Float64Array,
  visit: (row: number, position: number, length: number) => void,
): void {
  const [rows, length] = [at(table, axis), sizeOf(table.slice(axis + 1))]
  const odd = indices.find((index) => !Number.isInteger(index) || index < 0 || index >= rows)
  if (odd !== undefined) throw new RangeError(`evaluate: got the index ${odd}, allowed are 0 to ${rows - 1}`)
  let position = 0
  for (let outer = 0; outer < sizeOf(table.slice(0, axis)); outer++) {
    for (const index of indices) {
      visit((outer * rows + index) * length, position, length)
      position += length
    }
  }
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
        const factor = element(left, (matrix * rows + row) * inner + k)
        const [from, to] = [(matrix * inner + k) * columns, (matrix * rows + row) * columns]
        for (let column = 0; column < columns; column++)
          out[to + column] = (out[to + column] as number) + factor * element(right, from + column)
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
  const [height, width, channels] = [at(input, 2), at(input, 3), at(input, 1)]
  const [tall, wide] = [at(kernel, 2), at(kernel, 3)]
  let y = 0
  eachIndex(output, (n, o, row, column) => {
    const [top, left] = [row * stride[0] - padding[0], column * stride[1] - padding[1]]
    for (let c = 0; c < channels; c++) {
      for (let up = Math.max(0, -top); up < Math.min(tall, height - top); up++) {
        const line = ((n * channels + c) * height + top + up) * width + left
        const tap = ((o * channels + c) * tall + up) * wide
        for (let across = Math.max(0, -left); across < Math.min(wide, width - left); across++)
          visit(line + across, tap + across, y)
      }
    }
    y++
  })
}

function eachIndex(shape: Shape, visit: (n: number, o: number, row: number, column: number) => void): void {
  const [batch, channels, height, width] = [at(shape, 0), at(shape, 1), at(shape, 2), at(shape, 3)]
  for (let n = 0; n < batch; n++)
    for (let o = 0; o < channels; o++)
      for (let row = 0; row < height; row++) for (let column = 0; column < width; column++) visit(n, o, row, column)
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
