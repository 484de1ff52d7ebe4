/**
 * The video autoencoder: frames to latents and back, spatial stride 8, temporal stride 4, causal.
 *
 * 4k+1 frames make k+1 groups: the first frame stands alone (repeated to fill its group, so an image is a clip of one
 * frame), each later group holds four. The encoder looks at one group at a time; the decoder at a group and the latents
 * of the group before, which is all the state that decoding a stream needs. A group is folded into channels at once,
 * as Sora-style patches are, so all work is products over small grids. Each position's latents lie on a sphere of unit
 * RMS and are trained under fixed noise (train/objectives.ts), which bounds what they carry without a KL term.
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
  /** Width and residual blocks at a quarter of the side (16×16 for 64×64). */
  readonly fine: { readonly width: number; readonly encoderBlocks: number; readonly decoderBlocks: number }
  /** Width and residual blocks at an eighth of the side (8×8 for 64×64). */
  readonly coarse: { readonly width: number; readonly encoderBlocks: number; readonly decoderBlocks: number }
}

export const temporalStride = 4
export const spatialStride = 8

/** frames [B, F, H, W, 3] in −1…1 → latents [B, C, G, h, w]. */
export function encoder(config: AutoencoderConfig, frames: Value): Value {
  const [batch, count, height, width] = frames.shape as [number, number, number, number]
  const groups = (count - 1) / temporalStride + 1
  const tubes = foldTime(leadIn(frames)) //                                             [B·G, H, W, 12]
  return scope('encoder', () => {
    let x = linear('patch', foldSpace(tubes, 4), config.fine.width) //                  [B·G, H/4, W/4, ·]
    x = residuals('fine', x, config.fine.encoderBlocks)
    x = linear('merge', foldSpace(x, 2), config.coarse.width) //                        [B·G, h, w, ·]
    x = residuals('coarse', x, config.coarse.encoderBlocks)
    const free = linear('out', norm('norm', x), config.channels) //                     [B·G, h, w, C]
    const latents = rmsNorm(free, op.constant(new Float32Array(config.channels).fill(1)))
    const grid = [batch, groups, height / spatialStride, width / spatialStride, config.channels]
    return op.transpose(op.reshape(latents, grid), [0, 4, 1, 2, 3])
  })
}

/** latents [B, C, G, h, w] → frames [B, 4G−3, H, W, 3], about −1…1. */
export function decoder(config: AutoencoderConfig, latents: Value): Value {
  const [batch, channels, groups, height, width] = latents.shape as [number, number, number, number, number]
  const previous = op.slice(op.pad(latents, [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]), 2, 0, groups) // zeros lead in
  const flat = (x: Value) => op.reshape(op.transpose(x, [0, 2, 3, 4, 1]), [batch * groups, height, width, channels])
  const tubes = decodeGroups(config, flat(latents), flat(previous)) //                  [B·G, H, W, 12]
  return leadOut(unfoldTime(tubes, batch))
}

/**
 * Decodes groups from their latents and those before, both [N, h, w, C] → tubes [N, H, W, 12]: the streaming form.
 * The first group's predecessor is zeros, and of its four frames only the last is shown.
 */
export function decodeGroups(config: AutoencoderConfig, latents: Value, previous: Value): Value {
  return scope('decoder', () => {
    let x = convolution3x3('in', op.concatenate([latents, previous], -1), config.coarse.width)
    x = residuals('coarse', x, config.coarse.decoderBlocks)
    x = unfoldSpace(linear('split', x, 4 * config.fine.width), 2) //                    [N, H/4, W/4, ·]
    x = residuals('fine', x, config.fine.decoderBlocks)
    return unfoldSpace(linear('out', norm('norm', x), 16 * 3 * temporalStride, { gain: 0.1 }), 4) //   [N, H, W, 12]
  })
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

/** The sizes, by name: about 0.1 M and 2 M parameters. */
export const autoencoderSizes = {
  tiny: {
    channels: 16,
    fine: { width: 16, encoderBlocks: 0, decoderBlocks: 1 },
    coarse: { width: 32, encoderBlocks: 1, decoderBlocks: 1 },
  },
  stickers: {
    channels: 32,
    fine: { width: 96, encoderBlocks: 1, decoderBlocks: 2 },
    coarse: { width: 192, encoderBlocks: 2, decoderBlocks: 3 },
  },
} as const satisfies Record<string, AutoencoderConfig>
