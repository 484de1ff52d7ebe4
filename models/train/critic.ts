/**
 * A critic: is a clip a film of what its words say, or did a student make it of nothing?
 *
 * The first layers of the teacher read noisy clips, cell by cell, beside their words: what they look for to denoise is
 * what tells a true shape from a broken one, so they have little to learn (Sauer et al. 2024, 2403.12015). Films under
 * wrong words are not what it looks for either: where it need not read, it does not (Reed et al. 2016, 1605.05396). Hinge
 * loss (Lim & Ye 2017, 1705.02894). What would fool it more, by clip, is a gradient that a student can follow: it sees
 * films, so it can lead further than a teacher. Knows no student and no session.
 *
 *   B clips · C latent channels · F latent frames · H, W latent sides · L tokens
 */

import { gradient } from '../autodiff/gradient.ts'
import { input, scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { type DitConfig, dit } from '../networks/dit.ts'
import { type TextEncoderConfig, textEncoder } from '../networks/text-encoder.ts'
import type { TrainingState } from './trainer.ts'

export interface CriticOptions {
  /** The teacher's. */
  readonly config: DitConfig
  readonly text: TextEncoderConfig
  readonly shape: Shape
  readonly tokens: number
}

type Shape = readonly [batch: number, channels: number, frames: number, height: number, width: number]

/**
 * What its batches are of, as many of each: positive is what it looks for. Either side weighs as much as the other; where
 * one did not, to say the same of all would cost little, and it did.
 */
export const criticKinds = { film: 2, made: -1, misworded: -1 } as const

type Kind = keyof typeof criticKinds

/** Prefix of its inputs: latents [B, C, F, H, W], time [B, F, features], ids and mask [B, L]. */
export const criticName = 'critic'

/** What it begins with: the teacher without its last words, so that it favours nobody yet. */
export const criticBeginning = (teacher: TrainingState): TrainingState =>
  Object.fromEntries(Object.entries(teacher).filter(([name]) => !name.startsWith('dit.end.')))

/**
 * What is short of a margin of one, in the weighted mean, of `shape` clips of each kind, one kind behind the other. The other
 * scalars are the mean logits of each.
 */
export function criticObjective({ shape, ...options }: CriticOptions): Record<'loss' | Kind, Value> {
  const [batch, ...rest] = shape
  const names = Object.keys(criticKinds) as Kind[]
  const { logits } = critic({ ...options, shape: [names.length * batch, ...rest] })
  const parts = op.split(logits, names.length, 0)
  const short = names
    .map((name, n) => shortOf(op.at(parts, n), criticKinds[name]))
    .reduce((sum, each) => op.add(sum, each))
  const said = names.map((name, n) => [name, op.reshape(op.mean(op.at(parts, n)), [])])
  const weights = Object.values(criticKinds).reduce((sum, weight) => sum + Math.abs(weight), 0)
  return {
    loss: op.reshape(op.divide(short, weights), []),
    ...(Object.fromEntries(said) as Record<Kind, Value>),
  }
}

/** By how much logits are short of a margin of one on their side, times their weight. */
const shortOf = (logits: Value, weight: number): Value =>
  op.multiply(op.mean(op.relu(op.subtract(1, op.multiply(logits, Math.sign(weight))))), Math.abs(weight))

/** `push` [B, C, F, H, W]: where each clip is taken for a film sooner; and `taken`, the mean logit: 1 for sure films. */
export function criticPush(options: CriticOptions): Record<string, Value> {
  const { latents, logits } = critic(options)
  const taken = op.reshape(op.mean(logits), [])
  const [push] = gradient(op.multiply(taken, options.shape[0]), [latents])
  return { push: push as Value, taken }
}

/** How much each cell looks like a film's, [B, 1, F, H, W]. */
function critic({ config, text, shape, tokens }: CriticOptions): { readonly latents: Value; readonly logits: Value } {
  const [batch, , frames] = shape
  const latents = input(`${criticName}.latents`, shape)
  const time = input(`${criticName}.time`, [batch, frames, config.featureWidth])
  const [ids, mask] = [
    input(`${criticName}.ids`, [batch, tokens], 'int32'),
    input(`${criticName}.mask`, [batch, tokens]),
  ]
  const encoding = scope('text', () => textEncoder(text, ids, mask))
  const said = scope('dit', () => dit(shallow(config), { latents, time, ...encoding }))
  return { latents, logits: op.sum(said, [1]) }
}

/** Deep enough to know a puppet from a heap, and a fifth of the teacher's work. */
const shallow = (config: DitConfig): DitConfig => ({
  ...config,
  guided: false,
  depth: 2,
  local: { ...config.local, after: 1 },
})
