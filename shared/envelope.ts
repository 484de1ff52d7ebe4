/**
 * The latent envelope: what latents are, whose, how far along, and the edge's signature over all of it.
 *
 * A device's key is no secret, so envelopes arrive unsigned from there and are countersigned after the bytes were
 * checked. The signature is Ed25519 over the key-sorted JSON without `sig`. Holds no keys.
 */

import { GenerationError } from './errors.ts'
import { halfOf } from './handoff.ts'
import type { LatentEnvelope } from './request.ts'
import { isSigned, type SignatureKey, signatureOf } from './signature.ts'

export type { LatentEnvelope } from './request.ts'

const elementBytes: Readonly<Record<LatentEnvelope['dtype'], number>> = { f16: 2, f32: 4 }
/** Latents are near unit variance; what lies beyond this is no latent of ours. */
const latentLimit = 1000

/**
 * Holds latents to their envelope: length, hash, finiteness and range.
 * @throws GenerationError latent_mismatch naming what differs.
 */
export async function checkLatents(envelope: LatentEnvelope, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const refuse = (message: string): never => {
    throw new GenerationError('latent_mismatch', message, { pointer: '/envelope' })
  }
  const expected = envelope.shape.reduce((product, side) => product * side, 1) * elementBytes[envelope.dtype]
  if (bytes.length !== expected || bytes.length !== envelope.bytes) {
    refuse(`latents: got ${bytes.length} bytes, the envelope's shape and dtype allow ${expected}`)
  }
  if (envelope.step > envelope.steps) refuse(`step: got ${envelope.step} of ${envelope.steps}, allowed are as many`)
  const digest = hex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
  if (digest !== envelope.sha256) refuse(`latents: their SHA-256 is ${digest}, the envelope says ${envelope.sha256}`)
  const bad = firstBad(envelope.dtype, bytes)
  if (bad >= 0) refuse(`latents: value ${bad} is not finite or beyond ±${latentLimit}`)
}

function firstBad(dtype: LatentEnvelope['dtype'], bytes: Uint8Array<ArrayBuffer>): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let index = 0; index * elementBytes[dtype] < bytes.length; index++) {
    const value = dtype === 'f32' ? view.getFloat32(4 * index, true) : halfOf(view.getUint16(2 * index, true))
    if (!(Math.abs(value) <= latentLimit)) return index
  }
  return -1
}

const hex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')

/** Signs an envelope. @param key an Ed25519 private key. */
export async function signEnvelope(envelope: LatentEnvelope, kid: string, key: SignatureKey): Promise<LatentEnvelope> {
  const named = { ...envelope, kid }
  return { ...named, sig: await signatureOf(named, key) }
}

/** Whether the signature is that of one of the keys, exactly as it would be written. */
export async function verifyEnvelope(
  envelope: LatentEnvelope,
  keys: ReadonlyMap<string, SignatureKey>,
): Promise<boolean> {
  const key = envelope.kid === undefined ? undefined : keys.get(envelope.kid)
  return key !== undefined && isSigned(envelope, key)
}
