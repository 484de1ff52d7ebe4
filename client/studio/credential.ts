/**
 * The visitor's credential for the service: in this page's memory, and nowhere else.
 *
 * A browser token is used as it is. An API key is used for one thing: to mint short-lived tokens of this origin, which
 * are what the SDK sends with everything else. Neither is put into an address, a store or a message; a reload forgets
 * them.
 */

import { GenerationError } from '../../shared/errors.ts'
import { request, serviceAt } from '../http.ts'

export interface Credential {
  /** Takes what was typed; an empty text forgets. */
  readonly set: (text: string) => void
  readonly given: () => boolean
  /** A token that is good for the next moments. @throws GenerationError unauthenticated where there is none. */
  readonly token: () => Promise<string>
}

export interface CredentialOptions {
  /** Where tokens are minted. */
  readonly baseUrl: string
  /** Whose jobs these are: the same text sees the same jobs. */
  readonly subject: string
  readonly fetch?: typeof globalThis.fetch
  readonly now?: () => number
}

interface Minted {
  readonly token: string
  /** Milliseconds since 1970. */
  readonly goodUntil: number
}

/** What one token may do in its ten minutes. */
const bounds = { ttl_s: 600, max_jobs: 100, max_cost_usd: '10' } as const
/** Renewed before it runs out, so that none expires on its way. */
const marginMs = 60_000

export function createCredential({ baseUrl, subject, fetch, now = Date.now }: CredentialOptions): Credential {
  let text = ''
  let minted: { readonly of: string; readonly token: Promise<Minted> } | undefined
  const mint = async (key: string): Promise<Minted> => {
    const service = { ...serviceAt(baseUrl, async () => key), ...(fetch === undefined ? {} : { fetch }) }
    const body = { ...bounds, subject, origin: new URL(baseUrl).origin }
    const answer = await request(service, 'v1/tokens', { method: 'POST', body }, AbortSignal.timeout(30_000))
    const { token } = (await answer.json()) as { readonly token: string }
    return { token, goodUntil: now() + 1000 * bounds.ttl_s - marginMs }
  }
  return {
    set: (typed) => {
      text = typed.trim()
      minted = undefined
    },
    given: () => text !== '',
    token: async () => {
      requireText(text)
      if (!text.startsWith('zoe_')) return text
      const known = minted?.of === text ? await minted.token.catch(() => undefined) : undefined
      if (known !== undefined && known.goodUntil > now()) return known.token
      minted = { of: text, token: mint(text).catch(noServiceHere) }
      return (await minted.token).token
    },
  }
}

/** The text itself is never said: it may be most of a secret. */
function requireText(text: string): void {
  if (/^[\x21-\x7e]{1,4096}$/.test(text)) return
  throw new GenerationError(
    'unauthenticated',
    text === ''
      ? 'key: got none, wanted is an API key or a browser token; choose Cloud and enter one'
      : 'key: got something else, allowed is an API key or a browser token, in visible ASCII',
  )
}

/** A plain host of files answers so; what waits for a service goes on waiting. */
function noServiceHere(error: unknown): never {
  if (error instanceof GenerationError && ['not_found', 'method_not_allowed'].includes(error.code))
    throw new GenerationError('offline', 'this site has no service; serve the studio with `npm start` or from a Worker')
  throw error
}
