/**
 * The denoiser of Wan 2.1 text-to-video: noisy latents, a timestep and a text to a velocity.
 *
 * Wan Team 2025 (2503.20314): adaLN by a table per layer plus one projection of the time, rotary positions over frame,
 * row and column shared by all heads, text by cross-attention behind an affine norm. Knows no schedule and no sampler.
 *
 *   B batch · C latent channels · F, H, W latent frames and sides · p patch · T = F/p·H/p·W/p · D width · L text rows
 */

import { gelu, layerNorm, rope } from '../graph/composites.ts'
import { parameter, scope, sizeOf, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { projectedAttention } from '../nn/attention.ts'
import { type RotaryShares, rotaryTables } from '../nn/embedding.ts'
import { linear, perceptron } from '../nn/linear.ts'
import { type LayerVectors, modulate, modulatedLayer, tableModulation } from '../nn/modulation.ts'
import { affineLayerNorm } from '../nn/norm.ts'
import { type Patch, patchGrid, patchify3d, unpatchify3d } from '../nn/patch.ts'

export interface WanDitConfig {
  readonly channels: number
  readonly outChannels: number
  readonly patch: Patch
  readonly width: number
  readonly depth: number
  readonly heads: number
  readonly hidden: number
  readonly textWidth: number
  /** Width of the sinusoidal features of the timestep. */
  readonly featureWidth: number
  /** Text rows the network was trained with: what a prompt lacks is made up by rows of zeros, and these are attended. */
  readonly textRows?: number
}

export interface WanDitInputs {
  readonly latents: Value // [B, C, F, H, W]
  readonly time: Value //    [B, 1, featureWidth]  timestepFeatures of 1000·sigma
  readonly text: Value //    [B, L, textWidth]     valid rows first; fewer than textRows may be given
}

const epsilon = 1e-6
const rotaryBase = 10_000

/** The velocity noise − clean, [B, outChannels, F, H, W]. */
export function wanDit(config: WanDitConfig, { latents, time, text }: WanDitInputs): Value {
  const { width, patch, outChannels } = config
  const grid = patchGrid(latents.shape, patch)
  const rotary = rotaryTables(grid, rotaryShares(width / config.heads), rotaryBase) //     [T, d/2]
  const level = scope('condition_embedder', () => timeAndText(config, time, text))

  let hidden = patchEmbedding(config, patchify3d(latents, patch)) //                       [B, T, D]
  for (let index = 0; index < config.depth; index++) {
    hidden = scope(`blocks.${index}`, () => {
      const turn = (x: Value) => rope(x, rotary.cos, rotary.sin, config.heads, 'neighbours')
      return layer(config, hidden, level, turn)
    })
  }
  const [shift, scale] = tableModulation('scale_shift_table', [1, 2, width], level.time) as [Value, Value]
  const calm = modulate(layerNorm(hidden, epsilon), shift, scale) //                       [B, T, D]
  const tokens = linear('proj_out', calm, sizeOf(patch) * outChannels) //                  [B, T, p·p·p·C]
  return unpatchify3d(tokens, latents.shape, patch)
}

interface Condition {
  readonly time: Value //       [B, 1, D]
  readonly modulation: Value // [B, 1, 6D]
  readonly text: Value //       [B, L, D]
  readonly textBias?: Value //  [1, 1, 1, L]
}

function layer(config: WanDitConfig, x: Value, { modulation, text, textBias }: Condition, turn: Turn): Value {
  const { width, heads, hidden } = config
  const vectors = tableModulation('scale_shift_table', [1, 6, width], modulation)
  const options = { heads, norm: epsilon }
  return modulatedLayer(x, vectors as LayerVectors, {
    norm: (y) => layerNorm(y, epsilon),
    attend: (calm) => projectedAttention('attn1', calm, calm, { ...options, turn }),
    read: (seen) =>
      projectedAttention('attn2', affineLayerNorm('norm2', seen, epsilon), text, { ...options, bias: textBias }),
    think: (ready) => perceptron(['ffn.net.0.proj', 'ffn.net.2'], ready, hidden, width, gelu),
  })
}

type Turn = (x: Value) => Value

function timeAndText(config: WanDitConfig, time: Value, text: Value): Condition {
  const { width } = config
  const embed = (name: string, x: Value, activation: (x: Value) => Value) =>
    scope(name, () => perceptron(['linear_1', 'linear_2'], x, width, width, activation))
  const level = embed('time_embedder', time, op.silu) //                                   [B, 1, D]
  const modulation = linear('time_proj', op.silu(level), 6 * width) //                     [B, 1, 6D]
  const { rows, bias } = paddedText(text, config.textRows)
  return { time: level, modulation, text: embed('text_embedder', rows, (x) => gelu(x)), textBias: bias }
}

/**
 * The rows of zeros behind a prompt all give one key, so a single row with the logarithm of their number as its bias
 * stands for them exactly.
 */
function paddedText(text: Value, rows: number | undefined): { readonly rows: Value; readonly bias?: Value } {
  const [batch, given, width] = text.shape as [number, number, number]
  const missing = (rows ?? given) - given
  if (missing < 0) throw new RangeError(`wan: got ${given} text rows, allowed are ${rows}; shorten the prompt`)
  if (missing === 0) return { rows: text }
  const zeros = op.constant(new Float32Array(batch * width), [batch, 1, width])
  const bias = new Float32Array(given + 1)
  bias[given] = Math.log(missing)
  return { rows: op.concatenate([text, zeros], 1), bias: op.constant(bias, [1, 1, 1, given + 1]) }
}

/** A convolution whose kernel is its stride: a linear map of each patch. [B, T, C·p·p·p] → [B, T, D]. */
function patchEmbedding({ channels, patch, width }: WanDitConfig, patches: Value): Value {
  return scope('patch_embedding', () => {
    const reach = channels * sizeOf(patch)
    const initializer = { kind: 'normal', scale: 1 / Math.sqrt(reach) } as const
    const weight = op.reshape(parameter('weight', [width, channels, ...patch], initializer), [width, reach])
    const [batch, tokens] = patches.shape as [number, number]
    const product = op.matmul(op.reshape(patches, [batch * tokens, reach]), op.swapLast(weight))
    return op.reshape(op.add(product, parameter('bias', [width], { kind: 'zeros' })), [batch, tokens, width])
  })
}

/** Rotation pairs of a head of width d: a third each for rows and columns, rounded down, the rest for frames. */
function rotaryShares(headWidth: number): RotaryShares {
  const side = Math.floor(headWidth / 6)
  return [headWidth / 2 - 2 * side, side, side]
}

/** The sizes, by name: about 1.42 and 14.3 billion parameters. */
export const wanDitSizes = {
  'wan2.1-1.3b': { ...released(12), depth: 30, hidden: 8960 },
  'wan2.1-14b': { ...released(40), depth: 40, hidden: 13_824 },
} as const satisfies Record<string, WanDitConfig>

function released(heads: number) {
  const latents = { channels: 16, outChannels: 16, patch: [1, 2, 2] } as const
  return { ...latents, width: 128 * heads, heads, textWidth: 4096, featureWidth: 256, textRows: 512 } as const
}
