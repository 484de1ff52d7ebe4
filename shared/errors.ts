/**
 * Every failure that crosses a boundary: one class, one table of codes.
 *
 * A code fixes the HTTP status and whether the same request may be tried again. Messages say what was got, what is
 * allowed and what to do. Codes without a status are the SDK's and a job's own.
 */

interface ErrorKind {
  readonly status: number | undefined
  readonly retryable: boolean
}

const kind = (status: number | undefined, retryable = false): ErrorKind => ({ status, retryable })

export const errorKinds = {
  invalid_json: kind(400),
  invalid_header: kind(400),
  unauthenticated: kind(401),
  token_expired: kind(401, true),
  insufficient_quota: kind(402),
  forbidden: kind(403),
  origin_not_allowed: kind(403),
  not_found: kind(404),
  method_not_allowed: kind(405),
  idempotency_in_progress: kind(409, true),
  asset_not_ready: kind(409, true),
  not_extendable: kind(409),
  job_active: kind(409, true),
  content_expired: kind(410),
  payload_too_large: kind(413),
  unsupported_media_type: kind(415),
  unknown_parameter: kind(422),
  invalid_parameter: kind(422),
  conflicting_parameters: kind(422),
  unsupported_capability: kind(422),
  strict_mismatch: kind(422),
  format_unavailable: kind(422),
  latent_mismatch: kind(422),
  content_blocked: kind(422),
  idempotency_key_reuse: kind(422),
  rate_limited: kind(429, true),
  concurrency_limited: kind(429, true),
  queue_full: kind(429, true),
  internal: kind(500, true),
  upstream_error: kind(502, true),
  upstream_timeout: kind(504, true),
  provider_unavailable: kind(503, true),
  moderation_unavailable: kind(503, true),
  deadline_exceeded: kind(undefined, true),
  output_invalid: kind(undefined, true),
  upstream_rejected: kind(undefined),
  upstream_cancelled: kind(undefined, true),
  numerics_failed: kind(undefined),
  device_unavailable: kind(undefined),
  device_lost: kind(undefined, true),
  device_numerics_failed: kind(undefined),
  out_of_memory: kind(undefined),
  storage_full: kind(undefined),
  weights_integrity: kind(undefined, true),
  model_format: kind(undefined),
  offline: kind(undefined, true),
  consent_required: kind(undefined),
  aborted: kind(undefined),
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorKinds

export interface ErrorDetails {
  /** JSON pointer of the offending field. */
  readonly pointer?: string
  readonly cause?: unknown
  /** Milliseconds after which the same request may succeed. */
  readonly retryAfterMs?: number
  /** What would have been available instead. */
  readonly available?: readonly string[]
}

/** A failure with a code of the table. */
export class GenerationError extends Error {
  override readonly name = 'GenerationError'
  readonly code: ErrorCode
  readonly pointer: string | undefined
  readonly retryAfterMs: number | undefined
  readonly available: readonly string[] | undefined

  constructor(code: ErrorCode, message: string, { pointer, cause, retryAfterMs, available }: ErrorDetails = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.pointer = pointer
    this.retryAfterMs = retryAfterMs
    this.available = available
  }

  get status(): number | undefined {
    return errorKinds[this.code].status
  }

  get retryable(): boolean {
    return errorKinds[this.code].retryable
  }
}
