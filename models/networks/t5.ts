/**
 * The T5 text encoder, version 1.1, and its multilingual sister UMT5: token ids to embeddings.
 *
 * Raffel et al. 2019 (1910.10683) with the gated feed-forward of Shazeer 2020 (2002.05202); UMT5: Chung et al. 2023
 * (2304.09151), which gives every layer a position table of its own. Logits are not divided by √d. Activations grow
 * beyond float16: they stay float32. Knows no words; text/sentencepiece.ts does.
 *
 *   B batch · L tokens · D width · H heads of width d
 */

import { gelu } from '../graph/composites.ts'
import { parameter, scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { projectedAttention } from '../nn/attention.ts'
import { linear } from '../nn/linear.ts'
import { scaledRmsNorm } from '../nn/norm.ts'

export interface T5Config {
  readonly vocabulary: number
  readonly width: number
  readonly depth: number
  readonly heads: number
  readonly headWidth: number
  readonly hidden: number
  /** Classes of distance, half of them for keys after the query. */
  readonly buckets: number
  /** Distances from here on are one class. */
  readonly maxDistance: number
  /** Whether every layer has its own position table (UMT5) or all share the first's (T5). */
  readonly biasPerLayer: boolean
}

const epsilon = 1e-6
const names = { query: 'q', key: 'k', content: 'v', out: 'o' }

/** ids [B, L] int32, mask [B, L] with 1 for a token and 0 for padding → [B, L, D], defined at padding too. */
export function t5Encoder(config: T5Config, ids: Value, mask: Value): Value {
  const table = scope('shared', () =>
    parameter('weight', [config.vocabulary, config.width], { kind: 'normal', scale: 1 }),
  )
  return t5Layers(config, op.gather(table, ids), mask) //                                [B, L, D]
}

/** The encoder behind its table, for whoever picks rows of the table elsewhere: [B, L, D] → [B, L, D]. */
export function t5Layers(config: T5Config, embeddings: Value, mask: Value): Value {
  const [batch, length] = embeddings.shape as [number, number]
  // Far below any logit, yet finite, so a row of nothing but padding gives numbers.
  const padding = op.reshape(op.multiply(op.subtract(1, mask), -1e9), [batch, 1, 1, length])

  return scope('encoder', () => {
    let hidden = embeddings //                                                           [B, L, D]
    let places: Value | undefined //                                                     [1, H, L, L]
    for (let index = 0; index < config.depth; index++) {
      hidden = scope(`block.${index}`, () => {
        if (places === undefined || config.biasPerLayer) places = positions(config, length)
        return layer(config, hidden, op.add(places, padding))
      })
    }
    return scaledRmsNorm('final_layer_norm', hidden, epsilon) //                         [B, L, D]
  })
}

function layer({ heads, headWidth, hidden }: T5Config, x: Value, bias: Value): Value {
  const heard = scope('layer.0', () => {
    const calm = scaledRmsNorm('layer_norm', x, epsilon) //                              [B, L, D]
    const options = { heads, inner: heads * headWidth, names, biases: { inner: false, out: false }, bias, scale: 1 }
    return op.add(x, projectedAttention('SelfAttention', calm, calm, options)) //        [B, L, D]
  })
  return scope('layer.1', () => {
    const calm = scaledRmsNorm('layer_norm', heard, epsilon) //                          [B, L, D]
    const thought = scope('DenseReluDense', () => {
      const gate = gelu(linear('wi_0', calm, hidden, { bias: false })) //                [B, L, hidden]
      const wide = op.multiply(gate, linear('wi_1', calm, hidden, { bias: false })) //   [B, L, hidden]
      return linear('wo', wide, op.at(x.shape, 2), { bias: false }) //                   [B, L, D]
    })
    return op.add(heard, thought)
  })
}

/** What a head adds to a logit for the distance from query to key: [1, H, L, L]. */
function positions({ heads, buckets, maxDistance }: T5Config, length: number): Value {
  const table = scope('layer.0.SelfAttention.relative_attention_bias', () =>
    parameter('weight', [buckets, heads], { kind: 'normal', scale: 0.1 }),
  )
  const classes = Int32Array.from({ length: length * length }, (_, index) =>
    distanceBucket((index % length) - Math.floor(index / length), buckets, maxDistance),
  )
  const bias = op.gather(table, op.constant(classes, [length, length])) //               [L, L, H]
  return op.reshape(op.transpose(bias, [2, 0, 1]), [1, heads, length, length])
}

/** The class of a distance, key minus query: exact when near, logarithmic when far; later keys in the upper half. */
export function distanceBucket(distance: number, buckets: number, maxDistance: number): number {
  const half = buckets / 2
  const exact = half / 2
  const side = distance > 0 ? half : 0
  const size = Math.abs(distance)
  if (size < exact) return side + size
  // The nudge keeps powers that are whole in exact arithmetic from falling below their floor.
  const far = (Math.log(size / exact) / Math.log(maxDistance / exact)) * (half - exact) + 1e-9
  return side + Math.min(half - 1, exact + Math.floor(far))
}

/** The sizes, by name: about 4.76 and 5.68 billion parameters. */
export const t5Sizes = {
  't5-v1.1-xxl': { ...xxl(32_128), biasPerLayer: false },
  'umt5-xxl': { ...xxl(256_384), biasPerLayer: true },
} as const satisfies Record<string, T5Config>

function xxl(vocabulary: number) {
  const layers = { width: 4096, depth: 24, heads: 64, headWidth: 64, hidden: 10_240 } as const
  return { ...layers, vocabulary, buckets: 32, maxDistance: 128 } as const
}
