/**
 * How well a run denoises pictures and clips it has never seen, level by level: what compares runs of different
 * objectives, and shows which words they have understood before any sample does.
 */

import { cosine } from '../../shared/schedule.ts'
import { type Draw, draw, type LatentSet, mixed } from '../train/denoising.ts'
import type { Denoise } from '../train/distill.ts'
import type { Attributes } from '../world/vocabulary.ts'
import { cameras, colours, puppets } from '../world/vocabulary.ts'
import type { DenoiserSession } from './denoiser-session.ts'

/** Mean squared errors of the clean estimate at one time of the cosine schedule; the latents have about unit variance. */
export interface LevelError {
  readonly time: number
  readonly error: number
  /** How much larger it is when another puppet, colour or camera is named: 0 where the word says nothing to the network. */
  readonly puppet: number
  readonly colour: number
  readonly camera: number
}

export const judgedTimes = [0.1, 0.3, 0.5, 0.7, 0.8, 0.9] as const

export interface JudgedBatch {
  readonly set: LatentSet
  readonly name: string
  readonly batch: number
  readonly frames: number
  readonly tokens: number
}

/** Errors at `judgedTimes`, over one batch of unseen samples. */
export async function denoisingErrors(session: DenoiserSession, judged: JudgedBatch): Promise<LevelError[]> {
  const drawOf = (attributes: LatentSet['attributes']): Draw =>
    draw({ ...judged, set: { ...judged.set, attributes }, seed: 9, step: 0, dropout: 0, given: 0 })
  const told = (change: (asked: Attributes) => Partial<Attributes>) =>
    drawOf((index) => ({ ...judged.set.attributes(index), ...change(judged.set.attributes(index)) }))
  const right = drawOf(judged.set.attributes)
  const puppet = told((asked) => ({ puppet: following(puppets, asked.puppet) }))
  const colour = told((asked) => ({ colour: following(colours, asked.colour) }))
  const camera = told((asked) => ({ camera: following(cameras, asked.camera) }))
  const errors: LevelError[] = []
  for (const time of judgedTimes) {
    const errorOf = ({ text }: Draw) => errorAt(session.under(text), right, time)
    const error = await errorOf(right)
    const more = async (told: Draw) => (await errorOf(told)) - error
    errors.push({ time, error, puppet: await more(puppet), colour: await more(colour), camera: await more(camera) })
  }
  return errors
}

async function errorAt(denoise: Denoise, { shape, clean, noise }: Draw, time: number): Promise<number> {
  const level = cosine()(time)
  const latents = mixed(shape, clean, noise, () => [level.alpha, level.sigma])
  const estimate = await denoise(latents, new Array(shape[0]).fill(level))
  return estimate.reduce((total, value, n) => total + (value - (clean[n] as number)) ** 2, 0) / estimate.length
}

/** Some other one of a list, far enough not to be a neighbour in colour. */
function following<T>(list: readonly T[], one: T): T {
  return list[(list.indexOf(one) + 3) % list.length] as T
}
