/**
 * Standard Webhooks, both ways: signing what we send, verifying what providers send.
 *
 * Source: Standard Webhooks specification 1.0. The verifier reads raw bytes, knows only `v1`, allows five minutes
 * either way and compares in constant time. Remembering ids is the receiver's duty.
 */

import { base64, equalBytes, fromBase64, hmac, hmacKey, utf8 } from './bytes.ts'

export const toleranceSeconds = 300

const prefix = 'whsec_'

/** The bytes of a `whsec_` secret; undefined where it is none. */
export function secretBytes(secret: string): Uint8Array<ArrayBuffer> | undefined {
  const bytes = secret.startsWith(prefix) ? fromBase64(secret.slice(prefix.length)) : undefined
  return bytes === undefined || bytes.length < 16 ? undefined : bytes
}

export const secretText = (bytes: Uint8Array): string => `${prefix}${base64(bytes)}`

async function signature(secret: Uint8Array<ArrayBuffer>, id: string, timestamp: string, body: Uint8Array) {
  const head = utf8(`${id}.${timestamp}.`)
  const signed = new Uint8Array(head.length + body.length)
  signed.set(head)
  signed.set(body, head.length)
  return hmac(await hmacKey(secret), signed)
}

/** Headers for a delivery, signed under every secret that is still good. @param timestamp unix seconds. */
export async function signedHeaders(
  id: string,
  timestamp: number,
  body: Uint8Array,
  secrets: readonly Uint8Array<ArrayBuffer>[],
): Promise<Record<string, string>> {
  const signatures = await Promise.all(secrets.map((secret) => signature(secret, id, String(timestamp), body)))
  return {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': signatures.map((bytes) => `v1,${base64(bytes)}`).join(' '),
  }
}

export interface Delivery {
  readonly id: string
  readonly timestamp: number
}

/**
 * Verifies a delivery. Gives its id and time, or why it is refused.
 * @param now unix milliseconds of our own clock.
 */
export async function verifyDelivery(
  headers: Headers,
  body: Uint8Array,
  secrets: readonly Uint8Array<ArrayBuffer>[],
  now: number,
): Promise<Delivery | { readonly refused: string }> {
  const id = headers.get('webhook-id') ?? ''
  const time = headers.get('webhook-timestamp') ?? ''
  const sent = headers.get('webhook-signature') ?? ''
  // A dot in the id would let id and timestamp trade places in what was signed.
  if (!/^[\x21-\x2d\x2f-\x7e]{1,255}$/.test(id)) return { refused: 'webhook-id is missing or malformed' }
  if (!/^[1-9]\d{0,11}$/.test(time)) return { refused: 'webhook-timestamp is missing or malformed' }
  const timestamp = Number(time)
  if (Math.abs(Math.floor(now / 1000) - timestamp) > toleranceSeconds)
    return { refused: 'webhook-timestamp is too far' }
  const given = sent.slice(0, 2048).split(' ').flatMap(versionOne)
  let match = false
  for (const secret of secrets) {
    const expected = await signature(secret, id, time, body)
    for (const each of given) match = equalBytes(each, expected) || match
  }
  return match ? { id, timestamp } : { refused: 'webhook-signature matches no secret' }
}

function versionOne(text: string): Uint8Array[] {
  const bytes = text.startsWith('v1,') ? fromBase64(text.slice(3)) : undefined
  return bytes === undefined ? [] : [bytes]
}
