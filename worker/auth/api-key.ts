/**
 * API keys: `zoe_{live|test}_{key_id}_{secret}{crc32}`. Kept only as an HMAC under a pepper.
 *
 * The checksum catches typing errors and random guesses before anything is read. Whether a key is known, and to whom it
 * belongs, is the Directory's business.
 */

import { equalText, hex, hmac, utf8 } from '../bytes.ts'
import { randomText } from '../ids.ts'

const pattern = /^zoe_(live|test)_([a-z2-7]{12})_([a-z2-7]{32})([0-9a-f]{8})$/

export interface ParsedKey {
  readonly id: string
  readonly text: string
}

/** What eight steps of the division make of each byte. */
const remainders = Uint32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte
  for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0)
  return sum
})

/** CRC-32 as in IEEE 802.3, in hexadecimal. */
export function crc32(text: string): string {
  let sum = 0xffffffff
  for (const byte of utf8(text)) sum = (sum >>> 8) ^ (remainders[(sum ^ byte) & 0xff] as number)
  return ((sum ^ 0xffffffff) >>> 0).toString(16).padStart(8, '0')
}

/** A fresh key. It is shown once and stored nowhere. */
export function newKey(kind: 'live' | 'test'): ParsedKey {
  const id = randomText(12)
  const body = `zoe_${kind}_${id}_${randomText(32)}`
  return { id, text: body + crc32(body) }
}

/** The key's parts, or undefined for a text that no one ever issued. */
export function parseKey(text: string): ParsedKey | undefined {
  const match = pattern.exec(text)
  if (match === null || !equalText(crc32(text.slice(0, -8)), text.slice(-8))) return undefined
  return { id: match[2] as string, text }
}

/** What is stored of a key. */
export const keyFingerprint = async (key: ParsedKey, pepper: CryptoKey): Promise<string> =>
  hex(await hmac(pepper, utf8(key.text)))
