/**
 * Rewrites from graph to graph: equal values become one, chosen composites are written out, and what the short rules of
 * autodiff/ and nn/ leave behind is tidied.
 *
 * A gradient repeats transposes, constants and broadcasts freely; merging them here keeps those rules short. The parts
 * of a split come back as padded cotangents that are added; side by side they are one concatenation. Layers fold and
 * unfold their leading axes; a reshape sinks below what acts on each element or each row, until it meets the next one.
 * Nothing numeric is decided: every rewrite gives the same numbers bit for bit, but for the sign of a zero.
 */

import { expansion, isComposite } from './composites.ts'
import {
  type Composite,
  type Graph,
  graphOf,
  type Op,
  type Shape,
  sameShape,
  topologicalOrder,
  type Value,
} from './graph.ts'
import * as op from './ops.ts'

export interface RewriteOptions {
  /** Composites to write out in primitives; none when left out. */
  readonly expand?: (composite: Composite) => boolean
}

/** Merges equal values and writes out the composites asked for. */
export function rewrite(graph: Graph, { expand = () => false }: RewriteOptions = {}): Graph {
  const written = (node: Value): Value => {
    let current = node
    while (isComposite(current) && expand(current.op)) current = expansion(current)
    return current
  }
  const rewritten = new Map<Value, Value>()
  const known = new Map<string, Value>()
  const numbers = new Map<object, number>()
  const numberOf = (thing: object): number => {
    const number = numbers.get(thing) ?? numbers.size
    numbers.set(thing, number)
    return number
  }
  const roots = [...graph.outputs.values()].map(written)
  for (const node of topologicalOrder(roots, (each) => each.inputs.map(written))) {
    const inputs = node.inputs.map((input) => rewritten.get(written(input)) as Value)
    const key = keyOf(node, inputs, numberOf)
    const same = known.get(key)
    // Rebuilding keeps op and attributes together, so the union member stays the same.
    const rebuilt = () =>
      inputs.every((each, index) => each === node.inputs[index]) ? node : ({ ...node, inputs } as Value)
    const fresh = same ?? tidied(rebuilt())
    known.set(key, fresh)
    rewritten.set(node, fresh)
  }
  return graphOf(new Map([...graph.outputs].map(([name, node]) => [name, rewritten.get(written(node)) as Value])))
}

/** Two values of one key hold the same numbers. Long constants are told apart by identity only. */
function keyOf(node: Value, inputs: readonly Value[], numberOf: (thing: object) => number): string {
  if (node.op === 'constant') {
    const { data } = node.attributes
    return `constant ${node.dtype} ${node.shape} ${data.length <= 16 ? Array.from(data, numeral).join() : numberOf(data)}`
  }
  return `${node.op} ${node.dtype} ${inputs.map(numberOf)} ${JSON.stringify(node.attributes)}`
}

/** A number as text that tells −0 from 0, which join() does not. */
const numeral = (number: number): string => (Object.is(number, -0) ? '-0' : String(number))

/** The same value written shorter, if it can be. */
function tidied(node: Value): Value {
  if (node.op === 'add') return joined(op.at(node.inputs, 0), op.at(node.inputs, 1)) ?? sunk(node)
  if (node.op === 'reshape' && node.inputs[0]?.op === 'reshape') return op.reshape(node.inputs[0], node.shape)
  return sunk(node)
}

/**
 * The sum of two paddings that lie side by side along one axis and cover each other's zeros: one padding of both, or
 * none. The neighbour may sit inside a sum; moving the zeros about in it changes nothing.
 */
function joined(a: Value, b: Value): Value | undefined {
  if (a.op === 'add' && b.op === 'pad') {
    const [left, right] = a.inputs as readonly [Value, Value]
    const [withLeft, withRight] = [joined(left, b), joined(right, b)]
    if (withLeft !== undefined) return joined(withLeft, right) ?? op.add(withLeft, right)
    return withRight && (joined(left, withRight) ?? op.add(left, withRight))
  }
  if (a.op !== 'pad' || b.op !== 'pad') return undefined
  const [left, right] = a.attributes.before.some((n, axis) => n > op.at(b.attributes.before, axis)) ? [b, a] : [a, b]
  const [parts, spans] = [
    [op.at(left.inputs, 0), op.at(right.inputs, 0)] as const,
    [left.attributes, right.attributes] as const,
  ]
  const axes = spans[0].before.map((_, axis) => axis)
  const differs = (axis: number) =>
    spans[0].before[axis] !== spans[1].before[axis] || spans[0].after[axis] !== spans[1].after[axis]
  const apart = axes.filter(differs)
  const axis = apart[0]
  if (axis === undefined || apart.length > 1) return undefined
  const end = op.at(spans[0].before, axis) + op.at(parts[0].shape, axis)
  if (end !== op.at(spans[1].before, axis)) return undefined
  const pieces = parts.flatMap((part) =>
    part.op === 'concatenate' && part.attributes.axis === axis ? part.inputs : [part],
  )
  return op.pad(op.concatenate(pieces, axis), spans[0].before, spans[1].after)
}

const unary: ReadonlySet<Op> = new Set<Op>(
  'negate exp log sqrt reciprocal sin cos tanh erf sigmoid abs relu cast stopGradient squaredRelu gelu'.split(
    ' ',
  ) as Op[],
)
const binary: ReadonlySet<Op> = new Set<Op>(
  'add subtract multiply divide maximum minimum less equal'.split(' ') as Op[],
)
const rowwise: ReadonlySet<Op> = new Set<Op>(['softmax', 'layerNorm', 'rmsNorm', 'inverseDeviation'])

/** A reshape of its input made a reshape of its output, where that means the same. */
function sunk(node: Value): Value {
  const moved = beneath(node)
  return moved === undefined ? node : op.reshape(moved, node.shape)
}

/** The node over its input as it was before the reshape. */
function beneath(node: Value): Value | undefined {
  const [a, b] = node.inputs
  if (a === undefined) return undefined
  const source = a.op === 'reshape' ? op.at(a.inputs, 0) : undefined
  if (unary.has(node.op)) return source && over(node, source.shape, [source])
  if (binary.has(node.op) && b !== undefined) return beneathBoth(node, a, b)
  if (source === undefined || !rowwise.has(node.op) || !sameRows(a.shape, source.shape)) return undefined
  // A row gives as many numbers as before: itself, or one.
  const shape = [...source.shape.slice(0, -1), op.at(node.shape, node.shape.length - 1)]
  return over(node, shape, [source, ...node.inputs.slice(1)])
}

function beneathBoth(node: Value, a: Value, b: Value): Value | undefined {
  // The lowering knows a square by its two equal sides, right below a sum.
  if (a === b) return undefined
  const [left, right] = [a, b].map((side) => (side.op === 'reshape' ? op.at(side.inputs, 0) : undefined))
  if (left !== undefined && right !== undefined)
    return sameShape(left.shape, right.shape) && sameShape(a.shape, b.shape)
      ? over(node, left.shape, [left, right])
      : undefined
  const [source, whole, other] = left === undefined ? [right, b, a] : [left, a, b]
  if (source === undefined || !sameShape(whole.shape, node.shape)) return undefined
  const alongRows = other.shape.length === 0 || (other.shape.length === 1 && sameRows(whole.shape, source.shape))
  return alongRows ? over(node, source.shape, left === undefined ? [a, source] : [source, b]) : undefined
}

const sameRows = (a: Shape, b: Shape): boolean => a.at(-1) === b.at(-1)

const over = (node: Value, shape: Shape, inputs: readonly Value[]): Value => ({ ...node, inputs, shape }) as Value
