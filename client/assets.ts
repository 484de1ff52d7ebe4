/**
 * Uploading: bytes to an asset of the service, which never fetches from an address itself.
 */

import { GenerationError } from '../shared/errors.ts'
import { sha256 } from './hash.ts'
import { request, type Service } from './http.ts'

export interface AssetBytes {
  readonly bytes: Uint8Array
  /** MIME type, for example image/png. */
  readonly contentType: string
  /** What the bytes are; by their MIME type when left out. */
  readonly kind?: 'latent'
}

interface AssetAnswer {
  readonly id: string
  readonly status: 'pending' | 'ready' | 'rejected'
  readonly upload?: { readonly url: string }
}

/**
 * Makes an asset of the bytes and gives its id. Bytes the service knows already are not sent again.
 * @throws GenerationError as the service refuses.
 */
export async function uploadAsset(
  service: Service,
  { bytes, contentType, kind }: AssetBytes,
  signal: AbortSignal,
): Promise<string> {
  const hash = await sha256(bytes)
  const body = { kind: kind ?? contentType.split('/')[0], content_type: contentType, bytes: bytes.length, sha256: hash }
  // Of the whole body: the same bytes may be asked for as something else.
  const named = await sha256(new TextEncoder().encode(JSON.stringify(body)))
  const headers = { 'Idempotency-Key': `asset-${named}` }
  const answer = await request(service, 'v1/assets', { method: 'POST', body, headers }, signal)
  const asset = (await answer.json()) as AssetAnswer
  if (asset.status === 'ready') return asset.id
  if (asset.upload === undefined)
    throw new GenerationError('asset_not_ready', `${asset.id}: the service gave no upload address`)
  await request(service, asset.upload.url, { method: 'PUT', raw: { bytes, contentType } }, signal)
  return asset.id
}
