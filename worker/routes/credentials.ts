/**
 * Browser tokens and webhook endpoints for tenants; keys and credit for the operator.
 */

import * as v from 'valibot'
import { GenerationError } from '../../shared/errors.ts'
import { inferenceModes, parseBody, webhookEvents } from '../../shared/request.ts'
import { scopes, signToken } from '../auth/browser-token.ts'
import { issueKey } from '../auth/principal.ts'
import { type Context, parameter, type Route } from '../context.ts'
import { createdOf, idempotencyOf, replayHeaders } from '../idempotency-key.ts'
import { isId, newId } from '../ids.ts'
import { readJson } from '../json.ts'
import { accountOf, directoryOf, type EndpointRow } from '../objects/contract.ts'
import { dollars } from '../objects/generation-state.ts'
import { publicUrl } from '../public-url.ts'
import { servicesOf } from '../services.ts'
import { secretText } from '../standard-webhooks.ts'
import { endpointPageSchema, endpointSchema, tokenAnswerSchema } from './answers.ts'
import { notFound } from './videos.ts'

const tokenSchema = v.strictObject({
  ttl_s: v.optional(v.pipe(v.number(), v.integer(), v.minValue(30), v.maxValue(600)), 300),
  scopes: v.optional(v.array(v.picklist(['video:create', 'video:read'])), ['video:create', 'video:read']),
  models: v.optional(v.nullable(v.pipe(v.array(v.pipe(v.string(), v.maxLength(128))), v.maxLength(64))), null),
  inference_modes: v.optional(v.nullable(v.array(v.picklist(inferenceModes))), null),
  max_jobs: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(10_000)), 10),
  max_cost_usd: v.optional(v.pipe(v.string(), v.regex(/^\d{1,6}(\.\d{1,6})?$/)), '1'),
  origin: v.optional(v.nullable(v.pipe(v.string(), v.regex(/^https?:\/\/[^/\s]+$/))), null),
  subject: v.pipe(v.string(), v.regex(/^[\x21-\x7e]{1,128}$/)),
})

async function mint(context: Context): Promise<Response> {
  const body = await readJson(context.req.raw)
  const asked = parseBody(tokenSchema, body)
  const { tenant, kind } = context.get('principal')
  if (kind !== 'key') throw new GenerationError('forbidden', 'tokens: a token mints no tokens; use an API key')
  const { tokens } = await servicesOf(context.env).secrets()
  const expiresAt = (Math.floor(Date.now() / 1000) + asked.ttl_s) * 1000
  const fresh = { jti: newId('tok'), subject: asked.subject, expiresAt }
  const answer = await accountOf(context.env, tenant).mintToken(fresh, await idempotencyOf(context, body))
  // Nothing of a token is kept but its name and its end: from both the same request makes the same token again.
  const { value, replayed } = createdOf(answer)
  const [jti, exp] = [value.jti, value.expiresAt / 1000]
  const token = await signToken(
    {
      sub: asked.subject,
      iat: exp - asked.ttl_s,
      exp,
      jti,
      tenant,
      scopes: asked.scopes,
      models: asked.models,
      inference_modes: asked.inference_modes,
      max_jobs: asked.max_jobs,
      max_cost: Math.round(Number(asked.max_cost_usd) * 1e6),
      origin: asked.origin,
    },
    tokens,
  )
  return context.json({ token, jti, expires_at: new Date(exp * 1000).toISOString() }, 201, replayHeaders(replayed))
}

async function revoke(context: Context): Promise<Response> {
  const jti = parameter(context, 'jti')
  const { tenant } = context.get('principal')
  const known = isId('tok', jti) && (await accountOf(context.env, tenant).revokeToken(jti))
  if (!known) throw notFound()
  return context.body(null, 204)
}

const createEndpointSchema = v.strictObject({
  url: v.pipe(v.string(), v.maxLength(2048)),
  events: v.optional(v.pipe(v.array(v.picklist(webhookEvents)), v.minLength(1), v.maxLength(6)), [...webhookEvents]),
})

const describe = ({ created_at: createdAt, ...row }: EndpointRow) => ({
  object: 'webhook_endpoint',
  ...row,
  created_at: new Date(createdAt).toISOString(),
})

async function createEndpoint(context: Context): Promise<Response> {
  const body = await readJson(context.req.raw)
  const { url, events } = parseBody(createEndpointSchema, body)
  const { tenant } = context.get('principal')
  const address = publicUrl(url, '/url').href
  const secret = secretText(crypto.getRandomValues(new Uint8Array(32)))
  const row = { id: newId('whe'), url: address, events, disabled: false, created_at: Date.now() }
  const { seal, unseal } = await servicesOf(context.env).secrets()
  const endpoint = { row, sealedSecret: await seal(secret) }
  const answer = await accountOf(context.env, tenant).createEndpoint(endpoint, await idempotencyOf(context, body))
  const { value, replayed } = createdOf(answer)
  const shown = replayed ? await unseal(value.sealedSecret) : secret
  if (shown === undefined) throw new Error('webhooks: the endpoint was sealed under a secret that is gone')
  return context.json({ ...describe(value.row), secret: shown }, 201, replayHeaders(replayed))
}

async function listEndpoints(context: Context): Promise<Response> {
  const { tenant } = context.get('principal')
  const rows = await accountOf(context.env, tenant).endpoints()
  const fallback = await (await servicesOf(context.env).secrets()).webhookSecret(tenant)
  return context.json({ object: 'list', data: rows.map(describe), default_secret: secretText(fallback) })
}

async function deleteEndpoint(context: Context): Promise<Response> {
  const id = parameter(context, 'id')
  const { tenant } = context.get('principal')
  const known = isId('whe', id) && (await accountOf(context.env, tenant).deleteEndpoint(id))
  if (!known) throw notFound()
  return context.body(null, 204)
}

const tenantName = v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9-]{0,62}$/))

const keySchema = v.strictObject({
  tenant: tenantName,
  name: v.optional(v.pipe(v.string(), v.maxLength(128)), ''),
  scopes: v.optional(v.array(v.picklist(scopes)), ['video:create', 'video:read']),
  kind: v.optional(v.picklist(['live', 'test']), 'live'),
})

async function createKey(context: Context): Promise<Response> {
  const { tenant, name, scopes: granted, kind } = parseBody(keySchema, await readJson(context.req.raw))
  const key = await issueKey(context.env, { tenant, name, granted, kind })
  return context.json({ id: key.id, tenant, name, scopes: granted, key: key.text }, 201)
}

const listKeys = async (context: Context): Promise<Response> =>
  context.json({ object: 'list', data: await directoryOf(context.env).keys() })

async function revokeKey(context: Context): Promise<Response> {
  if (!(await directoryOf(context.env).revokeKey(parameter(context, 'id')))) throw notFound()
  return context.body(null, 204)
}

const creditSchema = v.strictObject({
  tenant: tenantName,
  /** Crediting twice under one id credits once. */
  id: v.pipe(v.string(), v.regex(/^[\x21-\x7e]{1,128}$/)),
  usd: v.pipe(v.string(), v.regex(/^\d{1,9}(\.\d{1,6})?$/)),
})

async function addCredit(context: Context): Promise<Response> {
  const { tenant, id, usd } = parseBody(creditSchema, await readJson(context.req.raw))
  const { balance, held } = await accountOf(context.env, tenant).deposit(id, Math.round(Number(usd) * 1e6))
  return context.json({ tenant, balance_usd: dollars(balance), held_usd: dollars(held) }, 201)
}

export const credentialRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/tokens',
    access: 'token:mint',
    operationId: 'mintToken',
    summary: 'Mint a short-lived token for a browser',
    body: tokenSchema,
    headers: ['Idempotency-Key'],
    answers: { 201: { description: 'The token', schema: tokenAnswerSchema } },
    handler: mint,
  },
  {
    method: 'DELETE',
    path: '/v1/tokens/{jti}',
    access: 'token:mint',
    operationId: 'revokeToken',
    summary: 'Revoke a token; felt within five seconds',
    answers: { 204: { description: 'Revoked' } },
    handler: revoke,
  },
  {
    method: 'POST',
    path: '/v1/webhook_endpoints',
    access: 'admin',
    operationId: 'createWebhookEndpoint',
    summary: 'Name where webhooks go; naming it again makes a new secret, and the old one signs too for a day',
    body: createEndpointSchema,
    headers: ['Idempotency-Key'],
    answers: { 201: { description: 'The endpoint with its secret', schema: endpointSchema } },
    handler: createEndpoint,
  },
  {
    method: 'GET',
    path: '/v1/webhook_endpoints',
    access: 'admin',
    operationId: 'listWebhookEndpoints',
    summary: 'List where webhooks go',
    answers: { 200: { description: 'All endpoints', schema: endpointPageSchema } },
    handler: listEndpoints,
  },
  {
    method: 'DELETE',
    path: '/v1/webhook_endpoints/{id}',
    access: 'admin',
    operationId: 'deleteWebhookEndpoint',
    summary: 'Send no more webhooks there',
    answers: { 204: { description: 'Deleted' } },
    handler: deleteEndpoint,
  },
  {
    method: 'POST',
    path: '/operator/keys',
    access: 'operator',
    operationId: 'createKey',
    summary: 'Make an API key; it is shown once',
    body: keySchema,
    answers: { 201: { description: 'The key' } },
    handler: createKey,
  },
  {
    method: 'GET',
    path: '/operator/keys',
    access: 'operator',
    operationId: 'listKeys',
    summary: 'List API keys, without their secrets',
    answers: { 200: { description: 'All keys' } },
    handler: listKeys,
  },
  {
    method: 'DELETE',
    path: '/operator/keys/{id}',
    access: 'operator',
    operationId: 'revokeKey',
    summary: 'Revoke an API key; felt within five seconds',
    answers: { 204: { description: 'Revoked' } },
    handler: revokeKey,
  },
  {
    method: 'POST',
    path: '/operator/credits',
    access: 'operator',
    operationId: 'addCredit',
    summary: 'Add credit to a tenant, once per id',
    body: creditSchema,
    answers: { 201: { description: 'The balance' } },
    handler: addCredit,
  },
]
