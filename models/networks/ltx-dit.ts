/**
 * The denoiser of LTX-Video: one token per latent cell, a time per clip or token and a text to a velocity.
 *
 * HaCohen et al. 2024 (2501.00103), built on PixArt-α: adaLN by a table per layer plus one projection of the time,
 * rotary positions in seconds and pixels over the whole width before heads are split, text by cross-attention without
 * norm or gate. Knows no schedule and no sampler.
 *
 *   B batch · C latent channels · T tokens in frame, row, column order · G 1 or T · D width · L text rows
 */

import { gelu, layerNorm, rope } from '../graph/composites.ts'
import { scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { projectedAttention, type RotaryTables } from '../nn/attention.ts'
import { linear, perceptron } from '../nn/linear.ts'
import { type LayerVectors, modulate, modulatedLayer, tableModulation } from '../nn/modulation.ts'
import { plainRmsNorm } from '../nn/norm.ts'

export interface LtxDitConfig {
  readonly channels: number
  readonly outChannels: number
  readonly width: number
  readonly depth: number
  readonly heads: number
  readonly hidden: number
  readonly textWidth: number
  /** Width of the sinusoidal features of the timestep. */
  readonly featureWidth: number
}

export interface LtxDitInputs {
  readonly tokens: Value //        [B, T, C]
  readonly time: Value //          [B, G, featureWidth]  timestepFeatures of 1000·sigma; 0 for a clean token
  readonly text: Value //          [B, L, textWidth]
  readonly textBias?: Value //     [B, 1, 1, L]          0 for a token, very negative for padding
  readonly rotary: RotaryTables // [T, D/2]              ltxRotary
}

const epsilon = 1e-6
const queryEpsilon = 1e-5

/** The velocity noise − clean, [B, T, outChannels]. */
export function ltxDit(config: LtxDitConfig, inputs: LtxDitInputs): Value {
  const { width, depth, outChannels } = config
  const level = scope('time_embed', () => timeEmbedding(config, inputs.time))
  const text = captions(config, inputs.text) //                                            [B, L, D]
  let hidden = linear('proj_in', inputs.tokens, width) //                                  [B, T, D]
  for (let index = 0; index < depth; index++) {
    hidden = scope(`transformer_blocks.${index}`, () => layer(config, hidden, { ...inputs, ...level, text }))
  }
  const [shift, scale] = tableModulation('scale_shift_table', [2, width], level.time) as [Value, Value]
  return linear('proj_out', modulate(layerNorm(hidden, epsilon), shift, scale), outChannels)
}

interface Condition extends Level, Pick<LtxDitInputs, 'text' | 'textBias' | 'rotary'> {}

interface Level {
  readonly time: Value //       [B, G, D]
  readonly modulation: Value // [B, G, 6D]
}

function layer(config: LtxDitConfig, x: Value, { modulation, text, textBias, rotary }: Condition): Value {
  const { width, heads, hidden } = config
  const vectors = tableModulation('scale_shift_table', [6, width], modulation)
  const options = { heads, norm: queryEpsilon }
  return modulatedLayer(x, vectors as LayerVectors, {
    norm: (y) => plainRmsNorm(y, epsilon),
    attend: (calm) =>
      projectedAttention('attn1', calm, calm, {
        ...options,
        turn: (y) => rope(y, rotary.cos, rotary.sin, 1, 'neighbours'), //                  over all heads at once
      }),
    read: (seen) => projectedAttention('attn2', seen, text, { ...options, bias: textBias }),
    think: (ready) => perceptron(['ff.net.0.proj', 'ff.net.2'], ready, hidden, width, gelu),
  })
}

const pair = ['linear_1', 'linear_2'] as const

function timeEmbedding({ width }: LtxDitConfig, time: Value): Level {
  const level = scope('emb.timestep_embedder', () => perceptron(pair, time, width, width, op.silu)) // [B, G, D]
  return { time: level, modulation: linear('linear', op.silu(level), 6 * width) }
}

const captions = ({ width }: LtxDitConfig, text: Value): Value =>
  scope('caption_projection', () => perceptron(pair, text, width, width, gelu))

/** Latent frames, rows and columns of a clip, and what its tokens' positions mean. */
export interface LtxGrid {
  readonly frames: number
  readonly height: number
  readonly width: number
  readonly fps: number
  /** Whether the first latent frame holds one pixel frame and the others eight (`causal_temporal_positioning`). */
  readonly causal: boolean
}

/** Pixels of a latent cell's side and frames of a latent frame. */
export const ltxStrides = { spatial: 32, temporal: 8 } as const

/** Where each token's corner lies, as shares of 20 seconds and 2048 pixels: [T, 3], row by row. */
export function ltxPositions({ frames, height, width, fps, causal }: LtxGrid): Float64Array {
  const { spatial, temporal } = ltxStrides
  const positions = new Float64Array(frames * height * width * 3)
  let cursor = 0
  for (let frame = 0; frame < frames; frame++) {
    const first = causal ? Math.max(temporal * frame - (temporal - 1), 0) : temporal * frame
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        positions.set([first / fps / 20, (row * spatial) / 2048, (column * spatial) / 2048], cursor)
        cursor += 3
      }
    }
  }
  return positions
}

/**
 * Rotation tables over the whole width, each [T, D/2]: frequencies from π/2 to 10⁴·π/2, the three axes side by side for
 * each, pairs left over standing still in front. Angles reach 10⁴ and must be formed in double precision.
 */
export function ltxRotary(positions: ArrayLike<number>, width: number): RotaryTables {
  const count = Math.floor(width / 6)
  const [tokens, pairs] = [positions.length / 3, width / 2]
  const still = pairs - 3 * count
  const cos = new Float32Array(tokens * pairs).fill(1)
  const sin = new Float32Array(tokens * pairs)
  for (let token = 0; token < tokens; token++) {
    for (let pair = 0; pair < 3 * count; pair++) {
      const frequency = 10_000 ** (count === 1 ? 0 : Math.floor(pair / 3) / (count - 1)) * (Math.PI / 2)
      const angle = frequency * (2 * (positions[token * 3 + (pair % 3)] as number) - 1)
      cos[token * pairs + still + pair] = Math.cos(angle)
      sin[token * pairs + still + pair] = Math.sin(angle)
    }
  }
  return { cos: op.constant(cos, [tokens, pairs]), sin: op.constant(sin, [tokens, pairs]) }
}

/** The sizes, by name: about 1.92 and 13.0 billion parameters. */
export const ltxDitSizes = {
  'ltx-2b': { ...released(2048), depth: 28, heads: 32 },
  'ltx-13b': { ...released(4096), depth: 48, heads: 32 },
} as const satisfies Record<string, LtxDitConfig>

function released(width: number) {
  return { channels: 128, outChannels: 128, width, hidden: 4 * width, textWidth: 4096, featureWidth: 256 } as const
}
