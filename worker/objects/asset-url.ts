/**
 * The address of an asset's bytes, good for the provider that was just asked to read them.
 */

import { signUrl, urlLifeSeconds } from '../signed-url.ts'
import type { JobRecord } from './contract.ts'

/** Signs an address for a quarter of an hour. */
export async function assetUrl(
  { baseUrl, tenant }: Pick<JobRecord, 'baseUrl' | 'tenant'>,
  id: string,
  sha256: string,
  key: CryptoKey,
  now: number,
): Promise<string> {
  const path = `/v1/assets/${id}/content`
  const expires = Math.floor(now / 1000) + urlLifeSeconds
  const signature = await signUrl(key, { method: 'GET', path, expires, tenant, sha256, selection: '' })
  return `${baseUrl}${path}?${new URLSearchParams({ tenant, sha256, expires: String(expires), signature })}`
}
