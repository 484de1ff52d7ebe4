/**
 * The spacetime-patch diffusion transformer: noisy latents, a time per frame and a text to a prediction.
 *
 * Peebles & Xie 2022 (2212.09748) for adaLN-Zero; text by cross-attention with a silent start and by its mean in the
 * modulation; rotary positions over frame, row and column; RMS-normalised queries and keys. Before the tokens and after
 * them a few convolutions look at neighbouring cells of the latents, joined by a skip: what is local (edges that go on
 * from cell to cell, the last traces of noise, scenery that moves by part of a token) does not have to pass through a
 * token, which is as wide as it has numbers. One set of weights serves every size and length, since nothing but the
 * rotary tables depends on them. A frame of its own time (0 where it is given clean) makes image and video prompting the
 * same network. Knows no schedule and no sampler.
 *
 *   B batch · C latent channels · F latent frames · H, W latent sides · E width of a cell · p patch
 *   S = H/p · W/p · T = F · S · D width of a token
 */

import { gelu, layerNorm, squaredRelu } from '../graph/composites.ts'
import { scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { contextReading, crossAttention, type RotaryTables, selfAttention } from '../nn/attention.ts'
import { convolution3x3, foldSpace, unfoldSpace } from '../nn/convolution.ts'
import { type RotaryShares, rotaryTables } from '../nn/embedding.ts'
import { feedForward, linear } from '../nn/linear.ts'
import { gated, moved } from '../nn/modulation.ts'

export interface DitConfig {
  readonly channels: number
  readonly patch: number
  readonly width: number
  readonly depth: number
  readonly heads: number
  /**
   * Convolutions over cells of the latents: their width, how many blocks stand before and after the tokens, and how many
   * numbers a cell passes to the frame before and to the frame after, none as models had it at first.
   */
  readonly local: { readonly width: number; readonly before: number; readonly after: number; readonly passes: number }
  /** Width of the text embeddings. */
  readonly textWidth: number
  /** Width of the sinusoidal features of time and guidance. */
  readonly featureWidth: number
  readonly activation: 'gelu' | 'squaredRelu'
  readonly rotaryShares: RotaryShares
  readonly rotaryBase: number
  /** Whether the guidance scale is an input: the distilled student's way (Meng et al. 2022, 2210.03142). */
  readonly guided: boolean
}

export interface DitInputs {
  readonly latents: Value //    [B, C, F, H, W]
  readonly time: Value //       [B, G, featureWidth]  sinusoids of the noise angle; G is F, or 1 for all frames alike
  readonly text: Value //       [B, L, textWidth]
  readonly pooled: Value //     [B, textWidth]        mean over the words
  readonly textBias: Value //   [B, 1, 1, L]          0 for a word, very negative for padding
  readonly guidance?: Value //  [B, featureWidth]     sinusoids of the guidance scale
  /** Where values that do not depend on the latents come from; they are worked out in place when left out. */
  readonly conditions?: Conditions
}

/**
 * Gives what a step is told, once for each place in the network and in their order: `modulation` by time, guidance and the
 * text's mean, [B, G, 1, ·]; `reading` by the text, [B, L, ·]. A sampler works them out once for many steps.
 */
export type Conditions = (kind: ConditionKind, compute: () => readonly Value[]) => readonly Value[]
export type ConditionKind = 'modulation' | 'reading'

const inPlace: Conditions = (_, compute) => compute()

/** The prediction, [B, C, F, H, W]. Exactly zero at initialisation. */
export function dit(
  config: DitConfig,
  { latents, time, text, pooled, textBias, guidance, conditions = inPlace }: DitInputs,
): Value {
  const { width, patch, local, channels } = config
  const [, , frames, height, columns] = latents.shape as [number, number, number, number, number]
  if (height % patch !== 0 || columns % patch !== 0)
    throw new RangeError(`dit: latents of ${height}×${columns}, allowed are multiples of the patch ${patch}`)
  const grid = { frames, height: height / patch, width: columns / patch }
  const rotary = rotaryTables(grid, config.rotaryShares, config.rotaryBase)
  const modulation = modulations(conditioning(config, time, pooled, guidance), conditions)
  const context = { text, textBias, rotary, modulation, conditions }
  const blocks = { frames, modulation }

  const near = scope('before', () =>
    cellBlocks(config, convolution3x3('in', intoCells(latents), local.width), blocks, local.before),
  ) //                                                                                  [B·F, H, W, E]
  let hidden = linear('patch', intoTokens(near, frames, patch), width) //               [B, T, D]
  for (let index = 0; index < config.depth; index++) {
    hidden = scope(`layers.${index}`, () => layer(config, hidden, context))
  }
  const [shift, factor] = modulation('final', width, 2) as [Value, Value] //            [B, G, 1, D]
  const told = linear('unpatch', moved(layerNorm(hidden), factor, shift), patch * patch * local.width)
  const far = op.add(near, outOfTokens(told, near.shape, patch)) //                     [B·F, H, W, E]
  const cells = scope('after', () => cellBlocks(config, far, blocks, local.after))
  return scope('end', () => {
    const [shift, factor] = modulation('final', local.width, 2) as [Value, Value]
    const rows = moved(layerNorm(asRows(cells, frames)), factor, shift) //            [B, F·H·W, E]
    return outOfCells(linear('out', rows, channels, { gain: 0 }), latents.shape)
  })
}

/** Residual blocks over cells [B·F, H, W, E], modulated by clip or by frame, silent at the start. */
function cellBlocks(
  { local, activation }: DitConfig,
  cells: Value,
  { frames, modulation }: { readonly frames: number; readonly modulation: Modulation },
  count: number,
): Value {
  const act = activations[activation]
  let hidden = cells
  for (let index = 0; index < count; index++) {
    hidden = scope(`local.${index}`, () => {
      const [shift, factor, gate] = modulation('modulation', local.width, 3) as [Value, Value, Value]
      const rows = asRows(hidden, frames)
      const calm = op.reshape(moved(layerNorm(rows), factor, shift), cells.shape)
      const alone = convolution3x3('conv', calm, local.width)
      const seen = local.passes === 0 ? alone : op.add(alone, fromNeighbours(calm, frames, local))
      const mixed = linear('mix', act(seen), local.width)
      return op.reshape(gated(rows, gate, asRows(mixed, frames)), cells.shape)
    })
  }
  return hidden
}

/**
 * What the frames before and after say about a cell, [B·F, H, W, E]; silent at the start. A camera moves scenery by less
 * than a token between two frames: that is followed here, cell by cell, in the direction that the modulation lets through.
 */
function fromNeighbours(cells: Value, frames: number, { width, passes }: DitConfig['local']): Value {
  const [all, height, columns] = cells.shape as [number, number, number, number]
  const passed = op.reshape(linear('pass', cells, 2 * passes), [all / frames, frames, height, columns, 2 * passes])
  const framed = op.pad(passed, [0, 1, 0, 0, 0], [0, 1, 0, 0, 0]) //                  [B, F + 2, H, W, 2·passes]
  const before = op.slice(op.slice(framed, 1, 0, frames), 4, 0, passes)
  const after = op.slice(op.slice(framed, 1, 2), 4, passes)
  const both = op.reshape(op.concatenate([before, after], 4), [all, height, columns, 2 * passes])
  return convolution3x3('moves', both, width, 0)
}

const activations = { gelu, squaredRelu } as const

/** One transformer layer: attend, read the text, think. */
function layer(config: DitConfig, x: Value, context: LayerContext): Value {
  const { width, heads } = config
  const { text, textBias, rotary, modulation, conditions } = context
  const [b1, f1, g1, b2, f2, g2] = modulation('modulation', width, 6) as Six //         [B, G, 1, D]
  const attended = selfAttention('attention', moved(layerNorm(x), f1, b1), { heads, rotary })
  const seen = gated(x, g1, attended) //                                                [B, T, D]
  const told = conditions('reading', () => contextReading('text', text, width, heads)) as [Value, Value]
  const read = crossAttention('text', layerNorm(seen), told, { heads, bias: textBias, gain: 0 })
  const aware = op.add(seen, read) //                                                   [B, T, D]
  const calm = moved(layerNorm(aware), f2, b2)
  return gated(aware, g2, feedForward('mlp', calm, 4 * width, width, activations[config.activation]))
}

interface LayerContext {
  readonly text: Value
  readonly textBias: Value
  readonly rotary: RotaryTables
  readonly modulation: Modulation
  readonly conditions: Conditions
}

type Six = [Value, Value, Value, Value, Value, Value]

/** What every layer is modulated by, [B, G, D]: the time, the mean of the text and, for a student, the guidance scale. */
function conditioning(config: DitConfig, time: Value, pooled: Value, guidance: Value | undefined): Value {
  const { width } = config
  const [batch] = time.shape as [number]
  const perClip = (x: Value) => op.reshape(x, [batch, 1, width])
  const level = feedForward('time', time, width, width, op.silu) //                     [B, G, D]
  const told = op.add(level, perClip(linear('pooled', pooled, width)))
  if (!config.guided) return told
  if (guidance === undefined) throw new TypeError('dit: this network takes a guidance input; feed it its sinusoids')
  return op.add(told, perClip(feedForward('guidance', guidance, width, width, op.silu, 0)))
}

/**
 * Vectors per clip or frame under a name, each [B, G, 1, D]: shift, factor, gate and so on in turn. At initialisation
 * factors are one and the rest is zero.
 */
type Modulation = (name: string, width: number, parts: number) => readonly Value[]

function modulations(condition: Value, conditions: Conditions): Modulation {
  const [batch, groups] = condition.shape as [number, number]
  return (name, width, parts) =>
    conditions('modulation', () => {
      const all = linear(name, op.silu(condition), parts * width, { gain: 0 })
      const vectors = op.split(op.reshape(all, [batch, groups, 1, parts * width]), parts, -1)
      return vectors.map((vector, part) => (part % 3 === 1 ? op.add(vector, 1) : vector))
    })
}

/** [B, C, F, H, W] → [B·F, H, W, C]. */
function intoCells(latents: Value): Value {
  const [batch, channels, frames, height, width] = latents.shape as [number, number, number, number, number]
  return op.reshape(op.transpose(latents, [0, 2, 3, 4, 1]), [batch * frames, height, width, channels])
}

/** [B, F·H·W, C] → the shape of the latents, [B, C, F, H, W]. */
function outOfCells(rows: Value, [batch, channels, frames, height, width]: Value['shape']): Value {
  const split = [batch, frames, height, width, channels] as number[]
  return op.transpose(op.reshape(rows, split), [0, 4, 1, 2, 3])
}

/** [B·F, H, W, E] → [B, F·H·W, E]: what a modulation by frame takes. */
function asRows(cells: Value, frames: number): Value {
  const [all, height, width, channels] = cells.shape as [number, number, number, number]
  return op.reshape(cells, [all / frames, frames * height * width, channels])
}

/** Cells [B·F, H, W, E] → tokens [B, T, p·p·E]. */
function intoTokens(cells: Value, frames: number, patch: number): Value {
  return asRows(foldSpace(cells, patch), frames)
}

/** Tokens [B, T, p·p·E] → cells [B·F, H, W, E]. */
function outOfTokens(tokens: Value, [all, height, width]: Value['shape'], patch: number): Value {
  const [rows, columns] = [(height as number) / patch, (width as number) / patch]
  return unfoldSpace(op.reshape(tokens, [all as number, rows, columns, op.at(tokens.shape, 2)]), patch)
}

const common = {
  channels: 64,
  patch: 2,
  textWidth: 256,
  featureWidth: 128,
  activation: 'squaredRelu',
  rotaryBase: 100,
  local: { width: 96, before: 1, after: 3, passes: 0 },
  guided: false,
} as const

/** The sizes, by name. Parameters without the text encoder: about 9 M, 30 M, 100 M. */
export const ditSizes = {
  tiny: {
    ...common,
    channels: 16,
    width: 64,
    depth: 2,
    heads: 2,
    rotaryShares: [4, 6, 6],
    local: { width: 24, before: 1, after: 1, passes: 0 },
  },
  nano: { ...common, width: 256, depth: 6, heads: 4, rotaryShares: [8, 12, 12] },
  small: { ...common, width: 384, depth: 9, heads: 6, rotaryShares: [8, 12, 12] },
  base: { ...common, width: 640, depth: 11, heads: 10, rotaryShares: [8, 12, 12] },
} as const satisfies Record<string, DitConfig>

export type DitSize = keyof typeof ditSizes

/** What of a network its weights fix, beside its size. */
export interface DitForm {
  readonly guided: boolean
  /** See DitConfig.local. */
  readonly passes: number
}

/** The passes of what is trained anew. */
export const usualPasses = 32

/** A size in some form. */
export const ditOf = (size: DitConfig, { guided, passes }: DitForm): DitConfig => ({
  ...size,
  guided,
  local: { ...size.local, passes },
})
