/**
 * What training minimises, as graphs over a batch: the autoencoder's reconstruction and the denoiser's prediction.
 *
 * Noise, levels and weights are drawn on the host and fed, so that an objective is a plain function of its inputs.
 *
 *   B clips · F frames · G latent frames · L tokens
 */

import { input, scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { type AutoencoderConfig, decoder, encoder, spatialStride, temporalStride } from '../networks/autoencoder.ts'
import { type DitConfig, dit } from '../networks/dit.ts'
import { type TextEncoderConfig, textEncoder } from '../networks/text-encoder.ts'

export interface ClipShape {
  readonly batch: number
  readonly frames: number
  readonly height: number
  readonly width: number
}

/**
 * Weighted L1 and L2 of the frames, and L1 of their differences in space (which keeps edges crisp) and in time (which
 * keeps scenery steady).
 * Inputs: frames [B, F, H, W, 3]; weight [B, F, H, W, 1], mean about one; noise of the latents' shape: what is wrong with
 * them, already scaled.
 */
export function autoencoderObjective(config: AutoencoderConfig, { batch, frames, height, width }: ClipShape) {
  const groups = (frames - 1) / temporalStride + 1
  const pixels = input('frames', [batch, frames, height, width, 3])
  const weight = input('weight', [batch, frames, height, width, 1])
  const noise = input('noise', [batch, config.channels, groups, height / spatialStride, width / spatialStride])
  return scope('autoencoder', () => {
    const latents = encoder(config, pixels)
    const error = op.subtract(decoder(config, op.add(latents, noise)), pixels)
    const plain = op.mean(op.multiply(op.add(op.abs(error), op.square(error)), weight))
    // A picture has no time to differ in.
    const axes = frames > 1 ? [1, 2, 3] : [2, 3]
    const edges = axes.map((axis) => op.mean(op.abs(difference(error, axis)))).reduce((a, b) => op.add(a, b))
    const squared = op.mean(op.square(error))
    return { loss: op.reshape(op.add(plain, edges), []), squared: op.reshape(squared, []) }
  })
}

/** One part of a joint batch: clips of one length. */
export interface DenoiserPart {
  /** Prefix of its inputs: `video.latents`, `image.latents`, … */
  readonly name: string
  readonly batch: number
  readonly frames: number
  /** Longest caption. */
  readonly tokens: number
  /** Share of the loss. */
  readonly share: number
  /** How much the error's change from frame to frame counts beside the error itself; not at all where undefined. */
  readonly changes?: number
}

export interface DenoiserShape {
  readonly height: number
  readonly width: number
}

/**
 * Weighted squared error of the prediction, over parts of different lengths with the same weights. Each part is also
 * reported by its plain error, without that of its changes.
 * Inputs per part: latents and target [B, C, G, h, w]; time [B, G, features]; weight [B, 1, G, h, w]; ids, mask [B, L];
 * guidance [B, features] for a guided network.
 */
export function denoiserObjective(
  config: DitConfig,
  text: TextEncoderConfig,
  shape: DenoiserShape,
  parts: readonly DenoiserPart[],
): Record<string, Value> {
  const losses = parts.map((part) => partLoss(config, text, shape, part))
  const weighted = losses.map(({ whole }, index) => op.multiply(whole, op.at(parts, index).share))
  const named = parts.map(({ name }, index) => [name, op.at(losses, index).plain] as const)
  return { loss: weighted.reduce((total, loss) => op.add(total, loss)), ...Object.fromEntries(named) }
}

function partLoss(
  config: DitConfig,
  text: TextEncoderConfig,
  { height, width }: DenoiserShape,
  { name, batch, frames, tokens, changes }: DenoiserPart,
): { readonly plain: Value; readonly whole: Value } {
  const latents = input(`${name}.latents`, [batch, config.channels, frames, height, width])
  const target = input(`${name}.target`, latents.shape)
  const time = input(`${name}.time`, [batch, frames, config.featureWidth])
  const weight = input(`${name}.weight`, [batch, 1, frames, height, width])
  const ids = input(`${name}.ids`, [batch, tokens], 'int32')
  const mask = input(`${name}.mask`, [batch, tokens])
  const guidance = config.guided ? input(`${name}.guidance`, [batch, config.featureWidth]) : undefined
  const encoding = scope('text', () => textEncoder(text, ids, mask))
  const prediction = scope('dit', () => dit(config, { latents, time, guidance, ...encoding }))
  const error = op.subtract(prediction, target)
  const plain = weightedSquare(error, weight)
  if (changes === undefined || frames === 1) return { plain, whole: plain }
  return { plain, whole: op.add(plain, op.multiply(changeError(error, weight), changes)) }
}

/**
 * The weighted square of what the error gains or loses between neighbouring frames. What stands still is most of a clip's
 * energy; here only what moves counts. Any positive quadratic form of the error has the same minimum, the mean of what
 * may be, so this moves where effort goes and not where it ends. A pair counts by the geometric mean of its weights: a
 * frame that is not judged takes no part.
 */
function changeError(error: Value, weight: Value): Value {
  const pair = op.sqrt(op.multiply(op.slice(weight, 2, 1), op.slice(weight, 2, 0, -1)))
  return weightedSquare(difference(error, 2), pair)
}

const weightedSquare = (error: Value, weight: Value): Value =>
  op.reshape(op.mean(op.multiply(op.square(error), weight)), [])

/** Neighbouring differences along an axis. */
function difference(x: Value, axis: number): Value {
  return op.subtract(op.slice(x, axis, 1), op.slice(x, axis, 0, -1))
}
