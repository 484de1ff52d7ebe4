/**
 * The Idempotency-Key of a request, and what stands for the request in the account's memory of keys.
 *
 * A key belongs to its tenant, and within it to the subject of a browser token: nobody is given what another asked for.
 */

import { GenerationError } from '../shared/errors.ts'
import { sha256, utf8 } from './bytes.ts'
import type { Context } from './context.ts'
import type { Created, Idempotency } from './objects/contract.ts'

/**
 * The key a request carries; null where it has none.
 * @param body as it was sent, parsed.
 * @throws GenerationError invalid_header.
 */
export async function idempotencyOf(context: Context, body: unknown): Promise<Idempotency | null> {
  const key = context.req.header('idempotency-key')
  if (key === undefined) return null
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw new GenerationError('invalid_header', 'idempotency-key: allowed are 1 to 255 visible ASCII characters')
  }
  const { subject } = context.get('principal')
  // Its own field order is the caller's; the values are what counts.
  const canonical = JSON.stringify([context.req.path, sortedBody(body)])
  // A key holds no blank, so the two cannot run into one another.
  return { key: subject === null ? key : `${key} ${subject}`, fingerprint: await sha256(utf8(canonical)) }
}

function sortedBody(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortedBody)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))
  return entries.map(([key, each]) => [key, sortedBody(each)])
}

/** What tells a caller that its request was answered before. */
export const replayHeaders = (replayed: boolean): Readonly<Record<string, string>> =>
  replayed ? { 'idempotency-replayed': 'true' } : {}

/**
 * What came of a creation, and whether by an equal request before.
 * @throws GenerationError with the account's refusal.
 */
export function createdOf<Value>(answer: Created<Value>): { readonly value: Value; readonly replayed: boolean } {
  if (answer.kind !== 'refused') return { value: answer.value, replayed: answer.kind === 'replayed' }
  const { code, message, retryAfterMs } = answer
  throw new GenerationError(code, message, retryAfterMs === undefined ? {} : { retryAfterMs })
}
