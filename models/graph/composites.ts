/**
 * Composites: what networks are made of, written once in primitives.
 *
 * A composite is one value with its meaning attached: `expansion(value)` gives the primitives, remembered, so that a
 * gradient and a lowering that both expand a value share every intermediate. The lowering may emit a runtime's fused
 * operator instead; autodiff/vjp.ts may hold a shorter rule than the expansion's own.
 *
 * RMS norm: Zhang & Sennrich 2019 (1910.07467). GELU: Hendrycks & Gimpel 2016 (1606.08415). RoPE: Su et al. 2021
 * (2104.09864), pairing the halves of a head or its neighbours, both layouts of the fused operator. Attention: Vaswani et al. 2017.
 */

import {
  type Composite,
  type CompositeAttributes,
  type RotaryLayout,
  scopeName,
  type Value,
  type ValueOf,
  value,
} from './graph.ts'
import * as op from './ops.ts'

type Expansion<K extends Composite> = (inputs: readonly Value[], attributes: CompositeAttributes[K]) => Value

const expansions = {
  softmax: (inputs) => {
    const x = op.at(inputs, 0)
    const powers = op.exp(op.subtract(x, op.max(x, [-1])))
    return op.divide(powers, op.sum(powers, [-1]))
  },
  layerNorm: (inputs, { epsilon }) => {
    const x = op.at(inputs, 0)
    const centred = op.subtract(x, op.mean(x, [-1]))
    return op.divide(centred, op.sqrt(op.add(op.mean(op.square(centred), [-1]), epsilon)))
  },
  rmsNorm: (inputs, { epsilon }) => {
    const x = op.at(inputs, 0)
    const scaled = op.divide(x, op.sqrt(op.add(op.mean(op.square(x), [-1]), epsilon)))
    return op.multiply(scaled, op.at(inputs, 1))
  },
  inverseDeviation: (inputs, { epsilon, centred }) => {
    const x = op.at(inputs, 0)
    // Not E[x²] − E[x]²: in float32 that cancels where the mean is large, and can even turn negative.
    const deviation = centred ? op.subtract(x, op.mean(x, [-1])) : x
    return op.reciprocal(op.sqrt(op.add(op.mean(op.square(deviation), [-1]), epsilon)))
  },
  squaredRelu: (inputs) => op.square(op.relu(op.at(inputs, 0))),
  neighbours: (inputs) => {
    const x = op.at(inputs, 0)
    const [count, height, width, channels] = x.shape as [number, number, number, number]
    const padded = op.reshape(op.pad(x, [0, 1, 1, 0], [0, 1, 1, 0]), [count, (height + 2) * (width + 2), channels])
    const around = op.gather(padded, op.constant(cellsAround(height, width)), 1) //     [N, H·W·9, C]
    return op.reshape(around, [count, height, width, 9 * channels])
  },
  gelu: (inputs, { approximate }) => {
    const x = op.at(inputs, 0)
    if (approximate === 'none') return op.multiply(op.multiply(x, 0.5), op.add(op.erf(op.multiply(x, Math.SQRT1_2)), 1))
    const cubic = op.add(x, op.multiply(op.multiply(op.square(x), x), 0.044715))
    return op.multiply(op.multiply(x, 0.5), op.add(op.tanh(op.multiply(cubic, Math.sqrt(2 / Math.PI))), 1))
  },
  rope: (inputs, { heads, layout }) => {
    const [x, cos, sin] = [op.at(inputs, 0), op.at(inputs, 1), op.at(inputs, 2)]
    const [batch, length, width] = [op.at(x.shape, 0), op.at(x.shape, 1), op.at(x.shape, 2)]
    const pairs = width / heads / 2
    const axis = layout === 'halves' ? 3 : 4
    const split = op.reshape(x, [batch, length, heads, ...(layout === 'halves' ? [2 * pairs] : [pairs, 2])])
    const [first, second] = op.split(split, 2, axis) as [Value, Value] //               [B, T, H, d/2(, 1)]
    const table = (angles: Value) => op.reshape(angles, [1, length, 1, pairs, ...(axis === 4 ? [1] : [])])
    const [c, s] = [table(cos), table(sin)]
    const turned = op.concatenate(
      [
        op.subtract(op.multiply(first, c), op.multiply(second, s)),
        op.add(op.multiply(second, c), op.multiply(first, s)),
      ],
      axis,
    )
    return op.reshape(turned, x.shape)
  },
  attention: (inputs, { heads, masked, scale }) => {
    const [query, key, content] = [op.at(inputs, 0), op.at(inputs, 1), op.at(inputs, 2)]
    const width = op.at(query.shape, 2) / heads
    const products = op.matmul(intoHeads(query, heads), op.swapLast(intoHeads(key, heads)))
    const logits = op.multiply(products, scale ?? 1 / Math.sqrt(width)) //              [B, H, T, S]
    const weights = softmax(masked ? op.add(logits, op.at(inputs, 3)) : logits)
    return outOfHeads(op.matmul(weights, intoHeads(content, heads))) //                 [B, T, D]
  },
} as const satisfies { readonly [K in Composite]: Expansion<K> }

const remembered = new WeakMap<Value, Value>()

export function isComposite(node: Value): node is ValueOf<Composite> & Value {
  return Object.hasOwn(expansions, node.op)
}

/** The composite written out; the same value is given every time, so intermediates are shared. */
export function expansion(node: ValueOf<Composite>): Value {
  const known = remembered.get(node as Value)
  if (known !== undefined) return known
  const rule = expansions[node.op] as Expansion<Composite>
  const written = rule(node.inputs, node.attributes as never)
  remembered.set(node as Value, written)
  return written
}

/** Softmax over the last axis. */
export const softmax = (x: Value): Value => value('softmax', [x], {}, x.shape)

/** Layer norm over the last axis without affine parameters. */
export const layerNorm = (x: Value, epsilon = 1e-6): Value => value('layerNorm', [x], { epsilon }, x.shape)

/** RMS norm over the last axis, times a learned scale [D]. */
export function rmsNorm(x: Value, scale: Value, epsilon = 1e-6): Value {
  if (scale.shape.join() !== x.shape.slice(-1).join())
    throw new RangeError(`${scopeName()}: rmsNorm over [${x.shape}] got a scale [${scale.shape}], takes its last axis`)
  return value('rmsNorm', [x, scale], { epsilon }, x.shape)
}

/** 1/√(variance + ε) of each row, or of its mean square where not `centred`: [..., D] → [..., 1]. Norms' gradients want it. */
export const inverseDeviation = (x: Value, epsilon: number, centred: boolean): Value =>
  value('inverseDeviation', [x], { epsilon, centred }, [...x.shape.slice(0, -1), 1])

/** relu(x)²: as good as GELU in small transformers and far cheaper to differentiate (So et al. 2021, 2109.08668). */
export const squaredRelu = (x: Value): Value => value('squaredRelu', [x], {}, x.shape)

/** [N, H, W, C] → [N, H, W, 9·C]: each cell's neighbourhood, row by row, zeros beyond the border. */
export const neighbours = (x: Value): Value =>
  value('neighbours', [x], {}, [...x.shape.slice(0, 3), 9 * op.at(x.shape, 3)])

/** Numbers of the nine cells around each of a plane H×W, counted in the plane with a border of one cell. */
function cellsAround(height: number, width: number): Int32Array {
  const cells = new Int32Array(height * width * 9)
  let n = 0
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++)
      for (let turn = 0; turn < 9; turn++) cells[n++] = (row + Math.floor(turn / 3)) * (width + 2) + column + (turn % 3)
  return cells
}

export const gelu = (x: Value, approximate: 'tanh' | 'none' = 'tanh'): Value =>
  value('gelu', [x], { approximate }, x.shape)

/**
 * Rotates each head's pairs by position. x [B, T, heads·d]; cos and sin [T, d/2].
 * Row t, pair m holds the cosine (sine) of the angle of pair m at token t; the layout of axes is the caller's.
 */
export function rope(x: Value, cos: Value, sin: Value, heads: number, layout: RotaryLayout = 'halves'): Value {
  const half = op.at(x.shape, 2) / heads / 2
  if (!Number.isInteger(half))
    throw new RangeError(`${scopeName()}: rope over [${x.shape}] wants an even head of ${heads}`)
  const table = [op.at(x.shape, 1), half].join()
  if (cos.shape.join() !== table || sin.shape.join() !== table)
    throw new RangeError(`${scopeName()}: rope got tables [${cos.shape}] and [${sin.shape}], takes [${table}]`)
  return value('rope', [x, cos, sin], { heads, layout }, x.shape)
}

/**
 * Scaled dot-product attention. query [B, T, D], key and content [B, S, D]; `bias`, if given, is added to the logits
 * and broadcasts to [B, heads, T, S]; the logits are scaled by 1/√d where `scale` says nothing else.
 */
export function attention(
  query: Value,
  key: Value,
  content: Value,
  heads: number,
  bias?: Value,
  scale?: number,
): Value {
  if (op.at(query.shape, 2) % heads !== 0) {
    throw new RangeError(`${scopeName()}: attention of width ${query.shape[2]} does not divide into ${heads} heads`)
  }
  const [batch, length, width] = query.shape
  const memory = op.at(key.shape, 1)
  if (key.shape.join() !== [batch, memory, width].join() || content.shape.join() !== key.shape.join()) {
    const got = `key [${key.shape}] and content [${content.shape}]`
    throw new RangeError(
      `${scopeName()}: attention of [${query.shape}] got ${got}, takes [${batch},${memory},${width}]`,
    )
  }
  const scaled = scale === undefined ? {} : { scale }
  if (bias === undefined)
    return value('attention', [query, key, content], { heads, masked: false, ...scaled }, query.shape)
  const logits = [batch as number, heads, length as number, memory]
  if (op.broadcastShapes(bias.shape, logits).join() !== logits.join())
    throw new RangeError(`${scopeName()}: attention got a bias [${bias.shape}], takes what broadcasts to [${logits}]`)
  // Four axes always: the fused operator does not align at the right.
  const full = op.reshape(bias, [...new Array<number>(4 - bias.shape.length).fill(1), ...bias.shape])
  return value('attention', [query, key, content, full], { heads, masked: true, ...scaled }, query.shape)
}

function intoHeads(x: Value, heads: number): Value {
  const [batch, length, width] = [op.at(x.shape, 0), op.at(x.shape, 1), op.at(x.shape, 2)]
  return op.transpose(op.reshape(x, [batch, length, heads, width / heads]), [0, 2, 1, 3])
}

function outOfHeads(x: Value): Value {
  const [batch, heads, length, width] = [op.at(x.shape, 0), op.at(x.shape, 1), op.at(x.shape, 2), op.at(x.shape, 3)]
  return op.reshape(op.transpose(x, [0, 2, 1, 3]), [batch, length, heads * width])
}
