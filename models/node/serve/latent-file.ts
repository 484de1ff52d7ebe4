/**
 * Latents as a file: raw little-endian numbers, and an envelope of facts that says what they are (contract.md §8).
 *
 * The envelope made here is unsigned; the Worker signs those it hands out. Every platform this runs on is
 * little-endian, so arrays are written as they lie in memory.
 */

import { createHash } from 'node:crypto'
import * as v from 'valibot'
import { GenerationError } from '../../../shared/errors.ts'
import type { EffectiveRequest } from '../../../shared/generation.ts'
import type { ModelCard } from '../../../shared/manifest.ts'
import type { LatentShape } from '../../../shared/video.ts'
import type { Latents } from '../../pipeline/split.ts'
import { fromFloat16, toFloat16 } from '../../weights/float16.ts'
import type { KnownModel } from '../known-model.ts'
import { timestamp } from './clock.ts'

export const latentDTypes = ['f32', 'f16'] as const
export type LatentDType = (typeof latentDTypes)[number]

const elementBytes: Readonly<Record<LatentDType, number>> = { f32: 4, f16: 2 }

const count = v.pipe(v.number(), v.integer(), v.minValue(0))

/** What of an envelope decides whether latents fit; the rest is for others and is let through. */
export const envelopeSchema = v.looseObject({
  kind: v.literal('zt.latent.v1'),
  family: v.string(),
  shape: v.array(count),
  dtype: v.picklist(latentDTypes),
  bytes: count,
  sha256: v.string(),
  step: count,
  steps: count,
  scheduler: v.optional(v.string()),
})

export type EnvelopeFacts = v.InferOutput<typeof envelopeSchema>

export function latentBytes(data: Float32Array, dtype: LatentDType): Uint8Array {
  const { buffer, byteOffset, byteLength } = dtype === 'f32' ? data : toFloat16(data)
  return new Uint8Array(buffer, byteOffset, byteLength)
}

/**
 * The numbers of a file.
 * @throws GenerationError latent_mismatch where the length is no multiple of an element.
 */
export function latentsOf(bytes: Uint8Array, dtype: LatentDType): Float32Array {
  if (bytes.length % elementBytes[dtype] !== 0) {
    throw mismatch(`got ${bytes.length} bytes, ${dtype} takes multiples of ${elementBytes[dtype]}`)
  }
  const { buffer } = Uint8Array.from(bytes)
  return dtype === 'f32' ? new Float32Array(buffer) : fromFloat16(new Uint16Array(buffer))
}

export const shapeOf = ({ channels, frames, height, width }: LatentShape): number[] => [
  1,
  channels,
  frames,
  height,
  width,
]

export interface LatentFileFacts {
  readonly bytes: Uint8Array
  readonly dtype: LatentDType
  /** Milliseconds since 1970, as `expiresAt`. */
  readonly now: number
  readonly expiresAt: number
}

/** The facts of latents that leave the node. */
export function envelopeOf(
  { card, rows }: Pick<KnownModel, 'card' | 'rows'>,
  request: EffectiveRequest,
  { shape, step, steps }: Latents,
  { bytes, dtype, now, expiresAt }: LatentFileFacts,
) {
  return {
    kind: 'zt.latent.v1',
    family: card.family,
    model: `${card.id}@${card.revision}`,
    shape: shapeOf(shape),
    dtype,
    bytes: bytes.length,
    sha256: sha256(bytes),
    step,
    steps,
    sigmas: [...rows(request).map(({ level }) => level.sigma), 0],
    scheduler: request.scheduler,
    seed: String(request.seed),
    rng: 'philox4x32-10',
    prompt_sha256: sha256(request.prompt),
    created_at: timestamp(now),
    expires_at: timestamp(expiresAt),
  } as const
}

export type LatentEnvelope = ReturnType<typeof envelopeOf>

/**
 * Holds bytes to their envelope and the envelope to the request.
 * @throws GenerationError latent_mismatch naming the first fact that differs.
 */
export function checkEnvelope(
  facts: EnvelopeFacts,
  bytes: Uint8Array,
  {
    card,
    request,
    shape,
  }: { readonly card: ModelCard; readonly request: EffectiveRequest; readonly shape: LatentShape },
): void {
  const pairs: readonly (readonly [name: string, got: unknown, allowed: unknown])[] = [
    ['family', facts.family, card.family],
    ['bytes', bytes.length, facts.bytes],
    ['sha256', sha256(bytes), facts.sha256],
    ['shape', facts.shape.join('×'), shapeOf(shape).join('×')],
    ['steps', facts.steps, request.num_inference_steps],
    ['scheduler', facts.scheduler ?? request.scheduler, request.scheduler],
  ]
  for (const [name, got, allowed] of pairs)
    if (got !== allowed) throw mismatch(`${name} is ${got}, allowed is ${allowed}`)
}

const mismatch = (what: string): GenerationError =>
  new GenerationError('latent_mismatch', `init_latent: ${what}`, { pointer: '/init_latent' })

const sha256 = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex')
