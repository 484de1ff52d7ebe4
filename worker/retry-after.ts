/**
 * How long an upstream asks us to wait, whatever it wrote.
 *
 * Source: RFC 9110 §10.2.3 (seconds or a date). The result is never NaN, never negative and never beyond the cap;
 * jitter only lengthens it, so nobody comes back early.
 */

export const retryCapMs = 60_000
const missingMs = 5_000

/** Milliseconds to wait. @param random 0…1, for the jitter of up to a fifth. */
export function retryAfterMs(header: string | null, now: number, random: number): number {
  const asked = askedMs(header?.trim() ?? '', now)
  const base = Math.min(retryCapMs, Math.max(0, asked))
  return Math.min(retryCapMs * 1.2, Math.ceil(base * (1 + 0.2 * random)))
}

function askedMs(header: string, now: number): number {
  if (/^\d+$/.test(header)) return Number(header) * 1000
  const date = /^[A-Za-z]{3},/.test(header) ? Date.parse(header) : Number.NaN
  return Number.isNaN(date) ? missingMs : date - now
}
