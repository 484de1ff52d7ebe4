/**
 * Addresses that carry their own right: for one method, path, tenant and content, for at most fifteen minutes.
 *
 * Also signs cursors of lists and the addresses of provider hooks, so that none of them can be made up.
 */

import { base64url, equalText, hmac, utf8 } from './bytes.ts'

export const urlLifeSeconds = 900

export interface UrlClaims {
  readonly method: 'GET' | 'PUT'
  readonly path: string
  /** Unix seconds. */
  readonly expires: number
  readonly tenant: string
  readonly sha256: string
  /** What the query selects, in one canonical text. */
  readonly selection: string
}

/** A MAC over parts that cannot run into one another. */
export async function macOf(key: CryptoKey, ...parts: readonly string[]): Promise<string> {
  return base64url(await hmac(key, utf8(parts.map((part) => `${part.length}:${part}`).join(''))))
}

const claimsMac = (key: CryptoKey, claims: UrlClaims): Promise<string> =>
  macOf(key, claims.method, claims.path, String(claims.expires), claims.tenant, claims.sha256, claims.selection)

/** The signature of an address. */
export const signUrl = (key: CryptoKey, claims: UrlClaims): Promise<string> => claimsMac(key, claims)

/** Whether the signature fits under any key and the time has not passed. @param now unix milliseconds. */
export async function verifyUrl(
  keys: readonly CryptoKey[],
  claims: UrlClaims,
  signature: string,
  now: number,
): Promise<boolean> {
  const seconds = now / 1000
  if (!Number.isSafeInteger(claims.expires) || claims.expires < seconds) return false
  if (claims.expires > seconds + urlLifeSeconds + 1) return false
  let match = false
  for (const key of keys) match = equalText(await claimsMac(key, claims), signature) || match
  return match
}

/** Whether a MAC of parts fits under any key. */
export async function verifyMac(
  keys: readonly CryptoKey[],
  mac: string,
  ...parts: readonly string[]
): Promise<boolean> {
  let match = false
  for (const key of keys) match = equalText(await macOf(key, ...parts), mac) || match
  return match
}
