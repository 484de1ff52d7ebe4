/**
 * The primitives: what one may write down, and the shape each gives.
 *
 * Knows no gradients, no runtime and no numbers. Builders simplify only what is free to see (reshaping to the same
 * shape, multiplying by one); everything else is left to passes.ts. Broadcasting is numpy's.
 */

import {
  type DType,
  type Primitive,
  type PrimitiveAttributes,
  type Shape,
  sameShape,
  scopeName,
  sizeOf,
  type Value,
  type ValueOf,
  value,
} from './graph.ts'

type ShapeRule<K extends Primitive> = (attributes: PrimitiveAttributes[K], inputs: readonly Shape[]) => Shape

const unchanged = (_: unknown, inputs: readonly Shape[]): Shape => at(inputs, 0)
const broadcastShape = (_: unknown, inputs: readonly Shape[]): Shape => inputs.reduce(broadcastShapes)
const reducedShape = ({ axes }: { readonly axes: readonly number[] }, inputs: readonly Shape[]): Shape =>
  at(inputs, 0).map((size, axis) => (axes.includes(axis) ? 1 : size))

/** The shape of every primitive, from its attributes and the shapes of its inputs. */
export const shapeRules = {
  input: () => fail('input', 'is made by graph.input()'),
  parameter: ({ shape }) => shape,
  constant: () => fail('constant', 'is made by constant()'),
  negate: unchanged,
  exp: unchanged,
  log: unchanged,
  sqrt: unchanged,
  reciprocal: unchanged,
  sin: unchanged,
  cos: unchanged,
  tanh: unchanged,
  erf: unchanged,
  sigmoid: unchanged,
  abs: unchanged,
  relu: unchanged,
  add: broadcastShape,
  subtract: broadcastShape,
  multiply: broadcastShape,
  divide: broadcastShape,
  maximum: broadcastShape,
  minimum: broadcastShape,
  less: broadcastShape,
  equal: broadcastShape,
  select: broadcastShape,
  sum: reducedShape,
  max: reducedShape,
  reshape: ({ shape }, inputs) =>
    sizeOf(shape) === sizeOf(at(inputs, 0))
      ? shape
      : fail('reshape', `[${at(inputs, 0)}] to [${shape}]: ${sizeOf(at(inputs, 0))} elements are not ${sizeOf(shape)}`),
  transpose: ({ permutation }, inputs) =>
    permutation.length === at(inputs, 0).length && at(inputs, 0).every((_, axis) => permutation.includes(axis))
      ? permutation.map((axis) => at(at(inputs, 0), axis))
      : fail('transpose', `got [${permutation}], allowed is an order of the axes of [${at(inputs, 0)}]`),
  broadcast: ({ shape }, inputs) =>
    sameShape(broadcastShapes(at(inputs, 0), shape), shape)
      ? shape
      : fail('broadcast', `[${at(inputs, 0)}] does not broadcast to [${shape}]`),
  slice: ({ starts, ends }, inputs) =>
    at(inputs, 0).map((size, axis) => sliceSize(size, at(starts, axis), at(ends, axis))),
  pad: ({ before, after }, inputs) =>
    [...before, ...after].every((size) => size >= 0)
      ? at(inputs, 0).map((size, axis) => size + at(before, axis) + at(after, axis))
      : fail('pad', `got [${before}] and [${after}], allowed is 0 or more; slice to cut`),
  concatenate: ({ axis }, inputs) => concatenatedShape(axis, inputs),
  gather: ({ axis }, inputs) => [...at(inputs, 0).slice(0, axis), ...at(inputs, 1), ...at(inputs, 0).slice(axis + 1)],
  scatterAdd: ({ axis, size }, inputs) => {
    const [updates, indices] = [at(inputs, 0), at(inputs, 1)]
    const end = axis + indices.length
    if (updates.slice(axis, end).join() !== indices.join())
      fail('scatterAdd', `[${updates}] does not hold rows for indices [${indices}] at axis ${axis}`)
    return [...updates.slice(0, axis), size, ...updates.slice(end)]
  },
  matmul: (_, inputs) => matmulShape(at(inputs, 0), at(inputs, 1)),
  convolution: (attributes, inputs) => {
    const [batch, channels, height, width] = four(at(inputs, 0))
    const [out, depth, kernelHeight, kernelWidth] = four(at(inputs, 1))
    if (channels !== depth) fail('convolution', `${channels} channels meet a kernel over ${depth}`)
    const [top, left, bottom, right] = attributes.padding
    const outHeight = Math.floor((height + top + bottom - kernelHeight) / attributes.stride[0]) + 1
    const outWidth = Math.floor((width + left + right - kernelWidth) / attributes.stride[1]) + 1
    return [batch, out, outHeight, outWidth]
  },
  // inputs: cotangent of the output [N,O,h,w], kernel [O,C,kh,kw]; gives the cotangent of the input [N,C,H,W]
  convolutionInput: ({ size }, inputs) => [at(at(inputs, 0), 0), at(at(inputs, 1), 1), ...size],
  // inputs: input [N,C,H,W], cotangent of the output [N,O,h,w]; gives the cotangent of the kernel [O,C,kh,kw]
  convolutionKernel: ({ size }, inputs) => [at(at(inputs, 1), 1), at(at(inputs, 0), 1), ...size],
  cast: unchanged,
  stopGradient: unchanged,
} as const satisfies { readonly [K in Primitive]: ShapeRule<K> }

const dtypeRules: Partial<Record<Primitive, (attributes: never, inputs: readonly Value[]) => DType>> = {
  less: () => 'bool',
  equal: () => 'bool',
  select: (_, inputs) => at(inputs, 1).dtype,
  cast: (attributes: PrimitiveAttributes['cast']) => attributes.dtype,
}

/** Makes a primitive, checking its shape rule. Errors lead with the scope. */
export function primitive<K extends Primitive>(
  op: K,
  inputs: readonly Value[],
  attributes: PrimitiveAttributes[K],
): ValueOf<K> {
  const rule = shapeRules[op] as ShapeRule<K>
  const shape = rule(
    attributes,
    inputs.map((node) => node.shape),
  )
  const dtype = dtypeRules[op]?.(attributes as never, inputs) ?? inputs[0]?.dtype ?? 'float32'
  // The attributes of a primitive are those of the op: K is a Primitive, which value() cannot see.
  return value<K>(op, inputs, attributes as Parameters<typeof value<K>>[2], shape, dtype)
}

/** A constant tensor; a bare number is a scalar of shape []. */
export function constant(
  data: number | readonly number[] | Float32Array | Int32Array,
  shape?: Shape,
  dtype: DType = data instanceof Int32Array ? 'int32' : 'float32',
): Value {
  const list = typeof data === 'number' ? [data] : data
  const full = shape ?? (typeof data === 'number' ? [] : [list.length])
  if (sizeOf(full) !== list.length) fail('constant', `${list.length} elements do not fill [${full}]`)
  return value('constant', [], { data: list }, full, dtype)
}

export type Operand = Value | number
const operand = (x: Operand): Value => (typeof x === 'number' ? constant(x) : x)

/** The number a scalar constant holds, if it is one. */
export function scalarOf(x: Operand): number | undefined {
  if (typeof x === 'number') return x
  return x.op === 'constant' && x.shape.length === 0 ? x.attributes.data[0] : undefined
}

export const negate = (x: Value): Value => primitive('negate', [x], {})
export const exp = (x: Value): Value => primitive('exp', [x], {})
export const log = (x: Value): Value => primitive('log', [x], {})
export const sqrt = (x: Value): Value => primitive('sqrt', [x], {})
export const reciprocal = (x: Value): Value => primitive('reciprocal', [x], {})
export const sin = (x: Value): Value => primitive('sin', [x], {})
export const cos = (x: Value): Value => primitive('cos', [x], {})
export const tanh = (x: Value): Value => primitive('tanh', [x], {})
export const erf = (x: Value): Value => primitive('erf', [x], {})
export const sigmoid = (x: Value): Value => primitive('sigmoid', [x], {})
export const abs = (x: Value): Value => primitive('abs', [x], {})
export const relu = (x: Value): Value => primitive('relu', [x], {})
export const silu = (x: Value): Value => multiply(x, sigmoid(x))
export const square = (x: Value): Value => multiply(x, x)

export function add(a: Operand, b: Operand): Value {
  if (scalarOf(b) === 0) return operand(a)
  if (scalarOf(a) === 0) return operand(b)
  return primitive('add', [operand(a), operand(b)], {})
}

export function subtract(a: Operand, b: Operand): Value {
  return scalarOf(b) === 0 ? operand(a) : primitive('subtract', [operand(a), operand(b)], {})
}

export function multiply(a: Operand, b: Operand): Value {
  if (scalarOf(b) === 1) return operand(a)
  if (scalarOf(a) === 1) return operand(b)
  return primitive('multiply', [operand(a), operand(b)], {})
}

export function divide(a: Operand, b: Operand): Value {
  return scalarOf(b) === 1 ? operand(a) : primitive('divide', [operand(a), operand(b)], {})
}

export const maximum = (a: Operand, b: Operand): Value => primitive('maximum', [operand(a), operand(b)], {})
export const minimum = (a: Operand, b: Operand): Value => primitive('minimum', [operand(a), operand(b)], {})
export const less = (a: Operand, b: Operand): Value => primitive('less', [operand(a), operand(b)], {})
export const equal = (a: Operand, b: Operand): Value => primitive('equal', [operand(a), operand(b)], {})
export const select = (condition: Value, whenTrue: Operand, whenFalse: Operand): Value =>
  primitive('select', [condition, operand(whenTrue), operand(whenFalse)], {})

/** Sums over `axes` (all when left out), keeping them with size 1. */
export function sum(x: Value, axes: readonly number[] = x.shape.map((_, axis) => axis)): Value {
  return axes.length === 0 ? x : primitive('sum', [x], { axes: axes.map((axis) => positive(axis, x)) })
}

export function mean(x: Value, axes: readonly number[] = x.shape.map((_, axis) => axis)): Value {
  const count = sizeOf(axes.map((axis) => at(x.shape, positive(axis, x))))
  return multiply(sum(x, axes), 1 / count)
}

export function max(x: Value, axes: readonly number[] = x.shape.map((_, axis) => axis)): Value {
  return axes.length === 0 ? x : primitive('max', [x], { axes: axes.map((axis) => positive(axis, x)) })
}

export function reshape(x: Value, shape: Shape): Value {
  if (sameShape(shape, x.shape)) return x
  const source = x.op === 'reshape' ? at(x.inputs, 0) : x
  return sameShape(source.shape, shape) ? source : primitive('reshape', [source], { shape })
}

export function transpose(x: Value, permutation: readonly number[]): Value {
  if (permutation.every((axis, index) => axis === index)) return x
  if (x.op === 'transpose') {
    const inner = x.attributes.permutation
    return transpose(
      at(x.inputs, 0),
      permutation.map((axis) => at(inner, axis)),
    )
  }
  return primitive('transpose', [x], { permutation })
}

/** Swaps the last two axes. */
export function swapLast(x: Value): Value {
  const axes = x.shape.map((_, axis) => axis)
  return transpose(x, [...axes.slice(0, -2), axes.length - 1, axes.length - 2])
}

export function broadcast(x: Value, shape: Shape): Value {
  return sameShape(shape, x.shape) ? x : primitive('broadcast', [x], { shape })
}

/** Takes [start, end) along one axis; negative bounds count from the end. */
export function slice(x: Value, axis: number, start: number, end = Number.POSITIVE_INFINITY): Value {
  const along = positive(axis, x)
  const size = at(x.shape, along)
  const from = start < 0 ? size + start : start
  const to = Math.min(end < 0 ? size + end : end, size)
  if (from === 0 && to === size) return x
  return primitive('slice', [x], {
    starts: x.shape.map((_, index) => (index === along ? from : 0)),
    ends: x.shape.map((whole, index) => (index === along ? to : whole)),
  })
}

/** Zero padding per axis. */
export function pad(x: Value, before: readonly number[], after: readonly number[]): Value {
  return before.every((n) => n === 0) && after.every((n) => n === 0) ? x : primitive('pad', [x], { before, after })
}

export function concatenate(parts: readonly Value[], axis: number): Value {
  const first = at(parts, 0)
  return parts.length === 1 ? first : primitive('concatenate', parts, { axis: positive(axis, first) })
}

/** Rows of `x` along `axis` at the int32 `indices`, whose shape replaces the axis. */
export const gather = (x: Value, indices: Value, axis = 0): Value =>
  primitive('gather', [x, indices], { axis: positive(axis, x) })

/** The adjoint of gather: zeros of `size` along `axis`, with `updates` added at `indices`. */
export const scatterAdd = (updates: Value, indices: Value, axis: number, size: number): Value =>
  primitive('scatterAdd', [updates, indices], { axis, size })

/** Batched matrix product [..., n, k] · [..., k, m]; leading axes broadcast. */
export const matmul = (a: Value, b: Value): Value => primitive('matmul', [a, b], {})

/** x [N,C,H,W], kernel [O,C,kh,kw] → [N,O,h,w]. */
export function convolution(
  x: Value,
  kernel: Value,
  stride: readonly [number, number] = [1, 1],
  padding: readonly [number, number, number, number] = [0, 0, 0, 0],
): Value {
  return primitive('convolution', [x, kernel], { stride, padding })
}

export const cast = (x: Value, dtype: DType): Value => (x.dtype === dtype ? x : primitive('cast', [x], { dtype }))
export const stopGradient = (x: Value): Value => primitive('stopGradient', [x], {})

/** Splits an axis into equal parts. */
export function split(x: Value, parts: number, axis: number): Value[] {
  const size = at(x.shape, positive(axis, x)) / parts
  if (!Number.isInteger(size)) fail('split', `axis ${axis} of [${x.shape}] does not divide into ${parts}`)
  return Array.from({ length: parts }, (_, part) => slice(x, axis, part * size, (part + 1) * size))
}

/** Sums a value down to a shape that broadcasts to it: the adjoint of broadcasting. */
export function sumTo(x: Value, shape: Shape): Value {
  if (sameShape(x.shape, shape)) return x
  const lead = x.shape.length - shape.length
  const axes = x.shape
    .map((_, axis) => axis)
    .filter((axis) => axis < lead || (shape[axis - lead] === 1 && x.shape[axis] !== 1))
  return reshape(sum(x, axes), shape)
}

/** numpy's rule: align at the right; sizes must agree or be 1. */
export function broadcastShapes(a: Shape, b: Shape): Shape {
  if (sameShape(a, b)) return a
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, index) => {
    const left = a[index - rank + a.length] ?? 1
    const right = b[index - rank + b.length] ?? 1
    if (left !== right && left !== 1 && right !== 1)
      fail('broadcast', `[${a}] and [${b}] differ at ${left} and ${right}`)
    return left === 1 ? right : left
  })
}

function matmulShape(a: Shape, b: Shape): Shape {
  const inner = a[a.length - 1]
  if (a.length < 2 || b.length < 2 || inner !== b[b.length - 2]) {
    fail('matmul', `[${a}] · [${b}]: inner sizes ${inner} and ${b[b.length - 2]} differ`)
  }
  return [...broadcastShapes(a.slice(0, -2), b.slice(0, -2)), at(a, a.length - 2), at(b, b.length - 1)]
}

function concatenatedShape(axis: number, inputs: readonly Shape[]): Shape {
  const first = at(inputs, 0)
  const fits = (shape: Shape) => shape.length === first.length && shape.every((n, i) => i === axis || n === first[i])
  const odd = inputs.find((shape) => !fits(shape))
  if (odd !== undefined) fail('concatenate', `[${odd}] does not join [${first}] along axis ${axis}`)
  return first.map((size, index) =>
    index === axis ? inputs.reduce((total, shape) => total + at(shape, axis), 0) : size,
  )
}

function sliceSize(size: number, start: number, end: number): number {
  if (start < 0 || end > size || start >= end) fail('slice', `[${start}, ${end}) is not within an axis of ${size}`)
  return end - start
}

function four(shape: Shape): readonly [number, number, number, number] {
  const [a, b, c, d] = shape
  if (shape.length !== 4 || a === undefined || b === undefined || c === undefined || d === undefined) {
    return fail('convolution', `got [${shape}], wants four axes`)
  }
  return [a, b, c, d]
}

function positive(axis: number, x: Value): number {
  const index = axis < 0 ? x.shape.length + axis : axis
  if (index < 0 || index >= x.shape.length) fail('axis', `${axis} is not an axis of [${x.shape}]`)
  return index
}

/** Element of a list that the caller knows to be there. */
export function at<T>(list: readonly T[], index: number): T {
  const element = list[index]
  if (element === undefined) throw new RangeError(`index ${index} is outside a list of ${list.length}`)
  return element
}

function fail(op: string, message: string): never {
  throw new RangeError(`${scopeName()}: ${op} ${message}`)
}
