/**
 * The journal of a download: how far it came, of which version, and when the file was last used.
 *
 * Advice only: a torn or lying journal costs bytes, never correctness, since a file is hashed whole before it is used.
 */

export interface Journal {
  /** The strong validator under which the bytes so far came; absent where the server gave none. */
  readonly etag?: string | undefined
  /** Bytes that were flushed. */
  readonly received: number
  readonly state: 'partial' | 'ready'
  /** Milliseconds since 1970. */
  readonly usedAt: number
}

export const emptyJournal: Journal = { received: 0, state: 'partial', usedAt: 0 }

export function readJournal(bytes: Uint8Array): Journal {
  try {
    const data: unknown = JSON.parse(new TextDecoder().decode(bytes))
    return isJournal(data) ? data : emptyJournal
  } catch {
    return emptyJournal
  }
}

export const writeJournal = (journal: Journal): Uint8Array => new TextEncoder().encode(JSON.stringify(journal))

function isJournal(data: unknown): data is Journal {
  if (data === null || typeof data !== 'object') return false
  const { etag, received, state, usedAt } = data as Partial<Record<keyof Journal, unknown>>
  return (
    (etag === undefined || typeof etag === 'string') &&
    Number.isSafeInteger(received) &&
    (received as number) >= 0 &&
    (state === 'partial' || state === 'ready') &&
    typeof usedAt === 'number'
  )
}

/** Headers that ask for the rest of a file, or for all of it. */
export function rangeHeaders({ received, etag }: Journal, span = Number.POSITIVE_INFINITY): Record<string, string> {
  if (received === 0 && span === Number.POSITIVE_INFINITY) return {}
  // A weak validator must not be used with If-Range (RFC 9110, 13.1.5).
  const strong = etag !== undefined && !etag.startsWith('W/')
  const last = span === Number.POSITIVE_INFINITY ? '' : received + span - 1
  return { Range: `bytes=${received}-${last}`, ...(strong ? { 'If-Range': etag } : undefined) }
}

/** Where the answer's first byte belongs: the place asked for, or 0 when the server starts over. */
export function startOf(response: Pick<Response, 'status' | 'headers'>, asked: number): number {
  if (response.status !== 206) return 0
  const match = /^bytes (\d+)-/.exec(response.headers.get('Content-Range') ?? '')
  return match === null ? asked : Number(match[1])
}

/** Which ready files must go so that `wanted` bytes fit into `free`: least recently used first, never one in `kept`. */
export function evictions(
  files: readonly { readonly name: string; readonly bytes: number; readonly usedAt: number }[],
  kept: ReadonlySet<string>,
  shortage: number,
): string[] {
  const chosen: string[] = []
  let freed = 0
  for (const { name, bytes } of [...files].sort((a, b) => a.usedAt - b.usedAt)) {
    if (freed >= shortage) break
    if (kept.has(name)) continue
    chosen.push(name)
    freed += bytes
  }
  return chosen
}
