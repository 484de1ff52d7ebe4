/**
 * A fetch that lets exactly one request out and remembers what became of it.
 *
 * The replicate client (1.4.0) repeats a POST up to five times after a lost connection or a 429, and every repetition
 * may be a paid run. Behind this seal it sees success or a 424, which it never repeats; we act on the record instead.
 */

import { withTimeLimit } from '../time-limit.ts'

export type Outcome =
  | { readonly kind: 'response'; readonly status: number; readonly retryAfter: string | null; readonly body: string }
  | { readonly kind: 'thrown'; readonly cause: string }
  | { readonly kind: 'none' }

export interface SealedFetch {
  readonly fetch: typeof globalThis.fetch
  readonly outcome: () => Outcome
}

/** Longest answer read; a prediction is a few KiB. */
const answerLimit = 1_048_576

/** Seals one request. @param send the real fetch. */
export function sealedFetch(send: typeof globalThis.fetch, timeoutMs: number, signal: AbortSignal): SealedFetch {
  let used = false
  let outcome: Outcome = { kind: 'none' }
  const failed = () => new Response('{"detail":"sealed"}', { status: 424 })
  const once = async (input: Parameters<typeof fetch>[0], init?: Parameters<typeof fetch>[1]): Promise<Response> => {
    if (used) return failed()
    used = true
    try {
      const call = async (limits: AbortSignal) => {
        const response = await send(input, { ...init, redirect: 'manual', signal: limits })
        return { response, body: await limitedText(response) }
      }
      const { response, body } = await withTimeLimit(timeoutMs, call, signal)
      outcome = { kind: 'response', status: response.status, retryAfter: response.headers.get('retry-after'), body }
      return response.ok ? new Response(body, { status: response.status, headers: response.headers }) : failed()
    } catch (error) {
      outcome = { kind: 'thrown', cause: error instanceof Error ? error.message : String(error) }
      return failed()
    }
  }
  return { fetch: once as typeof globalThis.fetch, outcome: () => outcome }
}

async function limitedText(response: Response): Promise<string> {
  if (response.body === null) return ''
  const decoder = new TextDecoder()
  let [text, size] = ['', 0]
  for await (const piece of response.body) {
    size += piece.length
    if (size > answerLimit) throw new Error(`the answer is longer than ${answerLimit} bytes`)
    text += decoder.decode(piece, { stream: true })
  }
  return text + decoder.decode()
}
