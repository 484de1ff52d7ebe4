/**
 * A critic: is a clip a film, or did a student make it of nothing?
 *
 * The first layers of the teacher read noisy clips, cell by cell, beside their words: what they look for to denoise is
 * what tells a true shape from a broken one, so they have little to learn (Sauer et al. 2024, 2403.12015). Hinge loss
 * (Lim & Ye 2017, 1705.02894). What would fool it more, by clip, is a gradient that a student can follow: it sees films,
 * so it can lead further than a teacher. Knows no student and no session.
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
  readonly shape: readonly [batch: number, channels: number, frames: number, height: number, width: number]
  readonly tokens: number
}

/** Prefix of its inputs: latents [B, C, F, H, W], time [B, F, features], ids and mask [B, L]. */
export const criticName = 'critic'

/** What it begins with: the teacher without its last words, so that it favours nobody yet. */
export const criticBeginning = (teacher: TrainingState): TrainingState =>
  Object.fromEntries(Object.entries(teacher).filter(([name]) => !name.startsWith('dit.end.')))

/**
 * The mean of what is short of a margin of one. A further input, `critic.label` [B, 1, 1, 1, 1], is 1 for films and −1
 * for others; `right` is by how much they are told apart, 0 where they are not.
 */
export function criticObjective(options: CriticOptions): Record<string, Value> {
  const { logits } = critic(options)
  const label = input(`${criticName}.label`, [options.shape[0], 1, 1, 1, 1])
  const right = op.multiply(logits, label)
  const short = op.relu(op.add(op.negate(right), 1))
  return { loss: op.reshape(op.mean(short), []), right: op.reshape(op.mean(right), []) }
}

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
