/**
 * Prompt embeddings, made once: then near in the data centre's cache, for good in R2. Per tenant.
 *
 * What is kept knows no prompts: a name stands for one. The cache may forget whatever it likes.
 */

import type { CatalogModel } from '../shared/catalog.ts'
import { GenerationError } from '../shared/errors.ts'
import { sha256, utf8 } from './bytes.ts'
import type { Env } from './env.ts'
import type { EmbeddingRequest, Provider } from './providers/provider.ts'

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

/**
 * The embeddings of a prompt: what was kept, or what the provider makes now.
 * @throws GenerationError upstream_timeout or upstream_error: a provider that is away or late is no failure of ours.
 */
export async function promptTensor(
  env: Env,
  tenant: string,
  model: CatalogModel,
  embed: NonNullable<Provider['embed']>,
  request: EmbeddingRequest,
  signal: AbortSignal,
): Promise<Tensor> {
  const { prompt, negative_prompt: negative = null, dtype } = request
  const name = await sha256(utf8(JSON.stringify([model.weights_sha256, model.revision, dtype, prompt, negative])))
  const known = await recallTensor(env, tenant, name)
  if (known !== undefined) return known
  const tensor = await embed(request, signal)
    .then(received)
    .catch((error: unknown) => {
      throw error instanceof GenerationError ? error : unanswered(error)
    })
  await keepTensor(env, tenant, name, tensor)
  return tensor
}

async function received(answer: Response): Promise<Tensor> {
  if (answer.status === 504) throw new GenerationError('upstream_timeout', 'embeddings: the node was not in time')
  const tensor = answer.ok ? await tensorOf(answer) : undefined
  if (tensor !== undefined) return tensor
  throw new GenerationError('upstream_error', `embeddings: the node answers ${answer.status}`)
}

function unanswered(cause: unknown): GenerationError {
  const late = cause instanceof Error && cause.name === 'TimeoutError'
  if (late) return new GenerationError('upstream_timeout', 'embeddings: the node was not in time', { cause })
  return new GenerationError('upstream_error', 'embeddings: the node does not answer', { cause })
}

/** A tensor from a response; undefined where it says of itself nothing. */
async function tensorOf(response: Response): Promise<Tensor | undefined> {
  const description = response.headers.get(described)
  return description === null ? undefined : { bytes: await response.arrayBuffer(), description }
}

const keyOf = (tenant: string, name: string): string => `t/${tenant}/embeddings/${name}`

/** The cache's name of a key: an address that is nobody's. */
const near = (key: string): string => `https://embeddings.invalid/${encodeURIComponent(key)}`

/** A tensor that was kept; undefined where there is none. */
async function recallTensor({ BUCKET }: Env, tenant: string, name: string): Promise<Tensor | undefined> {
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
async function keepTensor({ BUCKET }: Env, tenant: string, name: string, tensor: Tensor): Promise<void> {
  const key = keyOf(tenant, name)
  await BUCKET.put(key, tensor.bytes, { customMetadata: { tensor: tensor.description } })
  await keepNear(key, tensor)
}

const keepNear = (key: string, tensor: Tensor): Promise<void> =>
  caches.default.put(near(key), tensorResponse(tensor, { 'cache-control': `max-age=${nearSeconds}` }))
