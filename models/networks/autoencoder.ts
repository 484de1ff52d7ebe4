/**
 * The video autoencoder: frames to latents and back, spatial stride 8, temporal stride 4, causal.
 *
 * 4k+1 frames make k+1 groups: the first frame stands alone (repeated to fill its group, so an image is a clip of one
 * frame), each later group holds four. The encoder is linear, one map from a tube of 8×8 pixels by four frames to its
 * leading principal components (train/components.ts): fitted, not trained, so latents never change while the decoder
 * improves. The decoder adds to the map back what a network knows of the world: it looks at a group, its neighbours and
 * the group before, which is all the state that decoding a stream needs. It works on grids of an eighth, a quarter and
 * half of the side, each adding its own detail to the picture, so nearly all of it is products.
 *
 *   B clips · F frames · G = (F + 3) / 4 groups · H, W pixels · h = H/8, w = W/8 · C latent channels
 */

import { rmsNorm, squaredRelu } from '../graph/composites.ts'
import { parameter, scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { convolution3x3, foldSpace, unfoldSpace } from '../nn/convolution.ts'
import { linear } from '../nn/linear.ts'

export interface AutoencoderConfig {
  readonly channels: number
  /** The decoder's width and residual blocks at an eighth of the side (8×8 for 64×64). */
  readonly coarse: { readonly width: number; readonly blocks: number }
  /** The same at a quarter of the side (16×16 for 64×64). */
  readonly fine: { readonly width: number; readonly blocks: number }
  /** The same at half the side: where an edge lies between two pixels of the stage before. */
  readonly finest: { readonly width: number; readonly blocks: number }
}

export const temporalStride = 4
export const spatialStride = 8
export const latentStrides = { temporal: temporalStride, spatial: spatialStride } as const
/** Numbers of a tube: rows, columns, frames, colours. */
export const tubeSize = spatialStride * spatialStride * temporalStride * 3

/** frames [B, F, H, W, 3] in −1…1 → latents [B, C, G, h, w]. */
export function encoder({ channels }: AutoencoderConfig, frames: Value): Value {
  const [batch, count, height, width] = frames.shape as [number, number, number, number]
  const grid = [batch, (count - 1) / temporalStride + 1, height / spatialStride, width / spatialStride, channels]
  const latents = scope('encoder', () => linear('components', tubes(frames), channels)) // [B·G, h, w, C]
  return op.transpose(op.reshape(latents, grid), [0, 4, 1, 2, 3])
}

/** frames [B, F, H, W, 3] → what the encoder maps, [B·G, h, w, tubeSize]. */
export const tubes = (frames: Value): Value => foldSpace(foldTime(leadIn(frames)), spatialStride)

/** latents [B, C, G, h, w] → frames [B, 4G−3, H, W, 3], about −1…1. */
export function decoder(config: AutoencoderConfig, latents: Value): Value {
  const [batch, channels, groups, height, width] = latents.shape as [number, number, number, number, number]
  const previous = op.slice(op.pad(latents, [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]), 2, 0, groups) // zeros lead in
  const flat = (x: Value) => op.reshape(op.transpose(x, [0, 2, 3, 4, 1]), [batch * groups, height, width, channels])
  return leadOut(unfoldTime(decodeGroups(config, flat(latents), flat(previous)), batch))
}

/**
 * Decodes groups from their latents and those before, both [N, h, w, C] → [N, H, W, 12]: the streaming form.
 * The first group's predecessor is zeros, and of its four frames only the last is shown.
 */
export function decodeGroups(config: AutoencoderConfig, latents: Value, previous: Value): Value {
  const { coarse, fine, finest } = config
  return scope('decoder', () => {
    const back = unfoldSpace(linear('components', latents, tubeSize), spatialStride) //  [N, H, W, 12]
    let x = convolution3x3('in', op.concatenate([latents, previous], -1), coarse.width)
    x = residuals('coarse', x, coarse.blocks)
    x = unfoldSpace(linear('split', x, 4 * fine.width), 2) //                            [N, H/4, W/4, ·]
    x = residuals('fine', x, fine.blocks)
    const detail = op.add(back, detailOf(x, 4))
    return scope('finest', () => {
      const narrow = unfoldSpace(linear('split', x, 4 * finest.width), 2) //           [N, H/2, W/2, ·]
      return op.add(detail, detailOf(residuals('blocks', narrow, finest.blocks), 2))
    })
  })
}

/** What a stage adds to the picture, silent at the start: [N, H/s, W/s, C] → [N, H, W, 12]. */
function detailOf(x: Value, stride: number): Value {
  return unfoldSpace(linear('out', norm('norm', x), stride ** 2 * 3 * temporalStride, { gain: 0 }), stride)
}

/** Residual blocks, each two maps around an activation, the first of them looking at its neighbours. */
function residuals(name: string, x: Value, count: number): Value {
  const width = op.at(x.shape, 3)
  let hidden = x
  for (let index = 0; index < count; index++) {
    hidden = scope(`${name}.${index}`, () => {
      const wide = squaredRelu(convolution3x3('conv', norm('norm', hidden), width))
      return op.add(hidden, linear('out', wide, width, { gain: 0.3 }))
    })
  }
  return hidden
}

const norm = (name: string, x: Value): Value => rmsNorm(x, parameter(name, [op.at(x.shape, 3)], { kind: 'ones' }))

/** Repeats the first frame, so that every group has four: [B, 4k+1, …] → [B, 4k+4, …]. */
function leadIn(frames: Value): Value {
  const first = op.slice(frames, 1, 0, 1)
  return op.concatenate([first, first, first, frames], 1)
}

/** Drops the three repeated frames: [B, 4k+4, …] → [B, 4k+1, …]. */
const leadOut = (frames: Value): Value => op.slice(frames, 1, temporalStride - 1)

/** [B, 4G, H, W, 3] → [B·G, H, W, 12]. */
function foldTime(frames: Value): Value {
  const [batch, count, height, width] = frames.shape as [number, number, number, number]
  const groups = count / temporalStride
  const split = op.reshape(frames, [batch * groups, temporalStride, height, width, 3])
  return op.reshape(op.transpose(split, [0, 2, 3, 1, 4]), [batch * groups, height, width, temporalStride * 3])
}

/** [B·G, H, W, 12] → [B, 4G, H, W, 3]. */
export function unfoldTime(tubes: Value, batch: number): Value {
  const [all, height, width] = tubes.shape as [number, number, number]
  const split = op.transpose(op.reshape(tubes, [all, height, width, temporalStride, 3]), [0, 3, 1, 2, 4])
  return op.reshape(split, [batch, (all / batch) * temporalStride, height, width, 3])
}

/** The sizes, by name: about 0.1 M and 2.4 M parameters. */
export const autoencoderSizes = {
  tiny: {
    channels: 16,
    coarse: { width: 32, blocks: 1 },
    fine: { width: 16, blocks: 1 },
    finest: { width: 8, blocks: 1 },
  },
  stickers: {
    channels: 64,
    coarse: { width: 192, blocks: 3 },
    fine: { width: 96, blocks: 2 },
    finest: { width: 48, blocks: 2 },
  },
} as const satisfies Record<string, AutoencoderConfig>
