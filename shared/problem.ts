/**
 * A failure on the wire: application/problem+json, made from the one table of codes.
 *
 * Knows no HTTP framework. Source: RFC 9457; `error` repeats the failure in the shape OpenAI's clients read.
 */

import * as v from 'valibot'
import { type ErrorCode, errorKinds, GenerationError } from './errors.ts'

export const errorCodes = Object.keys(errorKinds) as [ErrorCode, ...ErrorCode[]]

export const problemSchema = v.object({
  type: v.string(),
  title: v.string(),
  status: v.number(),
  detail: v.string(),
  instance: v.string(),
  code: v.picklist(errorCodes),
  request_id: v.string(),
  retryable: v.boolean(),
  retry_after_ms: v.optional(v.number()),
  errors: v.optional(v.array(v.object({ pointer: v.string(), detail: v.string() }))),
  available: v.optional(v.array(v.string())),
  error: v.object({
    code: v.string(),
    message: v.string(),
    type: v.string(),
    param: v.nullable(v.string()),
  }),
})

export type Problem = v.InferOutput<typeof problemSchema>

/** A job's own error: the same codes, without a response around them. */
export const jobErrorSchema = v.object({
  code: v.picklist(errorCodes),
  detail: v.string(),
  retryable: v.boolean(),
})

export type JobError = v.InferOutput<typeof jobErrorSchema>

/** The error a job carries. */
export const jobError = (code: ErrorCode, detail: string): JobError => ({
  code,
  detail,
  retryable: errorKinds[code].retryable,
})

/** The body of a failed response. A code without a status of its own answers 500. */
export function problemOf(failure: GenerationError, requestId: string): Problem {
  const { code, message, pointer, retryAfterMs, available } = failure
  const status = failure.status ?? 500
  return {
    type: `urn:zoetrope:problem:${code}`,
    title: titleOf(code),
    status,
    detail: message,
    instance: `/requests/${requestId}`,
    code,
    request_id: requestId,
    retryable: failure.retryable,
    ...(retryAfterMs === undefined ? {} : { retry_after_ms: Math.ceil(retryAfterMs) }),
    ...(pointer === undefined ? {} : { errors: [{ pointer, detail: message }] }),
    ...(available === undefined ? {} : { available: [...available] }),
    error: { code, message, type: typeOf(status), param: pointer?.slice(1) ?? null },
  }
}

/** Anything thrown as a failure of the table; what nobody foresaw tells the outside nothing. */
export const failureOf = (thrown: unknown): GenerationError =>
  thrown instanceof GenerationError
    ? thrown
    : new GenerationError('internal', 'something went wrong here; try again with the same Idempotency-Key', {
        cause: thrown,
      })

function titleOf(code: ErrorCode): string {
  const words = code.replaceAll('_', ' ')
  return `${words[0]?.toUpperCase()}${words.slice(1)}`
}

function typeOf(status: number): string {
  if (status === 401) return 'authentication_error'
  if (status === 403) return 'permission_error'
  if (status === 429) return 'rate_limit_error'
  return status >= 500 ? 'server_error' : 'invalid_request_error'
}
