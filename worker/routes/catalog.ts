/**
 * Models and their manifests, and prompt embeddings for devices without a text encoder.
 */

import * as v from 'valibot'
import { catalogSchema } from '../../shared/catalog.ts'
import { GenerationError } from '../../shared/errors.ts'
import { parseBody, videoRequestEntries } from '../../shared/request.ts'
import { base64url, sha256, utf8 } from '../bytes.ts'
import { type Context, parameter, type Route } from '../context.ts'
import { promptTensor, tensorResponse } from '../embeddings.ts'
import { readJson } from '../json.ts'
import { moderate } from '../moderation.ts'
import { servicesOf } from '../services.ts'
import { notFound } from './videos.ts'

/** JSON with a tag, or nothing where the caller has it already. */
async function tagged(context: Context, data: unknown): Promise<Response> {
  const text = JSON.stringify(data)
  const etag = `"${await sha256(utf8(text))}"`
  const headers = { etag, 'cache-control': 'private, max-age=60', 'content-type': 'application/json' }
  if (context.req.header('if-none-match') === etag) return new Response(null, { status: 304, headers })
  return new Response(text, { headers })
}

const models = (context: Context): Promise<Response> => tagged(context, servicesOf(context.env).catalog.list)

async function manifest(context: Context): Promise<Response> {
  const { catalog, secrets } = servicesOf(context.env)
  const card = catalog.cards.get(parameter(context, 'id'))
  if (card === undefined) throw notFound()
  const { kid, privateKey, publicKeys } = (await secrets()).envelopes
  const weights = Object.values(card.weights).map(({ sha256: hash }) => ({ sha256: hash, url: `/v1/weights/${hash}` }))
  const signed = { card, weights, kid }
  const signature = await crypto.subtle.sign('Ed25519', privateKey, utf8(JSON.stringify(signed)))
  const jwk = (await crypto.subtle.exportKey('jwk', privateKey)) as JsonWebKey
  if (!publicKeys.has(kid)) throw new GenerationError('internal', `${kid}: signs without a public key`)
  return tagged(context, { ...signed, sig: base64url(signature), public_key: jwk.x })
}

const embeddingSchema = v.strictObject({
  model: v.optional(v.string()),
  prompt: v.pipe(v.string(), v.minLength(1), v.maxLength(2000)),
  negative_prompt: videoRequestEntries.negative_prompt,
  dtype: v.picklist(['f16', 'int8']),
})

async function embed(context: Context): Promise<Response> {
  const request = parseBody(embeddingSchema, await readJson(context.req.raw))
  const { env } = context
  const { catalog, provider: providerOf } = servicesOf(env)
  const model = catalog.model(request.model)
  const [prompt, negative] = [request.prompt.normalize('NFC'), request.negative_prompt]
  await moderate([prompt, negative ?? ''], env)
  const provider = providerOf(model.providers[0] ?? '')
  if (provider?.embed === undefined) {
    throw new GenerationError('unsupported_capability', `model: ${model.id} gives no embeddings`, { pointer: '/model' })
  }
  const second = negative === undefined ? {} : { negative_prompt: negative }
  const asked = { model: model.id, prompt, ...second, dtype: request.dtype }
  const { tenant } = context.get('principal')
  return tensorResponse(await promptTensor(env, tenant, model, provider.embed, asked, context.req.raw.signal))
}

export const catalogRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/models',
    access: 'any',
    operationId: 'listModels',
    summary: 'The catalog',
    answers: { 200: { description: 'The catalog', schema: catalogSchema }, 304: { description: 'Unchanged' } },
    handler: models,
  },
  {
    method: 'GET',
    path: '/v1/models/{id}/manifest',
    access: 'any',
    operationId: 'modelManifest',
    summary: 'A model that runs on devices: its card and weights, signed',
    answers: { 200: { description: 'The manifest' }, 304: { description: 'Unchanged' } },
    handler: manifest,
  },
  {
    method: 'POST',
    path: '/v1/embeddings/prompt',
    access: 'video:create',
    operationId: 'embedPrompt',
    summary: 'The embeddings of a prompt, for devices without a text encoder',
    body: embeddingSchema,
    answers: {
      200: { description: 'A tensor, described by Zoetrope-Tensor', contentType: 'application/octet-stream' },
    },
    handler: embed,
  },
]
