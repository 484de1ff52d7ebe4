/**
 * Multi-head attention with its projections: over one sequence, or from one sequence to another.
 *
 * qk-norm (Henry et al. 2020, 2010.04245; RMS form as in Open-Sora) keeps the logits bounded whatever the width.
 * Rotary positions are tables given by the caller, who alone knows what the axes mean.
 */

import { attention, rmsNorm, rope } from '../graph/composites.ts'
import { parameter, scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { linear } from './linear.ts'

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
    const [query, key, content] = op.split(linear('qkv', x, 3 * width, { bias: false }), 3, -1) as [Value, Value, Value]
    const turn = (part: Value) => (rotary === undefined ? part : rope(part, rotary.cos, rotary.sin, heads))
    const q = turn(headNorm('query', query, heads)) //                                  [B, T, D]
    const k = turn(headNorm('key', key, heads)) //                                      [B, T, D]
    return linear('out', attention(q, k, content, heads, bias), width, { gain })
  })
}

/** x [B, T, D] looks at context [B, S, E] → [B, T, D]. */
export function crossAttention(
  name: string,
  x: Value,
  context: Value,
  { heads, bias, gain = 1 }: Omit<AttentionOptions, 'rotary'>,
): Value {
  return scope(name, () => {
    const width = op.at(x.shape, 2)
    const query = headNorm('query', linear('q', x, width, { bias: false }), heads)
    const [key, content] = op.split(linear('kv', context, 2 * width, { bias: false }), 2, -1) as [Value, Value]
    return linear('out', attention(query, headNorm('key', key, heads), content, heads, bias), width, { gain })
  })
}

/** RMS norm of each head by itself, with one learned scale for all heads. */
function headNorm(name: string, x: Value, heads: number): Value {
  const [batch, length, width] = [op.at(x.shape, 0), op.at(x.shape, 1), op.at(x.shape, 2)]
  const scale = scope(name, () => parameter('scale', [width / heads], { kind: 'ones' }))
  return op.reshape(rmsNorm(op.reshape(x, [batch, length, heads, width / heads]), scale), x.shape)
}
