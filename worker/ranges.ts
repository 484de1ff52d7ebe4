/**
 * Stored bytes over HTTP: one range, strong tags, conditions. Source: RFC 9110 §13 and §14.
 */

import { GenerationError } from '../shared/errors.ts'

export interface StoredObject {
  readonly key: string
  readonly size: number
  /** Without quotes; the hash of the bytes. */
  readonly etag: string
  readonly contentType: string
  readonly headers?: Readonly<Record<string, string>>
}

interface Span {
  readonly offset: number
  readonly length: number
}

/** The one range a header asks for; null for none or several, which are served whole; 'unsatisfiable' beyond the end. */
export function spanOf(header: string | null, size: number): Span | null | 'unsatisfiable' {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header?.trim() ?? '')
  if (match === null || (match[1] === '' && match[2] === '')) return null
  const [from, to] = [match[1] as string, match[2] as string]
  if (from === '') {
    const length = Math.min(Number(to), size)
    return length === 0 ? 'unsatisfiable' : { offset: size - length, length }
  }
  if (to !== '' && Number(to) < Number(from)) return null
  if (Number(from) >= size) return 'unsatisfiable'
  const last = to === '' ? size - 1 : Math.min(Number(to), size - 1)
  return { offset: Number(from), length: last - Number(from) + 1 }
}

const matches = (header: string | null, etag: string): boolean =>
  header !== null &&
  (header.trim() === '*' || header.split(',').some((each) => each.trim().replace(/^W\//, '') === `"${etag}"`))

/**
 * Serves an object: 200, 206, 304 or 416.
 * @throws GenerationError content_expired where its bytes are gone.
 */
export async function serveObject(request: Request, bucket: R2Bucket, object: StoredObject): Promise<Response> {
  const { size, etag, contentType } = object
  const headers = new Headers({
    'accept-ranges': 'bytes',
    'cache-control': 'private, max-age=900',
    etag: `"${etag}"`,
    'x-content-type-options': 'nosniff',
    ...object.headers,
  })
  if (matches(request.headers.get('if-none-match'), etag)) return new Response(null, { status: 304, headers })
  headers.set('content-type', contentType)
  const condition = request.headers.get('if-range')
  const asked = condition === null || condition.trim() === `"${etag}"` ? request.headers.get('range') : null
  const span = spanOf(asked, size)
  if (span === 'unsatisfiable') {
    headers.set('content-range', `bytes */${size}`)
    return new Response(null, { status: 416, headers })
  }
  const stored = await bucket.get(object.key, span === null ? {} : { range: span })
  if (stored === null) throw new GenerationError('content_expired', 'the bytes are no longer stored')
  headers.set('content-length', String(span?.length ?? size))
  if (span !== null) headers.set('content-range', `bytes ${span.offset}-${span.offset + span.length - 1}/${size}`)
  return new Response(stored.body, { status: span === null ? 200 : 206, headers })
}
