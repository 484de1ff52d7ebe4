/**
 * From values to ONNX nodes: one rule per primitive, one fused operator per composite.
 *
 * Static shapes only, no shape arithmetic, so nothing but the network reaches an execution provider. Parameters become
 * initializers that point into weight files as they are (external data), or inputs when training feeds them. Knows no
 * protobuf (encode.ts) and no runtime.
 *
 * Forms are recognised where ORT has an operator that saves a pass over memory: products (products.ts), and a sum of
 * squares, which is ReduceSumSquare.
 */

import { compositeRules } from '../autodiff/vjp.ts'
import { isComposite } from '../graph/composites.ts'
import {
  type Composite,
  type DType,
  type Graph,
  type Op,
  type Primitive,
  type Shape,
  sameShape,
  sizeOf,
  topologicalOrder,
  type Value,
  type ValueOf,
} from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { rewrite } from '../graph/passes.ts'
import { type Emitter, float, integer, integers } from './emitter.ts'
import type { OnnxDType, OnnxInitializer, OnnxModel, OnnxNode } from './encode.ts'
import { affineLayerNorm, inverseDeviation, layerNorm, rmsNorm } from './norms.ts'
import { factorOf, product, scaledProduct, shiftedProduct } from './products.ts'
import { type BlocksOperand, parameterStore, type StoredTensor } from './store.ts'

export interface LowerOptions {
  /** Finds a parameter's bytes. Left out, parameters are inputs of the model, as training wants. */
  readonly stored?: (name: string, shape: Shape) => StoredTensor
  /** Which composites become fused operators; the rest are written out. */
  readonly fuse?: (composite: Composite) => boolean
  /** Whether the CPU provider alone will run it: products then take the forms that it is fast at (products.ts). */
  readonly forCpu?: boolean
}

/** Keeps whole what the gradient keeps whole or made itself, so forward and backward share their intermediates. */
export const fuseForTraining = (composite: Composite): boolean =>
  (compositeRules[composite] !== undefined || composite === 'inverseDeviation') && fusedRules[composite] !== null

type LowerRule<K extends Primitive | Composite> = (node: ValueOf<K>, emitter: Emitter) => string

const direct =
  (type: string) =>
  (node: ValueOf<Primitive>, { emit, name }: Emitter): string =>
    emit(type, node.inputs.map(name))

const first = (node: { readonly inputs: readonly Value[] }): Value => op.at(node.inputs, 0)
const second = (node: { readonly inputs: readonly Value[] }): Value => op.at(node.inputs, 1)

const lowerRules = {
  input: (node) => node.attributes.name,
  parameter: (node) => node.attributes.name,
  constant: (node, { floats, whole }) =>
    node.dtype === 'int32' || node.dtype === 'bool'
      ? whole(node.attributes.data, node.shape, node.dtype)
      : floats(node.attributes.data, node.shape),
  negate: direct('Neg'),
  exp: direct('Exp'),
  log: direct('Log'),
  sqrt: direct('Sqrt'),
  reciprocal: direct('Reciprocal'),
  sin: direct('Sin'),
  cos: direct('Cos'),
  tanh: direct('Tanh'),
  erf: direct('Erf'),
  sigmoid: direct('Sigmoid'),
  abs: direct('Abs'),
  relu: direct('Relu'),
  add: (node, emitter) =>
    shiftedProduct(node, emitter) ?? affineLayerNorm(node, emitter) ?? direct('Add')(node, emitter),
  subtract: direct('Sub'),
  multiply: (node, emitter) => scaledProduct(node, emitter) ?? mean(node, emitter) ?? direct('Mul')(node, emitter),
  divide: direct('Div'),
  maximum: direct('Max'),
  minimum: direct('Min'),
  less: direct('Less'),
  equal: direct('Equal'),
  select: direct('Where'),
  sum: (node, emitter) => {
    const inner = first(node)
    const root = squareRoot(inner)
    const type = root === undefined ? 'ReduceSum' : 'ReduceSumSquare'
    return emitter.emit(type, [emitter.name(root ?? inner), emitter.integers(node.attributes.axes)], {
      keepdims: integer(1),
    })
  },
  max: (node, { emit, name, integers: longs }) =>
    emit('ReduceMax', [name(first(node)), longs(node.attributes.axes)], { keepdims: integer(1) }),
  reshape: (node, { emit, name, integers: longs }) => emit('Reshape', [name(first(node)), longs(node.shape)]),
  transpose: (node, { transposed }) => transposed(first(node), node.attributes.permutation),
  broadcast: (node, { emit, name, integers: longs }) => emit('Expand', [name(first(node)), longs(node.shape)]),
  slice: (node, { emit, name, integers: longs }) => {
    const { starts, ends } = node.attributes
    const axes = starts
      .map((_, axis) => axis)
      .filter((axis) => starts[axis] !== 0 || ends[axis] !== first(node).shape[axis])
    const pick = (list: readonly number[]) => longs(axes.map((axis) => op.at(list, axis)))
    return emit('Slice', [name(first(node)), pick(starts), pick(ends), longs(axes)])
  },
  pad: (node, { emit, name, integers: longs }) =>
    emit('Pad', [name(first(node)), longs([...node.attributes.before, ...node.attributes.after])]),
  concatenate: (node, { emit, name }) => emit('Concat', node.inputs.map(name), { axis: integer(node.attributes.axis) }),
  gather: (node, { emit, name }) =>
    emit('Gather', [name(first(node)), name(second(node))], { axis: integer(node.attributes.axis) }),
  scatterAdd: (node, emitter) => scatterAdd(node, emitter),
  matmul: (node, emitter) => product(node, emitter),
  convolution: (node, { emit, name }) =>
    emit('Conv', node.inputs.map(name), {
      strides: integers(node.attributes.stride),
      pads: integers(node.attributes.padding),
    }),
  convolutionInput: (node, { emit, name }) =>
    emit('ConvTranspose', node.inputs.map(name), {
      strides: integers(node.attributes.stride),
      pads: integers(node.attributes.padding),
      output_padding: integers(outputPadding(node)),
    }),
  // The kernel's cotangent is a convolution with batch and channels swapped, the stride acting as a dilation.
  convolutionKernel: (node, { emit, name, integers: longs }) => {
    const [x, cotangent] = node.inputs.map((each) => emit('Transpose', [name(each)], { perm: integers([1, 0, 2, 3]) }))
    const swapped = emit('Conv', [x as string, cotangent as string], {
      dilations: integers(node.attributes.stride),
      pads: integers(node.attributes.padding),
    })
    const cut = emit('Slice', [swapped, longs([0, 0]), longs(node.attributes.size), longs([2, 3])])
    return emit('Transpose', [cut], { perm: integers([1, 0, 2, 3]) })
  },
  cast: (node, { emit, name }) => emit('Cast', [name(first(node))], { to: integer(castCodes[node.dtype]) }),
  stopGradient: (node, { name }) => name(first(node)),
} as const satisfies { readonly [K in Primitive]: LowerRule<K> }

const castCodes: Readonly<Record<DType, number>> = { float32: 1, int32: 6, bool: 9, float16: 10 }

/** Null: ORT has no operator for it, and its expansion is used. */
const fusedRules = {
  softmax: (node, { emit, name }) => emit('Softmax', [name(first(node))], { axis: integer(-1) }),
  layerNorm,
  rmsNorm,
  inverseDeviation,
  squaredRelu: null,
  neighbours: null,
  gelu: (node, { emit, name }) =>
    emit('Gelu', [name(first(node))], { approximate: { kind: 'text', value: node.attributes.approximate } }),
  rope: (node, { emit, name, integers: longs }) => {
    const [x, cos, sin] = node.inputs.map(name)
    const inputs = [x as string, longs([0]), cos as string, sin as string]
    const { heads, layout } = node.attributes
    const attributes = { num_heads: integer(heads), ...(layout === 'neighbours' ? { interleaved: integer(1) } : {}) }
    return emit('RotaryEmbedding', inputs, attributes, 'com.microsoft')
  },
  attention: (node, emitter) => {
    const { emit, name, integers: longs } = emitter
    const [query, key, content] = node.inputs.slice(0, 3).map(name)
    const inputs = [query as string, key as string, content as string]
    const bias = node.inputs[3]
    if (bias !== undefined) {
      const lead = [op.at(bias.shape, 0), op.at(bias.shape, 1)]
      const full = [...lead, op.at(node.shape, 1), op.at(second(node).shape, 1)]
      const whole = sameShape(full, bias.shape) ? name(bias) : emit('Expand', [name(bias), longs(full)])
      inputs.push('', '', whole)
    }
    const { heads, scale } = node.attributes
    const attributes = { num_heads: integer(heads), ...(scale === undefined ? {} : { scale: float(scale) }) }
    return emit('MultiHeadAttention', inputs, attributes, 'com.microsoft')
  },
} as const satisfies { readonly [K in Composite]: LowerRule<K> | null }

/** The graph as an ONNX model. Inputs, parameters (when fed) and outputs keep their names. */
export function lower(graph: Graph, { stored, fuse = () => true, forCpu = false }: LowerOptions = {}): OnnxModel {
  const { inputs, parameters, outputs } = rewrite(graph, {
    expand: (composite) => !fuse(composite) || fusedRules[composite] === null,
  })
  const order = topologicalOrder([...outputs.values()])
  const sheet = emptySheet(useCounts(order, outputs), forCpu)
  for (const parameter of parameters) if (stored !== undefined) sheet.store(parameter, stored)
  for (const node of order) if (!sheet.absorbed(node)) sheet.write(node)
  for (const [name, node] of outputs) sheet.alias(name, node)
  const port = (node: Value, name: string) => ({ name, dtype: node.dtype, shape: node.shape })
  return {
    ...sheet.finished(),
    inputs: [...inputs, ...(stored === undefined ? parameters : [])].map((node) => port(node, node.attributes.name)),
    outputs: [...outputs].map(([name, node]) => port(node, name)),
  }
}

/** The growing list of nodes and initializers, and the emitter that rules write through. */
function emptySheet(uses: ReadonlyMap<Value, number>, forCpu: boolean) {
  const nodes: OnnxNode[] = []
  const initializers = new Map<string, OnnxInitializer>()
  const names = new Map<Value, string>()
  let scope = ''
  const usesOf = (node: Value) => uses.get(node) ?? 0
  const inline = (key: string, dtype: OnnxDType, shape: Shape, bytes: Uint8Array): string => {
    initializers.set(key, { name: key, dtype, shape, data: { kind: 'inline', bytes } })
    return key
  }
  const store = parameterStore(initializers, nodes)
  const blocks = new Map<Value, BlocksOperand>()
  const moved = new Map<string, string>()
  const once = (key: string, write: () => string): string => {
    const known = moved.get(key) ?? write()
    moved.set(key, known)
    return known
  }
  const emitted = new Set<string>()
  const renamed = new Map<string, string>()
  const copies: (readonly [source: string, name: string])[] = []
  const emitter: Emitter = {
    name: (node) => names.get(node) ?? emitter.name(writeLate(node)),
    overBlocks: (rows, weight) => {
      const held = blocks.get(weight)
      if (held === undefined) return undefined
      return emitter.emit('MatMulNBits', [emitter.name(rows), ...held.inputs], held.attributes, 'com.microsoft')
    },
    transposed: (node, permutation) => {
      const source = emitter.name(node)
      if (permutation.every((axis, index) => axis === index)) return source
      return once(`${source} ${permutation}`, () =>
        emitter.emit('Transpose', [source], { perm: integers(permutation) }),
      )
    },
    repeated: (node, times) => {
      const source = emitter.name(node)
      const shape = emitter.integers([times, ...node.shape])
      return once(`${source} × ${times}`, () => emitter.emit('Expand', [source, shape]))
    },
    once,
    further: (name, place, type) => {
      const at = nodes.findIndex(({ outputs }) => outputs[0] === name)
      const node = op.at(nodes, at)
      const outputs = Array.from({ length: Math.max(place + 1, node.outputs.length) }, (_, n) => node.outputs[n] ?? '')
      const output = `${name}:${place}`
      nodes[at] = { ...node, type: type ?? node.type, outputs: outputs.with(place, output) }
      emitted.add(output)
      return output
    },
    forCpu,
    uses: usesOf,
    emit: (type, inputs, attributes = {}, domain = '') => {
      const name = `${scope}/${type}_${nodes.length}`
      nodes.push({ name, type, domain, inputs, outputs: [name], attributes })
      emitted.add(name)
      return name
    },
    integers: (values, shape = [values.length]) => {
      const key = `int64[${shape.join()}](${values.join()})`
      if (initializers.has(key)) return key
      return inline(key, 'int64', shape, new Uint8Array(BigInt64Array.from(values, BigInt).buffer))
    },
    floats: (data, shape) => {
      const key =
        data.length <= 16 ? `float32[${shape.join()}](${Array.from(data).join()})` : `constant_${initializers.size}`
      return inline(key, 'float32', shape, new Uint8Array(new Float32Array(data).buffer))
    },
    whole: (data, shape, dtype) => {
      const bytes = dtype === 'bool' ? new Uint8Array(data) : new Uint8Array(new Int32Array(data).buffer)
      const key =
        data.length <= 16 ? `${dtype}[${shape.join()}](${Array.from(data).join()})` : `constant_${initializers.size}`
      return inline(key, dtype, shape, bytes)
    },
  }
  /** A value that a fused form would have absorbed, but somebody else needs after all. */
  const writeLate = (node: Value): Value => {
    write(node)
    return node
  }
  const write = (node: Value): void => {
    if (names.has(node)) return
    if (blocks.has(node) && node.op === 'parameter')
      throw new TypeError(`${node.attributes.name}: is stored in blocks, allowed only as a linear map's weight`)
    scope = node.scope
    const rule = (isComposite(node) ? fusedRules[node.op] : lowerRules[node.op]) as LowerRule<Primitive | Composite>
    names.set(node, rule(node as ValueOf<Primitive>, emitter))
  }
  return {
    write,
    absorbed: (node: Value) => blocks.has(node) || (absorbable(node) && usesOf(node) > 0),
    store: (parameter: ValueOf<'parameter'>, stored: NonNullable<LowerOptions['stored']>) => {
      const operand = store.add(parameter, stored(parameter.attributes.name, parameter.shape))
      if (typeof operand === 'string') names.set(parameter, operand)
      else blocks.set(parameter, operand)
    },
    /** What only nodes wrote gets the output's name itself; an input, a weight or a second name costs a copy. */
    alias: (name: string, node: Value) => {
      const source = emitter.name(node)
      if (emitted.has(source) && !renamed.has(source)) renamed.set(source, name)
      else copies.push([source, name])
    },
    finished: () => {
      const final = (name: string) => renamed.get(name) ?? name
      const written = nodes.map((node) => ({
        ...node,
        inputs: node.inputs.map(final),
        outputs: node.outputs.map(final),
      }))
      return {
        nodes: [...written, ...copies.map(([source, name]) => identity(final(source), name))],
        initializers: [...initializers.values()],
      }
    },
  }
}

function identity(source: string, name: string): OnnxNode {
  return { name: `${name}/Identity`, type: 'Identity', domain: '', inputs: [source], outputs: [name], attributes: {} }
}

const deferred: ReadonlySet<Op> = new Set(['transpose', 'matmul', 'sum', 'layerNorm'])

/**
 * Values written only if somebody asks for their name, since a later rule may take them in: transposes, products, sums,
 * norms, squares, what is scaled by a number or behind a norm.
 */
function absorbable(node: Value): boolean {
  if (node.op === 'multiply')
    return squareRoot(node) !== undefined || factorOf(node) !== undefined || node.inputs[0]?.op === 'layerNorm'
  return deferred.has(node.op)
}

function useCounts(order: readonly Value[], outputs: ReadonlyMap<string, Value>): ReadonlyMap<Value, number> {
  const counts = new Map<Value, number>()
  const count = (node: Value) => counts.set(node, (counts.get(node) ?? 0) + 1)
  for (const node of order) for (const each of node.inputs) count(each)
  for (const node of outputs.values()) count(node)
  return counts
}

/**
 * Zeros of the full size with the updates added along the front axis, moved back where it belongs.
 *
 * ScatterElements, not ScatterND: ORT's CPU kernel of the latter adds from several threads at once, and rows that are
 * picked twice then lose updates (1.30: one run in thirty wrong by 40–75 % with two threads).
 */
function scatterAdd(node: ValueOf<'scatterAdd'>, { emit, name, floats, integers: longs }: Emitter): string {
  const { axis, size } = node.attributes
  const [updates, indices] = [first(node), second(node)]
  const spread = indices.shape.map((_, index) => axis + index)
  const rest = updates.shape.map((_, index) => index).filter((index) => !spread.includes(index))
  const front = emit('Transpose', [name(updates)], { perm: integers([...spread, ...rest]) })
  const zero = floats([0], [1])
  const row = rest.map((index) => op.at(updates.shape, index))
  const count = sizeOf(indices.shape)
  const zeros = emit('Expand', [zero, longs([size, ...row])])
  const flat = emit('Reshape', [front, longs([count, ...row])])
  const wide = emit('Cast', [name(indices)], { to: integer(7) })
  const column = emit('Reshape', [wide, longs([count, ...row.map(() => 1)])])
  const rows = emit('Expand', [column, longs([count, ...row])])
  const attributes = { axis: integer(0), reduction: { kind: 'text', value: 'add' } } as const
  const added = emit('ScatterElements', [zeros, rows, flat], attributes)
  const order = rest.map((_, index) => index + 1)
  return emit('Transpose', [added], { perm: integers([...order.slice(0, axis), 0, ...order.slice(axis)]) })
}

/** A sum divided by the count of what it added. */
function mean(node: ValueOf<'multiply'>, { emit, name, integers: longs, uses }: Emitter): string | undefined {
  const [sum, factor] = [first(node), factorOf(node)]
  if (sum.op !== 'sum' || factor === undefined || uses(sum) !== 1 || squareRoot(first(sum)) !== undefined)
    return undefined
  const { axes } = sum.attributes
  const count = sizeOf(axes.map((axis) => op.at(first(sum).shape, axis)))
  if (factor !== 1 / count) return undefined
  return emit('ReduceMean', [name(first(sum)), longs(axes)], { keepdims: integer(1) })
}

/** What a value is the square of, if it is one. */
function squareRoot(node: Value): Value | undefined {
  return node.op === 'multiply' && node.inputs[0] === node.inputs[1] ? node.inputs[0] : undefined
}

function outputPadding(node: ValueOf<'convolutionInput'>): number[] {
  const { stride, padding, size } = node.attributes
  return [0, 1].map((axis) => {
    const steps = (op.at(first(node).shape, axis + 2) - 1) * op.at(stride, axis)
    const covered = steps + op.at(second(node).shape, axis + 2) - op.at(padding, axis) - op.at(padding, axis + 2)
    return op.at(size, axis) - covered
  })
}
