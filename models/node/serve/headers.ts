/**
 * The two headers a caller steers a prediction with: `Prefer: wait` (RFC 7240) and `Cancel-After`.
 */

import { GenerationError } from '../../../shared/errors.ts'

const longestWait = 60

/** Seconds to hold the answer, 1 to 60; undefined where none is asked for. What cannot be read is no preference. */
export function waitOf(prefer: string | undefined): number | undefined {
  const preference = (prefer ?? '')
    .split(',')
    .map((each) => each.trim().toLowerCase())
    .find((each) => each === 'wait' || each.startsWith('wait='))
  if (preference === undefined) return undefined
  const seconds = preference === 'wait' ? longestWait : Number(preference.slice('wait='.length))
  return Number.isInteger(seconds) && seconds >= 1 ? Math.min(seconds, longestWait) : undefined
}

/**
 * Milliseconds from `90s`, `5m`, `1h30m`; undefined where the header is absent.
 * @throws GenerationError invalid_header.
 */
export function cancelAfterOf(header: string | undefined): number | undefined {
  if (header === undefined) return undefined
  const parts = /^(?=\d)(?:(\d{1,2})h)?(?:(\d{1,4})m)?(?:(\d{1,5})s)?$/.exec(header.trim())
  const [hours, minutes, seconds] = (parts ?? []).slice(1).map((part) => Number(part ?? 0))
  const milliseconds = ((hours ?? 0) * 3600 + (minutes ?? 0) * 60 + (seconds ?? 0)) * 1000
  if (milliseconds >= 5000 && milliseconds <= 86_400_000) return milliseconds
  throw new GenerationError(
    'invalid_header',
    `cancel-after: got ${header}, allowed are 5s to 24h, for example 30s, 5m or 1h30m`,
  )
}
