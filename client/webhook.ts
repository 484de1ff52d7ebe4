/**
 * Webhooks of the service, verified: who sent it, that it is whole, that it is of now.
 *
 * Standard Webhooks: HMAC-SHA256 over `id.timestamp.body` with the endpoint's secret. The body must be the bytes as they
 * came, not JSON parsed and printed again. Only version v1 counts, compared in constant time, five minutes either way.
 * Runs wherever Web Crypto does.
 */

import { GenerationError } from '../shared/errors.ts'

export interface Webhook {
  readonly type: string
  readonly timestamp: string
  readonly data: { readonly id: string; readonly status: string }
}

export interface WebhookOptions {
  /** The endpoint's secret, `whsec_…`; while it is rotated, both. */
  readonly secret: string | readonly string[]
  /** Milliseconds since 1970, for tests. */
  readonly now?: number
}

/** Seconds. */
const tolerance = 300

/**
 * The event in a request, once it is proven.
 * @throws GenerationError forbidden, saying what is wrong but nothing of the secret.
 */
export async function verifyWebhook(
  headers: Headers | Readonly<Record<string, string | undefined>>,
  body: Uint8Array | string,
  { secret, now = Date.now() }: WebhookOptions,
): Promise<Webhook> {
  const id = header(headers, 'webhook-id')
  const timestamp = header(headers, 'webhook-timestamp')
  const signatures = header(headers, 'webhook-signature')
  // Digits alone: "1e9", " 17" and "0x1" are numbers to Number too.
  if (!/^\d{1,12}$/.test(timestamp)) throw refused('webhook-timestamp is not a number of seconds')
  if (Math.abs(now / 1000 - Number(timestamp)) > tolerance)
    throw refused(`webhook-timestamp is over ${tolerance} s off`)
  // A dot in the id could move the boundary between id and timestamp.
  if (id === '' || id.includes('.')) throw refused('webhook-id is empty or has a dot')
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body
  const signed = joined(new TextEncoder().encode(`${id}.${timestamp}.`), bytes)
  const given = signatures.split(' ').flatMap((each) => (each.startsWith('v1,') ? [bytesOf(each.slice(3))] : []))
  const secrets = typeof secret === 'string' ? [secret] : secret
  let proven = false
  for (const each of secrets) {
    const wanted = await signature(each, signed)
    // All are compared, so that time tells nothing of which.
    for (const candidate of given) proven = same(candidate, wanted) || proven
  }
  if (!proven) throw refused('no v1 signature is by a known secret')
  return JSON.parse(new TextDecoder().decode(bytes)) as Webhook
}

const refused = (what: string) => new GenerationError('forbidden', `webhook: ${what}; it is not acted upon`)

function header(headers: Headers | Readonly<Record<string, string | undefined>>, name: string): string {
  const value = headers instanceof Headers ? headers.get(name) : headers[name]
  if (value === null || value === undefined) throw refused(`${name} is missing`)
  return value
}

async function signature(secret: string, signed: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const raw = bytesOf(secret.replace(/^whsec_/, ''))
  const key = await crypto.subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, signed))
}

/** Base64 in its one canonical form, or nothing: unused bits and stray letters must not give a second spelling. */
function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  try {
    const text = atob(base64)
    return btoa(text) === base64 ? Uint8Array.from(text, (letter) => letter.charCodeAt(0)) : new Uint8Array()
  } catch {
    return new Uint8Array()
  }
}

function joined(head: Uint8Array, tail: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(head.length + tail.length)
  bytes.set(head)
  bytes.set(tail, head.length)
  return bytes
}

/** Looks at every byte, whatever the first difference. */
function same(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length
  for (let index = 0; index < b.length; index++) difference |= (a[index] ?? 0) ^ (b[index] as number)
  return difference === 0
}
