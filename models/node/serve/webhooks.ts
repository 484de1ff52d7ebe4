/**
 * Webhooks of predictions: filtered, paced, signed as Standard Webhooks say, sent in order.
 *
 * `start` and `completed` are always sent, `output` and `logs` at most one per half second with whatever is newest then.
 * Only `completed` is repeated, for about a minute; polling is the guarantee. Addresses must begin with an allowed
 * prefix, so that nobody can make the node call what it should not; redirects are not followed.
 * Signature: https://www.standardwebhooks.com, `v1,` + base64 HMAC-SHA256 of `id.timestamp.body`.
 */

import { createHmac, randomBytes } from 'node:crypto'
import { GenerationError } from '../../../shared/errors.ts'
import type { Clock } from './clock.ts'
import { type Change, type Prediction, predictionObject, terminal } from './prediction.ts'

export interface WebhookOptions {
  readonly clock: Clock
  /** `whsec_` and base64. */
  readonly secret: string
  readonly fetch?: typeof globalThis.fetch
}

const pace = 500
/** Waits before each attempt of a terminal webhook, in milliseconds. */
export const attempts = [0, 1000, 2000, 4000, 8000, 16000, 32000] as const
const timeout = 10_000

export const newWebhookSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`

/** The three headers of a signed body. `now` in milliseconds. */
export function signatureHeaders(secret: string, id: string, now: number, body: string): Record<string, string> {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  const seconds = String(Math.floor(now / 1000))
  const signature = createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64')
  return { 'webhook-id': id, 'webhook-timestamp': seconds, 'webhook-signature': `v1,${signature}` }
}

/**
 * Holds an address to the allowed prefixes: same origin, and the prefix's path or below it.
 * @throws GenerationError invalid_parameter.
 */
export function requireAllowed(address: string, prefixes: readonly string[]): void {
  const url = URL.canParse(address) ? new URL(address) : undefined
  const plain = url !== undefined && url.username === '' && url.password === ''
  const fits = (prefix: string) => {
    const { origin, pathname } = new URL(prefix)
    const folder = pathname.endsWith('/') ? pathname : `${pathname}/`
    return url?.origin === origin && (url.pathname === pathname || url.pathname.startsWith(folder))
  }
  if (plain && prefixes.some(fits)) return
  const allowed = prefixes.length === 0 ? 'none; start the node with --webhooks PREFIX' : prefixes.join(', ')
  throw new GenerationError('invalid_parameter', `webhook: got ${address}, allowed beginnings are ${allowed}`, {
    pointer: '/webhook',
  })
}

/** Watches a prediction and sends its webhooks until it is terminal. */
export function sendWebhooks(prediction: Prediction, options: WebhookOptions): void {
  const { webhook } = prediction.order
  if (webhook === undefined) return
  const { clock } = options
  let lane: Promise<unknown> = Promise.resolve()
  let sentAt = Number.NEGATIVE_INFINITY
  let cancelPaced: (() => void) | undefined
  const send = (waits: readonly number[]) => {
    sentAt = clock.now()
    // A hook says that something happened; pictures are for those who ask.
    const body = JSON.stringify({ ...predictionObject(prediction), preview: null })
    lane = lane.then(() => deliver(webhook.url, body, waits, options))
  }
  const watcher = (what: Change) => {
    if (terminal(prediction)) {
      cancelPaced?.()
      prediction.watchers.delete(watcher)
      if (webhook.events.includes('completed')) send(attempts)
    } else if (!webhook.events.includes(what)) return
    else if (what === 'start') send([0])
    else
      cancelPaced ??= clock.after(Math.max(0, sentAt + pace - clock.now()), () => {
        cancelPaced = undefined
        send([0])
      })
  }
  prediction.watchers.add(watcher)
}

/** Tries until it is taken, or refused for good with 410. Never throws: a dead receiver is no failure of ours. */
async function deliver(
  url: string,
  body: string,
  waits: readonly number[],
  { clock, secret, fetch = globalThis.fetch }: WebhookOptions,
): Promise<void> {
  const id = `msg_${randomBytes(16).toString('base64url')}`
  for (const wait of waits) {
    if (wait > 0) await new Promise<void>((resolve) => clock.after(wait, resolve))
    const headers = { 'content-type': 'application/json', ...signatureHeaders(secret, id, clock.now(), body) }
    const signal = AbortSignal.timeout(timeout)
    const response = await fetch(url, { method: 'POST', headers, body, redirect: 'manual', signal }).catch(
      () => undefined,
    )
    // Unread bodies keep their connection.
    await response?.body?.cancel().catch(() => {})
    if (response !== undefined && (response.ok || response.status === 410)) return
  }
}
