/**
 * The text encoder: token ids to embeddings, by a small bidirectional transformer.
 *
 * Trained together with the denoiser; pre-norm layers (Xiong et al. 2020, 2002.04745), learned positions. Knows no
 * words; text/tokenizer.ts does.
 *
 *   B batch · L tokens · D width
 */

import { gelu, rmsNorm, squaredRelu } from '../graph/composites.ts'
import { parameter, scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { selfAttention } from '../nn/attention.ts'
import { feedForward } from '../nn/linear.ts'

export interface TextEncoderConfig {
  readonly vocabulary: number
  readonly maxTokens: number
  readonly width: number
  readonly depth: number
  readonly heads: number
  readonly activation: 'gelu' | 'squaredRelu'
}

export interface TextEncoding {
  readonly text: Value //      [B, L, D]
  readonly pooled: Value //    [B, D]        mean over the words
  readonly textBias: Value //  [B, 1, 1, L]  to be added to attention logits
}

/** Added to the logits of padding. Not −∞: a row of nothing but padding must stay finite. */
export const paddingBias = -1e4

/** ids [B, L] int32, mask [B, L] with 1 for a word and 0 for padding. At least one word per row. */
export function textEncoder(config: TextEncoderConfig, ids: Value, mask: Value): TextEncoding {
  const { width, heads } = config
  const [batch, length] = ids.shape as [number, number]
  if (length > config.maxTokens) {
    throw new RangeError(`text encoder: got ${length} tokens, allowed are ${config.maxTokens}; shorten the prompt`)
  }
  const textBias = op.reshape(op.multiply(op.subtract(1, mask), paddingBias), [batch, 1, 1, length])
  const words = op.gather(parameter('words', [config.vocabulary, width], { kind: 'normal', scale: 0.5 }), ids)
  const places = op.slice(parameter('places', [config.maxTokens, width], { kind: 'normal', scale: 0.1 }), 0, 0, length)

  let hidden = op.add(words, places) //                                                 [B, L, D]
  for (let index = 0; index < config.depth; index++) {
    hidden = scope(`layers.${index}`, () => layer(config, hidden, textBias))
  }
  const text = rmsNorm(hidden, parameter('norm', [width], { kind: 'ones' })) //         [B, L, D]
  const weights = op.reshape(op.divide(mask, op.sum(mask, [1])), [batch, length, 1])
  const pooled = op.reshape(op.sum(op.multiply(text, weights), [1]), [batch, width]) // [B, D]
  return { text, pooled, textBias }

  function layer({ activation }: TextEncoderConfig, x: Value, bias: Value): Value {
    const norm = (name: string, y: Value) => rmsNorm(y, parameter(name, [width], { kind: 'ones' }))
    const heard = op.add(x, selfAttention('attention', norm('norm1', x), { heads, bias, gain: 0.5 }))
    const act = activation === 'gelu' ? gelu : squaredRelu
    return op.add(heard, feedForward('mlp', norm('norm2', heard), 4 * width, width, act, 0.5))
  }
}

/** The sizes, by the denoiser they serve; `vocabulary` is the tokenizer's. */
export const textEncoderSizes = {
  tiny: { maxTokens: 64, width: 256, depth: 1, heads: 4, activation: 'squaredRelu' },
  nano: { maxTokens: 64, width: 256, depth: 2, heads: 4, activation: 'squaredRelu' },
} as const satisfies Record<string, Omit<TextEncoderConfig, 'vocabulary'>>
