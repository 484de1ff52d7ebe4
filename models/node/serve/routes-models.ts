/**
 * Replicate's routes of models and versions, and the embeddings of a model's prompts.
 *
 * `POST /v1/embeddings/prompt` is no prediction: its answer is bytes, small and wanted at once, and it has the shape of
 * the Worker's own route (contract.md §8), which may pass it through.
 */

import { Hono } from 'hono'
import * as v from 'valibot'
import { GenerationError } from '../../../shared/errors.ts'
import { parseRequest } from '../../../shared/generation.ts'
import type { Embeddings } from '../../pipeline/generate.ts'
import { toFloat16 } from '../../weights/float16.ts'
import { readJson } from './body.ts'
import { type Catalog, owner, type ServedModel } from './catalog.ts'
import { timestamp } from './clock.ts'
import { openapiSchema } from './openapi.ts'

export interface ModelRouteOptions {
  readonly catalog: Catalog
  /** When the node began to serve: cards carry no date. */
  readonly startedAt: number
  /** Embeds prompts in a slot. */
  readonly embed: (model: ServedModel, texts: readonly string[]) => Promise<Embeddings>
}

export function modelRoutes({ catalog, startedAt, embed }: ModelRouteOptions): Hono {
  const routes = new Hono()
  const version = ({ card, version: id }: ServedModel) => ({
    id,
    created_at: timestamp(startedAt),
    cog_version: null,
    openapi_schema: openapiSchema(card),
  })
  const object = (model: ServedModel, origin: string) => ({
    url: `${origin}/v1/models/${owner}/${model.card.id}`,
    owner,
    name: model.card.id,
    description: model.card.summary,
    visibility: 'private',
    is_official: true,
    github_url: null,
    paper_url: null,
    license_url: null,
    run_count: 0,
    cover_image_url: null,
    default_example: null,
    latest_version: version(model),
    card: model.card,
  })
  const page = <Item>(results: readonly Item[]) => ({ previous: null, next: null, results })
  const named = (params: { owner: string; name: string }) => catalog.find(`${params.owner}/${params.name}`)
  routes.get('/models', ({ req, json }) => json(page(catalog.models.map((model) => object(model, originOf(req.url))))))
  routes.get('/models/:owner/:name', ({ req, json }) => json(object(named(req.param()), originOf(req.url))))
  routes.get('/models/:owner/:name/versions', ({ req, json }) => json(page([version(named(req.param()))])))
  routes.get('/models/:owner/:name/versions/:version', ({ req, json }) => {
    const { owner: of, name, version: id } = req.param()
    return json(version(catalog.find(`${of}/${name}:${id}`)))
  })
  routes.post('/embeddings/prompt', async ({ req }) => {
    const { model, texts, dtype } = readEmbeddingRequest(await readJson(req.raw), catalog)
    return embeddingResponse(model, await embed(model, texts), dtype)
  })
  return routes
}

const originOf = (url: string): string => new URL(url).origin

const tensorDTypes = ['f32', 'f16', 'int8'] as const
type TensorDType = (typeof tensorDTypes)[number]

const embeddingSchema = v.strictObject({
  model: v.string(),
  prompt: v.string(),
  negative_prompt: v.optional(v.string()),
  dtype: v.optional(v.picklist(tensorDTypes), 'f16'),
})

function readEmbeddingRequest(body: unknown, catalog: Catalog) {
  const result = v.safeParse(embeddingSchema, body)
  if (!result.success) {
    const [issue] = result.issues
    throw new GenerationError('invalid_parameter', `${v.getDotPath(issue) ?? 'body'}: ${issue.message}`)
  }
  const { model, dtype, ...given } = result.output
  const { prompt = '', negative_prompt: negative } = parseRequest(given)
  return { model: catalog.find(model), texts: negative === undefined ? [prompt] : [prompt, negative], dtype }
}

/**
 * The text embeddings [B, L, D] as little-endian bytes. `tokens` tells how many of the L rows belong to each text: their
 * mean is the pooled vector, and the rest is to be masked.
 */
function embeddingResponse({ card, encoder }: ServedModel, { text, tokens }: Embeddings, dtype: TensorDType): Response {
  const values = text.data as Float32Array
  const { data, scale } = encoded(values, dtype)
  const facts = {
    shape: text.shape,
    dtype,
    ...(scale === undefined ? {} : { scale }),
    tokens,
    tokenizer: card.architecture.tokenizer,
    encoder,
  }
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength)
  return new Response(bytes, {
    headers: { 'content-type': 'application/octet-stream', 'zoetrope-tensor': JSON.stringify(facts) },
  })
}

/** int8 is symmetric: value = scale · integer. */
function encoded(values: Float32Array, dtype: TensorDType) {
  if (dtype === 'f32') return { data: values, scale: undefined }
  if (dtype === 'f16') return { data: toFloat16(values), scale: undefined }
  const scale = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1e-12) / 127
  return { data: Int8Array.from(values, (value) => Math.round(value / scale)), scale }
}
