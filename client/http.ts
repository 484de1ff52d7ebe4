/**
 * One request to the service, made to arrive: a fresh token where one ran out, another try where one may help.
 *
 * Retries walk a fixed ladder, keep to Retry-After and never repeat an abort. Whoever sends something that must happen
 * once gives it an idempotency key: it is the same on every try. Failures become GenerationError with the problem's code.
 */

import { type ErrorCode, errorKinds, GenerationError } from '../shared/errors.ts'
import { pause } from './pause.ts'

export interface Service {
  /** Address without a trailing slash. */
  readonly baseUrl: string
  readonly tokenProvider?: (() => Promise<string>) | undefined
  readonly fetch: typeof globalThis.fetch
  readonly pause: (milliseconds: number, signal: AbortSignal) => Promise<void>
}

/** A service at an address, by the platform's own fetch. */
export const serviceAt = (baseUrl: string, tokenProvider?: () => Promise<string>): Service => ({
  baseUrl: baseUrl.replace(/\/+$/, ''),
  tokenProvider,
  fetch: (...words) => globalThis.fetch(...words),
  pause,
})

export interface Sent {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Sent as JSON. */
  readonly body?: unknown
  /** Sent as it is, in place of `body`. */
  readonly raw?: { readonly bytes: Uint8Array; readonly contentType: string }
  readonly headers?: Readonly<Record<string, string>>
}

const tries = 5
/** Milliseconds that are waited at most, whatever the service says. */
const longest = 60_000

/**
 * Sends until an answer comes that is final.
 * @throws GenerationError with the problem's code; offline when nothing answers.
 */
export async function request(service: Service, path: string, sent: Sent, signal: AbortSignal): Promise<Response> {
  let renewed = false
  for (let attempt = 1; ; attempt++) {
    const outcome = await once(service, path, sent, signal)
    if (outcome instanceof Response && outcome.ok) return outcome
    const failure = outcome instanceof Response ? await problemIn(outcome) : unreachable(service, outcome)
    const expired = outcome instanceof Response && outcome.status === 401 && !renewed
    if (expired) renewed = true
    else if (!failure.retryable || failure.code === 'token_expired' || attempt >= tries) throw failure
    if (!expired) await service.pause(waitFor(outcome, attempt), signal)
  }
}

async function once(service: Service, path: string, sent: Sent, signal: AbortSignal): Promise<unknown> {
  signal.throwIfAborted()
  const token = await service.tokenProvider?.()
  const headers = {
    ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    ...(sent.body === undefined ? {} : { 'Content-Type': 'application/json' }),
    ...(sent.raw === undefined ? {} : { 'Content-Type': sent.raw.contentType }),
    ...sent.headers,
  }
  try {
    return await service.fetch(new URL(path, `${service.baseUrl}/`), {
      method: sent.method ?? 'GET',
      headers,
      signal,
      ...bodyOf(sent),
    })
  } catch (cause) {
    signal.throwIfAborted()
    return cause
  }
}

function bodyOf({ body, raw }: Sent): Pick<RequestInit, 'body'> {
  if (raw !== undefined) return { body: raw.bytes as Uint8Array<ArrayBuffer> }
  return body === undefined ? {} : { body: JSON.stringify(body) }
}

const unreachable = ({ baseUrl }: Service, cause: unknown) =>
  new GenerationError('offline', `${baseUrl} cannot be reached; connect and try again`, { cause })

/** The failure in an answer; one that is no problem document gets a code by its status. */
async function problemIn(response: Response): Promise<GenerationError> {
  const text = await response.text().catch(() => '')
  const { code, detail } = parsed(text)
  const known = typeof code === 'string' && Object.hasOwn(errorKinds, code)
  return new GenerationError(
    known ? (code as ErrorCode) : codeOf(response.status),
    typeof detail === 'string' ? detail : `${response.url} answered ${response.status}`,
  )
}

function parsed(text: string): { readonly code?: unknown; readonly detail?: unknown } {
  try {
    const data: unknown = JSON.parse(text)
    return data !== null && typeof data === 'object' ? data : {}
  } catch {
    return {}
  }
}

function codeOf(status: number): ErrorCode {
  const found = Object.entries(errorKinds).find(([, kind]) => kind.status === status)
  return (found?.[0] as ErrorCode | undefined) ?? (status >= 500 ? 'upstream_error' : 'invalid_parameter')
}

/** Retry-After in seconds or as a date, else doubling from half a second. */
function waitFor(outcome: unknown, attempt: number): number {
  const header = outcome instanceof Response ? outcome.headers.get('Retry-After') : null
  const seconds = Number(header ?? Number.NaN)
  const asked = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header ?? '') - Date.now()
  const wait = Number.isFinite(asked) ? asked : 250 * 2 ** attempt
  return Math.min(longest, Math.max(0, wait))
}
