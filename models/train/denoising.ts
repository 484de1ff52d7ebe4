/**
 * Batches for training a denoiser: clean latents, noise, a level per frame, captions.
 *
 * Every batch is a function of (seed, step), so a resumed run sees what it would have seen. Levels are stratified over
 * the batch (as in VDM, Kingma et al. 2021). In some clips the first frame is given clean at time zero and not judged,
 * which teaches animating an image and extending a clip. Knows no network and no file.
 */

import { type LossWeighting, outputFrom, outputLossWeight, type Prediction, targetOf } from '../../shared/prediction.ts'
import { gaussian, type RandomStream, randomStream } from '../../shared/random.ts'
import { cleanLevel, type NoiseLevel, noiseAngle, type Schedule } from '../../shared/schedule.ts'
import { sinusoids } from '../nn/embedding.ts'
import type { HostTensor } from '../pipeline/backend.ts'
import { encodeText } from '../text/tokenizer.ts'
import { caption } from '../world/captions.ts'
import type { Attributes } from '../world/vocabulary.ts'
import { anyOf, type ClipChoice } from './choice.ts'

/** Latents of many clips, normalised per channel, and what each shows. */
export interface LatentSet {
  readonly count: number
  readonly channels: number
  readonly frames: number
  readonly height: number
  readonly width: number
  /** [count, channels, frames, height, width]. */
  readonly latents: Float32Array
  /** How much of each cell the puppet covers, 0…255: [count, frames, height, width]. */
  readonly coverage: Uint8Array
  readonly attributes: (index: number) => Attributes
}

export interface DrawOptions {
  readonly set: LatentSet
  /** Prefix of the feeds. */
  readonly name: string
  readonly batch: number
  /** 1 draws pictures: the first latent frame alone. */
  readonly frames: number
  readonly tokens: number
  readonly seed: number
  readonly step: number
  /** Share of captions left empty. */
  readonly dropout: number
  /** Share of clips whose first frame is given. */
  readonly given: number
  /** Which clip comes next; each as often as every other where nothing is said. */
  readonly choice?: ClipChoice | undefined
}

/** A drawn batch before any noise is mixed in. */
export interface Draw {
  readonly name: string
  readonly shape: readonly [batch: number, channels: number, frames: number, height: number, width: number]
  readonly clean: Float32Array
  readonly noise: Float32Array
  /** 0…1: [batch, frames, height, width]. */
  readonly coverage: Float32Array
  /** In (0, 1], one per clip, stratified. */
  readonly times: Float32Array
  /** Whether the first frame is given, per clip. */
  readonly given: readonly boolean[]
  readonly text: Readonly<Record<string, HostTensor>>
}

export function draw(options: DrawOptions): Draw {
  const { set, name, batch, frames, step, seed } = options
  const random = randomStream(seed, 0x10000 + step)
  const shape = [batch, set.channels, frames, set.height, set.width] as const
  const size = shape.reduce((product, n) => product * n, 1)
  const { choice = anyOf(set) } = options
  const chosen = Array.from({ length: batch }, () => choice(random))
  const offset = random.uniform()
  return {
    name,
    shape,
    clean: gathered(set, chosen, frames),
    coverage: covered(set, chosen, frames),
    noise: gaussian(seed, 0x20000000 + step, 0, size),
    times: Float32Array.from({ length: batch }, (_, index) => 1 - ((offset + index / batch) % 1)),
    given: chosen.map(() => frames > 1 && random.chance(options.given)),
    text: captions(options, chosen, random),
  }
}

/** Copies whole clips, or their first latent frames. */
function gathered(
  { channels, frames: all, height, width, latents }: LatentSet,
  chosen: readonly number[],
  frames: number,
): Float32Array {
  const [area, plane] = [height * width, all * height * width]
  const out = new Float32Array(chosen.length * channels * frames * area)
  let cursor = 0
  for (const index of chosen) {
    for (let channel = 0; channel < channels; channel++) {
      const from = (index * channels + channel) * plane
      out.set(latents.subarray(from, from + frames * area), cursor)
      cursor += frames * area
    }
  }
  return out
}

function covered({ coverage, frames: all, height, width }: LatentSet, chosen: readonly number[], frames: number) {
  const area = height * width
  const out = new Float32Array(chosen.length * frames * area)
  chosen.forEach((index, row) => {
    for (let n = 0; n < frames * area; n++)
      out[row * frames * area + n] = (coverage[index * all * area + n] as number) / 255
  })
  return out
}

function captions(
  { set, name, batch, frames, tokens, dropout }: DrawOptions,
  chosen: readonly number[],
  random: RandomStream,
) {
  const texts = chosen.map((index) => {
    if (random.chance(dropout)) return ''
    return caption(set.attributes(index), random.integer(2 ** 31), { omit: true, picture: frames === 1 }).text
  })
  return textFeeds(name, texts, tokens, batch)
}

/** Token ids and mask of some texts, as feeds. */
export function textFeeds(
  name: string,
  texts: readonly string[],
  tokens: number,
  batch = texts.length,
): Record<string, HostTensor> {
  const [ids, mask] = [new Int32Array(batch * tokens), new Float32Array(batch * tokens)]
  texts.forEach((text, row) => {
    const encoded = encodeText(text, tokens)
    ids.set(encoded.ids, row * tokens)
    mask.set(encoded.mask, row * tokens)
  })
  return {
    [`${name}.ids`]: { dtype: 'int32', shape: [batch, tokens], data: ids },
    [`${name}.mask`]: { dtype: 'float32', shape: [batch, tokens], data: mask },
  }
}

/** The level of each frame of each clip: the clip's, or clean where the first frame is given. */
export function frameLevels({ shape, given }: Draw, levels: readonly NoiseLevel[]): NoiseLevel[][] {
  return levels.map((level, clip) =>
    Array.from({ length: shape[2] }, (_, frame) => (frame === 0 && given[clip] ? cleanLevel : level)),
  )
}

/** a·x + b·y with coefficients per clip and frame. */
export function mixed(
  shape: Draw['shape'],
  x: Float32Array,
  y: Float32Array,
  weights: (clip: number, frame: number) => readonly [number, number],
): Float32Array {
  const [batch, channels, frames, height, width] = shape
  const [area, out] = [height * width, new Float32Array(x.length)]
  for (let clip = 0; clip < batch; clip++) {
    for (let frame = 0; frame < frames; frame++) {
      const [a, b] = weights(clip, frame)
      for (let channel = 0; channel < channels; channel++) {
        const from = ((clip * channels + channel) * frames + frame) * area
        for (let n = from; n < from + area; n++) out[n] = a * (x[n] as number) + b * (y[n] as number)
      }
    }
  }
  return out
}

/** The feeds that tell the network its levels: sinusoids of each frame's noise angle, [batch, frames, width]. */
export function timeFeed(
  { name, shape }: Pick<Draw, 'name' | 'shape'>,
  levels: readonly (readonly NoiseLevel[])[],
  width: number,
): Record<string, HostTensor> {
  const angles = levels.flatMap((row) => row.map(noiseAngle))
  return { [`${name}.time`]: { dtype: 'float32', shape: [shape[0], shape[2], width], data: sinusoids(angles, width) } }
}

/**
 * Which cells are judged, and how much: [batch, 1, frames, height, width]. A cell that the puppet covers counts
 * 1 + focus · alpha² times as much as scenery: the puppet is the hard part and a tenth of the picture. At high noise,
 * where it could still be anywhere, such a weight would bend the mean of what may be, so it fades with alpha.
 */
export function weightFeed(
  { name, shape, given, coverage }: Pick<Draw, 'name' | 'shape' | 'given' | 'coverage'>,
  levels: readonly NoiseLevel[],
  weightOf: (level: NoiseLevel) => number,
  focus: number,
): Record<string, HostTensor> {
  const [batch, , frames, height, width] = shape
  const data = new Float32Array(coverage.length)
  const size = height * width
  for (let clip = 0; clip < batch; clip++) {
    const level = levels[clip] as NoiseLevel
    const [weight, more] = [weightOf(level), focus * level.alpha ** 2]
    for (let n = 0; n < frames * size; n++) {
      const at = clip * frames * size + n
      data[at] = given[clip] && n < size ? 0 : weight * (1 + more * (coverage[at] as number))
    }
  }
  return { [`${name}.weight`]: { dtype: 'float32', shape: [batch, 1, frames, height, width], data } }
}

export interface DenoisingOptions {
  readonly schedule: Schedule
  readonly prediction: Prediction
  readonly weighting: LossWeighting
  /** How much more the puppet's cells count, see weightFeed. */
  readonly focus: number
  readonly featureWidth: number
  /** Maps the uniform times of a batch: identity, or towards the middle of the schedule. */
  readonly timeOf?: (uniform: number) => number
}

/** The feeds of one part of a denoising step. */
export function denoisingFeeds(drawn: Draw, options: DenoisingOptions): Record<string, HostTensor> {
  const { schedule, prediction, weighting, focus, featureWidth, timeOf = (t) => t } = options
  const levels = Array.from(drawn.times, (t) => schedule(timeOf(t)))
  const perFrame = frameLevels(drawn, levels)
  const at = (clip: number, frame: number) => perFrame[clip]?.[frame] as NoiseLevel
  const target = (clip: number) => targetOf(prediction, levels[clip] as NoiseLevel)
  const { name, shape, clean, noise } = drawn
  const tensor = (data: Float32Array): HostTensor => ({ dtype: 'float32', shape, data })
  return {
    [`${name}.latents`]: tensor(
      mixed(shape, clean, noise, (clip, frame) => [at(clip, frame).alpha, at(clip, frame).sigma]),
    ),
    [`${name}.target`]: tensor(mixed(shape, clean, noise, (clip) => [target(clip).clean, target(clip).noise])),
    ...timeFeed(drawn, perFrame, featureWidth),
    ...weightFeed(drawn, levels, (level) => outputLossWeight(prediction, weighting, level), focus),
    ...drawn.text,
  }
}

/** The feeds of one step towards given clean estimates, but for words and weights; each clip at one level. */
export function estimateFeeds(
  { name, shape }: Pick<Draw, 'name' | 'shape'>,
  { prediction, featureWidth }: Pick<DenoisingOptions, 'prediction' | 'featureWidth'>,
  latents: Float32Array,
  levels: readonly NoiseLevel[],
  estimate: Float32Array,
): Record<string, HostTensor> {
  const target = mixed(shape, latents, estimate, (clip) => {
    const said = outputFrom(prediction, levels[clip] as NoiseLevel)
    return [said.latents, said.estimate]
  })
  return {
    [`${name}.latents`]: { dtype: 'float32', shape, data: latents },
    [`${name}.target`]: { dtype: 'float32', shape, data: target },
    ...timeFeed({ name, shape }, atOneLevel(shape, levels), featureWidth),
  }
}

/** The levels of all frames where those of a clip share one. */
export const atOneLevel = ([, , frames]: Draw['shape'], levels: readonly NoiseLevel[]): NoiseLevel[][] =>
  levels.map((level) => new Array<NoiseLevel>(frames).fill(level))
