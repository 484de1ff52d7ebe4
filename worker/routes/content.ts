/**
 * The bytes of a result, and the weights of our models. The edge never transcodes: what was made is what there is.
 */

import { GenerationError } from '../../shared/errors.ts'
import { authenticate, requireScope } from '../auth/principal.ts'
import { type Context, parameter, type Route } from '../context.ts'
import { outputOf } from '../jobs.ts'
import type { OutputAnswer, OutputSelection } from '../objects/contract.ts'
import { serveObject } from '../ranges.ts'
import { servicesOf } from '../services.ts'
import { verifyUrl } from '../signed-url.ts'
import { jobAt, notFound } from './videos.ts'

async function content(context: Context): Promise<Response> {
  const { variant = 'video', format, index = '0' } = context.req.query()
  const selection = { variant, format: format ?? null, index: Number(index) }
  const answer = await permitted(context, selection)
  return serveOutput(context, answer)
}

/** Serves an output or says why there is none. */
export async function serveOutput(context: Context, answer: OutputAnswer): Promise<Response> {
  switch (answer.kind) {
    case 'missing':
      throw notFound()
    case 'expired':
      throw new GenerationError('content_expired', 'the result is no longer stored')
    case 'unready':
      throw new GenerationError('job_active', 'there is no result yet; listen to the events', { retryAfterMs: 2_000 })
    case 'unavailable':
      throw new GenerationError('format_unavailable', `format: made are ${answer.available.join(', ')}`, {
        available: answer.available,
      })
    case 'found': {
      const { key, bytes, sha256, content_type } = answer.output
      const headers: Record<string, string> = answer.envelope === null ? {} : { 'zoetrope-latent': answer.envelope }
      const object = { key, size: bytes, etag: sha256, contentType: content_type, headers }
      return serveObject(context.req.raw, context.env.BUCKET, object)
    }
    default:
      return answer satisfies never
  }
}

async function permitted(context: Context, selection: OutputSelection): Promise<OutputAnswer> {
  const { env, req } = context
  const id = jobAt(context)
  const { signature, expires, tenant = '', sha256 = '' } = req.query()
  if (signature === undefined) {
    const principal = await authenticate(req.raw, env)
    requireScope(principal, 'video:read')
    return outputOf(env, principal, id, selection)
  }
  const { urls } = await servicesOf(env).secrets()
  const claims = {
    method: 'GET',
    path: req.path,
    expires: /^\d{1,12}$/.test(expires ?? '') ? Number(expires) : 0,
    tenant,
    sha256,
    selection: `variant=${selection.variant}&index=${selection.index}`,
  } as const
  // Before anything is asked: a made-up tenant must not so much as wake an object.
  if (!(await verifyUrl(urls, claims, signature, Date.now()))) throw notFound()
  const answer = await outputOf(env, { tenant, subject: null }, id, selection)
  if (answer.kind !== 'found' || answer.output.sha256 !== sha256) throw notFound()
  return answer
}

const immutable = { 'cache-control': 'public, max-age=31536000, immutable' }

async function weights(context: Context): Promise<Response> {
  const sha256 = parameter(context, 'sha256')
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw notFound()
  const { env, req } = context
  const key = `weights/${sha256}`
  const stored = await env.BUCKET.head(key)
  if (stored !== null) {
    const object = { key, size: stored.size, etag: sha256, contentType: 'application/octet-stream', headers: immutable }
    return serveObject(req.raw, env.BUCKET, object)
  }
  const asset = await env.ASSETS?.fetch(
    new Request(new URL(`/weights/${sha256}`, req.url), { headers: req.raw.headers }),
  )
  if (asset === undefined || !(asset.status === 200 || asset.status === 206 || asset.status === 304)) throw notFound()
  const headers = new Headers(asset.headers)
  for (const [name, value] of Object.entries(immutable)) headers.set(name, value)
  headers.set('content-type', 'application/octet-stream')
  return new Response(asset.body, { status: asset.status, headers })
}

const bytes = { contentType: 'application/octet-stream' }

export const contentRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/v1/videos/{id}/content',
    access: 'signature',
    operationId: 'videoContent',
    summary: 'The bytes of a result, by credential or by signed address',
    query: ['variant', 'format', 'index', 'tenant', 'sha256', 'expires', 'signature'],
    headers: ['Range', 'If-None-Match', 'If-Range'],
    answers: {
      200: { description: 'All of it', ...bytes },
      206: { description: 'A range', ...bytes },
      304: { description: 'Unchanged' },
    },
    handler: content,
  },
  {
    method: 'GET',
    path: '/v1/weights/{sha256}',
    access: 'any',
    operationId: 'weights',
    summary: 'Weights by their hash',
    headers: ['Range', 'If-None-Match', 'If-Range'],
    answers: { 200: { description: 'All of them', ...bytes }, 206: { description: 'A range', ...bytes } },
    handler: weights,
  },
]
