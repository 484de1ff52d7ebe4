/**
 * What the noise of a seed hashes to, in every engine: SHA-256 over the float32 bytes of 4,096 numbers.
 */

import { gaussian } from '../shared/random.ts'

/** By seed and stream. Recompute only together with `rng` in receipts: it is a promise to whoever kept a seed. */
export const goldenNoise = [
  { seed: 0, stream: 0, sha256: '7a1fecd46c0fd59e442af13f699cdc95e20dac43ab54e50ad2c0c600fc96a083' },
  { seed: 7, stream: 1, sha256: '96b976e63d64bba357545984e456c2cc14c451258ef53faa6c21c970cd85b3e0' },
  { seed: 4294967295, stream: 0, sha256: '825a246d550035b13568668dc14d855754f78a28894f89b924c95efafa95964f' },
] as const

/** The hash in this engine. */
export async function noiseHash(seed: number, stream: number): Promise<string> {
  const numbers = gaussian(seed, stream, 0, 4096)
  const bytes = new Uint8Array(numbers.slice().buffer)
  const digest = await crypto.subtle.digest('SHA-256', bytes)
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
