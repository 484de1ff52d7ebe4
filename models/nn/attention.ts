/**
 * Multi-head attention with its projections: over one sequence, or from one sequence to another.
 *
 * qk-norm (Henry et al. 2020, 2010.04245; RMS form as in Open-Sora) keeps the logits bounded whatever the width.
 * Rotary positions are tables given by the caller, who alone knows what the axes mean.
 */

import { attention, rmsNorm, rope } from '../graph/composites.ts'
import { parameter, scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { linear, linearParts } from './linear.ts'
import { scaledRmsNorm } from './norm.ts'

/** Cosines and sines of the rotation angles, each [T, d/2]. */
export interface RotaryTables {
  readonly cos: Value
  readonly sin: Value
}

export interface AttentionOptions {
  readonly heads: number
  readonly rotary?: RotaryTables
  /** Added to the logits; broadcasts to [B, heads, T, S]. */
  readonly bias?: Value
  /** Gain of the output projection; 0 makes a residual branch silent at the start. */
  readonly gain?: number
}

/** x [B, T, D] → [B, T, D]. */
export function selfAttention(name: string, x: Value, { heads, rotary, bias, gain = 1 }: AttentionOptions): Value {
  return scope(name, () => {
    const width = op.at(x.shape, 2)
    const [query, key, content] = linearParts('qkv', x, width, 3) as [Value, Value, Value]
    const turn = (part: Value) => (rotary === undefined ? part : rope(part, rotary.cos, rotary.sin, heads))
    const q = turn(headNorm('query', query, heads)) //                                  [B, T, D]
    const k = turn(headNorm('key', key, heads)) //                                      [B, T, D]
    return linear('out', attention(q, k, content, heads, bias), width, { gain })
  })
}

/** What cross-attention under the same name reads of a context [B, S, E]: keys and contents, each [B, S, width]. */
export function contextReading(name: string, context: Value, width: number, heads: number): readonly [Value, Value] {
  return scope(name, () => {
    const [key, content] = linearParts('kv', context, width, 2) as [Value, Value]
    return [headNorm('key', key, heads), content]
  })
}

/** x [B, T, D] looks at what was read of a context, keys and contents [B, S, D] → [B, T, D]. */
export function crossAttention(
  name: string,
  x: Value,
  [key, content]: readonly [Value, Value],
  { heads, bias, gain = 1 }: Omit<AttentionOptions, 'rotary'>,
): Value {
  return scope(name, () => {
    const width = op.at(x.shape, 2)
    const query = headNorm('query', linear('q', x, width, { bias: false }), heads)
    return linear('out', attention(query, key, content, heads, bias), width, { gain })
  })
}

/** Names of the four projections in a checkpoint, and which of them have a bias. */
export interface ProjectionNames {
  readonly query: string
  readonly key: string
  readonly content: string
  readonly out: string
}

export interface ProjectedAttentionOptions {
  readonly heads: number
  /** Width of all heads together; that of x when left out. */
  readonly inner?: number
  readonly names?: ProjectionNames
  /** Whether queries, keys and contents, and whether the output have a bias; both when left out. */
  readonly biases?: { readonly inner: boolean; readonly out: boolean }
  /** Epsilon of an RMS norm of queries and keys over all heads together; none when left out. */
  readonly norm?: number
  /** Turns queries and keys by position. */
  readonly turn?: (x: Value) => Value
  /** Added to the logits; broadcasts to [B, heads, T, S]. */
  readonly bias?: Value
  /** Multiplies the logits; 1/√d when left out. */
  readonly scale?: number
}

const releasedNames: ProjectionNames = { query: 'to_q', key: 'to_k', content: 'to_v', out: 'to_out.0' }

/**
 * Attention as released checkpoints store it, four projections apart: x [B, T, D] looks at context [B, S, E] → [B, T, D].
 */
export function projectedAttention(
  name: string,
  x: Value,
  context: Value,
  {
    heads,
    inner = op.at(x.shape, 2),
    names = releasedNames,
    biases = { inner: true, out: true },
    norm,
    turn = (each) => each,
    bias,
    scale,
  }: ProjectedAttentionOptions,
): Value {
  return scope(name, () => {
    const project = (part: string, from: Value) => linear(part, from, inner, { bias: biases.inner })
    const even = (part: string, y: Value) => (norm === undefined ? y : scaledRmsNorm(part, y, norm))
    const query = turn(even('norm_q', project(names.query, x))) //                      [B, T, heads·d]
    const key = turn(even('norm_k', project(names.key, context))) //                    [B, S, heads·d]
    const content = project(names.content, context) //                                  [B, S, heads·d]
    const seen = attention(query, key, content, heads, bias, scale)
    return linear(names.out, seen, op.at(x.shape, 2), { bias: biases.out })
  })
}

/** RMS norm of each head by itself, with one learned scale for all heads. */
function headNorm(name: string, x: Value, heads: number): Value {
  const [batch, length, width] = [op.at(x.shape, 0), op.at(x.shape, 1), op.at(x.shape, 2)]
  const scale = scope(name, () => parameter('scale', [width / heads], { kind: 'ones' }))
  return op.reshape(rmsNorm(op.reshape(x, [batch, length, heads, width / heads]), scale), x.shape)
}
