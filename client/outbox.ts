/**
 * The outbox: requests made without a network, kept until there is one, each sent exactly once.
 *
 * A letter gets its idempotency key when it is written, so a sending that was cut can be repeated: the service answers
 * with the job that is there. It remembers keys for a day; a letter whose outcome has been unknown for longer is never
 * sent again but reported, since a second job costs money and a lost one a click. Letters older than a week are given
 * up. Knows neither network nor storage.
 */

import { GenerationError } from '../shared/errors.ts'
import type { VideoRequest } from './events.ts'

export interface Letter {
  /** The idempotency key. */
  readonly key: string
  readonly request: VideoRequest
  /** Milliseconds since 1970. */
  readonly writtenAt: number
  /** When it was first handed to the network; absent until then. */
  readonly triedAt?: number
}

/** Where letters lie between visits. Each call is atomic. */
export interface LetterBox {
  readonly all: () => Promise<readonly Letter[]>
  /** Adds a letter or replaces the one of the same key. */
  readonly put: (letter: Letter) => Promise<void>
  readonly remove: (key: string) => Promise<void>
}

export interface OutboxOptions {
  readonly box: LetterBox
  /** Resolves when the service has acknowledged the job. */
  readonly send: (letter: Letter) => Promise<void>
  readonly now?: () => number
  /** One flush at a time, over all tabs. */
  readonly lock?: <T>(name: string, body: () => Promise<T>) => Promise<T>
  readonly newKey?: () => string
}

/** What became of a letter that is no longer in the box. */
export type Delivery =
  | { readonly letter: Letter; readonly kind: 'sent' | 'expired' | 'uncertain' }
  | { readonly letter: Letter; readonly kind: 'refused'; readonly error: GenerationError }

export interface Outbox {
  readonly add: (request: VideoRequest) => Promise<Letter>
  readonly waiting: () => Promise<readonly Letter[]>
  /** Sends what waits, oldest first, until one cannot be; that one and those behind it go on waiting. */
  readonly flush: () => Promise<readonly Delivery[]>
  readonly withdraw: (key: string) => Promise<void>
}

const hour = 3_600_000
/** How long a letter waits. */
export const letterLife = 7 * 24 * hour
/** How long a cut sending may be repeated: the service's memory of keys, less an hour for clocks that differ. */
export const repeatable = 23 * hour

export function createOutbox({ box, send, ...options }: OutboxOptions): Outbox {
  const { now = Date.now, newKey = () => crypto.randomUUID() } = options
  const lock = options.lock ?? ((name, body) => navigator.locks.request(name, body) as Promise<never>)
  const deliver = async (letter: Letter): Promise<Delivery | undefined> => {
    const kind = hopeless(letter, now())
    if (kind === undefined) {
      // Noted before anything leaves: after a kill nobody else could tell that something may have.
      if (letter.triedAt === undefined) await box.put({ ...letter, triedAt: now() })
      const error = await send(letter).then(
        () => undefined,
        (cause: unknown) => cause,
      )
      if (error !== undefined) return failed(box, letter, error)
    }
    await box.remove(letter.key)
    return { letter, kind: kind ?? 'sent' }
  }
  return {
    add: async (request) => {
      const letter = { key: newKey(), request, writtenAt: now() }
      await box.put(letter)
      return letter
    },
    waiting: async () => inOrder(await box.all()),
    withdraw: (key) => lock('zoetrope-outbox', () => box.remove(key)),
    flush: () =>
      lock('zoetrope-outbox', async () => {
        const delivered: Delivery[] = []
        for (const letter of inOrder(await box.all())) {
          const outcome = await deliver(letter)
          if (outcome === undefined) break
          delivered.push(outcome)
        }
        return delivered
      }),
  }
}

const inOrder = (letters: readonly Letter[]) => [...letters].sort((a, b) => a.writtenAt - b.writtenAt)

/** Why a letter must not be sent any more. */
function hopeless({ writtenAt, triedAt }: Letter, now: number): 'expired' | 'uncertain' | undefined {
  if (triedAt !== undefined && now - triedAt > repeatable) return 'uncertain'
  return triedAt === undefined && now - writtenAt > letterLife ? 'expired' : undefined
}

/** A refusal is final; whatever may pass keeps the letter. */
async function failed(box: LetterBox, letter: Letter, error: unknown): Promise<Delivery | undefined> {
  const lasting = error instanceof GenerationError && !error.retryable && !needsCredential.has(error.code)
  if (!lasting) {
    // Nothing answered, so nothing may be known; a clear no before anything began frees the letter's day.
    if (error instanceof GenerationError && needsCredential.has(error.code)) await box.put(letter)
    return undefined
  }
  await box.remove(letter.key)
  return { letter, kind: 'refused', error }
}

/** Refused for who asks, not for what is asked. */
const needsCredential: ReadonlySet<string> = new Set(['unauthenticated', 'token_expired', 'forbidden'])
