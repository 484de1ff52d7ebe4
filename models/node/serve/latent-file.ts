/**
 * Latents as a file: raw little-endian numbers, and an envelope of facts that says what they are (contract.md §8).
 *
 * The envelope made here is unsigned; the Worker signs those it hands out. Every platform this runs on is
 * little-endian, so arrays are written as they lie in memory.
 */

import { createHash } from 'node:crypto'
import { GenerationError } from '../../../shared/errors.ts'
import type { EffectiveRequest } from '../../../shared/generation.ts'
import { envelopeFor, floatsOf, type LatentFacts } from '../../../shared/handoff.ts'
import type { LatentEnvelope } from '../../../shared/request.ts'
import type { LatentShape } from '../../../shared/video.ts'
import type { Latents } from '../../pipeline/split.ts'
import { toFloat16 } from '../../weights/float16.ts'
import type { KnownModel } from '../known-model.ts'

export const latentDTypes = ['f32', 'f16'] as const
export type LatentDType = (typeof latentDTypes)[number]

const elementBytes: Readonly<Record<LatentDType, number>> = { f32: 4, f16: 2 }

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
  return floatsOf(bytes, dtype)
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
export const envelopeOf = (
  { card, rows }: Pick<KnownModel, 'card' | 'rows'>,
  request: EffectiveRequest,
  { shape, step }: Latents,
  { bytes, dtype, now, expiresAt }: LatentFileFacts,
): LatentEnvelope =>
  envelopeFor({
    ...{ model: card, request, step, dtype, now, expiresAt },
    shape: shapeOf(shape),
    rows: rows(request),
    bytes: bytes.length,
    sha256: sha256(bytes),
    promptSha256: sha256(request.prompt),
  })

/**
 * Holds bytes to what their envelope says of them; whether it fits the request is shared/handoff.ts's business.
 * @throws GenerationError latent_mismatch naming the first fact that differs.
 */
export function checkBytes(facts: Pick<LatentFacts, 'bytes' | 'sha256'>, bytes: Uint8Array): void {
  const pairs: readonly (readonly [name: string, got: unknown, allowed: unknown])[] = [
    ['bytes', bytes.length, facts.bytes],
    ['sha256', sha256(bytes), facts.sha256],
  ]
  for (const [name, got, allowed] of pairs)
    if (got !== allowed) throw mismatch(`${name} is ${got}, allowed is ${allowed}`)
}

const mismatch = (what: string): GenerationError =>
  new GenerationError('latent_mismatch', `init_latent: ${what}`, { pointer: '/init_latent' })

const sha256 = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex')
