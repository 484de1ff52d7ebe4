/**
 * Prompt embeddings that were made before: near in the data centre's cache, for good in R2. Per tenant.
 *
 * Knows no prompts: a name stands for one. The cache may forget whatever it likes.
 */

import type { Env } from './env.ts'

/** A tensor and what it is, as the node described it. */
export interface Tensor {
  readonly bytes: ArrayBuffer
  readonly description: string
}

const described = 'zoetrope-tensor'
const nearSeconds = 86_400

/** A tensor as a response. */
export const tensorResponse = ({ bytes, description }: Tensor, headers: Record<string, string> = {}): Response =>
  new Response(bytes, { headers: { ...headers, 'content-type': 'application/octet-stream', [described]: description } })

/** A tensor from a response; undefined where it says of itself nothing. */
export async function tensorOf(response: Response): Promise<Tensor | undefined> {
  const description = response.headers.get(described)
  return description === null ? undefined : { bytes: await response.arrayBuffer(), description }
}

const keyOf = (tenant: string, name: string): string => `t/${tenant}/embeddings/${name}`

/** The cache's name of a key: an address that is nobody's. */
const near = (key: string): string => `https://embeddings.invalid/${encodeURIComponent(key)}`

/** A tensor that was kept; undefined where there is none. */
export async function recallTensor({ BUCKET }: Env, tenant: string, name: string): Promise<Tensor | undefined> {
  const key = keyOf(tenant, name)
  const cached = await caches.default.match(near(key))
  if (cached !== undefined) return tensorOf(cached)
  const stored = await BUCKET.get(key)
  if (stored === null) return undefined
  const tensor = { bytes: await stored.arrayBuffer(), description: stored.customMetadata?.tensor ?? '' }
  await keepNear(key, tensor)
  return tensor
}

/** Keeps a tensor in both places. */
export async function keepTensor({ BUCKET }: Env, tenant: string, name: string, tensor: Tensor): Promise<void> {
  const key = keyOf(tenant, name)
  await BUCKET.put(key, tensor.bytes, { customMetadata: { tensor: tensor.description } })
  await keepNear(key, tensor)
}

const keepNear = (key: string, tensor: Tensor): Promise<void> =>
  caches.default.put(near(key), tensorResponse(tensor, { 'cache-control': `max-age=${nearSeconds}` }))
