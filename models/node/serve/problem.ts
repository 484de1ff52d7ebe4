/**
 * Failures as Replicate words them: `{title, detail, status}`, plus our `code` and `pointer`.
 *
 * Only messages of GenerationError leave the node; anything else is logged whole and sent as `internal`.
 */

import { type ErrorCode, errorKinds, GenerationError } from '../../../shared/errors.ts'

export interface Problem {
  readonly title: string
  readonly detail: string
  readonly status: number
  readonly code: ErrorCode
  readonly pointer?: string
}

const titles: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthenticated',
  403: 'Forbidden',
  404: 'Not Found',
  409: 'Conflict',
  410: 'Gone',
  413: 'Payload Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Entity',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
}

/** The status of a code here. Codes that only a job can have are faults of this server when they get this far. */
function statusOf(code: ErrorCode): number {
  // Not 429: the stock client answers that with five more POSTs at once.
  if (code === 'queue_full') return 409
  return errorKinds[code].status ?? 500
}

export function problemOf(error: unknown): Problem {
  if (!(error instanceof GenerationError)) {
    return {
      title: 'Internal Server Error',
      detail: 'the node failed; its log says why',
      status: 500,
      code: 'internal',
    }
  }
  const status = statusOf(error.code)
  const { code, message: detail, pointer } = error
  return { title: titles[status] ?? 'Error', detail, status, code, ...(pointer === undefined ? {} : { pointer }) }
}

/** The answer to a failed request. */
export function problemResponse(error: unknown): Response {
  const problem = problemOf(error)
  const headers: Record<string, string> = { 'content-type': 'application/problem+json', 'cache-control': 'no-store' }
  if (problem.status === 401) headers['www-authenticate'] = 'Bearer'
  if (problem.status === 409) headers['retry-after'] = '5'
  return new Response(JSON.stringify(problem), { status: problem.status, headers })
}
