/**
 * The app: every route of the list behind its access rule, one answer shape for every failure, a name for each request.
 */

import { Hono } from 'hono'
import { PatternRouter } from 'hono/router/pattern-router'
import { GenerationError } from '../shared/errors.ts'
import { failureOf, problemOf } from '../shared/problem.ts'
import { announceDevelopmentKey, authenticate, requireScope } from './auth/principal.ts'
import { equalText } from './bytes.ts'
import { baseUrlOf, type Context, type Route, type Variables } from './context.ts'
import type { Env } from './env.ts'
import { newId } from './ids.ts'
import { openApi } from './openapi.ts'
import { routes } from './routes/routes.ts'
import { notFound } from './routes/videos.ts'
import { servicesOf } from './services.ts'

export const openRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/healthz',
    access: 'open',
    operationId: 'health',
    summary: 'Whether the service is up',
    answers: { 200: { description: 'It is' } },
    handler: async (context) => context.json({ status: 'ok' }),
  },
  {
    method: 'GET',
    path: '/openapi.json',
    access: 'open',
    operationId: 'openApi',
    summary: 'This document',
    answers: { 200: { description: 'OpenAPI 3.1' } },
    handler: async (context) => context.json(openApi(allRoutes, baseUrlOf(context))),
  },
]

export const allRoutes: readonly Route[] = [...openRoutes, ...routes]

/** A route's path as the router writes it. */
const pattern = (path: string): string => path.replaceAll(/\{(\w+)\}/g, ':$1')

const headers: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000',
}

// One expression for each route, tried in turn. The expression for all of them at once cannot have /v1/videos/quote beside
// /v1/videos/{id}/cancel, and the tree that takes its place showed in the profile of a cached answer.
export const app = new Hono<{ Bindings: Env; Variables: Variables }>({ router: new PatternRouter() })

app.use('*', async function frame(context, next) {
  const requestId = newId('req')
  context.set('requestId', requestId)
  await announceDevelopmentKey(context.env)
  await next()
  // One that came over the network has frozen headers; a copy costs, so the others are written on.
  if (!written(context, requestId)) {
    context.res = new Response(context.res.body, context.res)
    written(context, requestId)
  }
})

/** Writes the headers that every answer has; false where they are frozen. */
function written(context: Context, requestId: string): boolean {
  const target = context.res.headers
  try {
    target.set('request-id', requestId)
  } catch {
    return false
  }
  for (const [name, value] of Object.entries(headers)) target.set(name, value)
  allowOrigin(context, target)
  return true
}

/** Names an allowed origin, exactly; any other is simply not named. */
function allowOrigin(context: Context, target: Headers): void {
  target.append('vary', 'Origin')
  const origin = context.req.header('origin')
  if (origin === undefined || !isAllowedOrigin(servicesOf(context.env).settings.origins, origin)) return
  target.set('access-control-allow-origin', origin)
  target.set('access-control-expose-headers', exposed)
}

/** Letter for letter: no suffix, no other case, no port more or less. */
export const isAllowedOrigin = (allowed: readonly string[], origin: string): boolean => allowed.includes(origin)

const exposed =
  'Request-Id, Location, Retry-After, RateLimit, RateLimit-Policy, Preference-Applied, Idempotency-Replayed, ' +
  'ETag, Content-Range, Zoetrope-Latent, Zoetrope-Tensor'

app.options('*', (context) =>
  context.body(null, 204, {
    'access-control-allow-methods': 'GET, POST, PUT, DELETE',
    'access-control-allow-headers':
      'Authorization, Content-Type, Idempotency-Key, Prefer, Cancel-After, Last-Event-ID, Range, If-None-Match, If-Range',
    'access-control-max-age': '600',
  }),
)

for (const route of allRoutes) {
  app.on(route.method, pattern(route.path), async function guarded(context) {
    await admit(context, route)
    return route.handler(context)
  })
}

async function admit(context: Context, { access }: Route): Promise<void> {
  if (access === 'open' || access === 'signature') return
  if (access === 'operator') return admitOperator(context)
  const principal = await authenticate(context.req.raw, context.env)
  context.set('principal', principal)
  if (access !== 'any') requireScope(principal, access)
  const shield = await context.env.RATE_LIMITER?.limit({ key: `${principal.tenant}:${principal.caller}` })
  if (shield?.success === false) {
    throw new GenerationError('rate_limited', 'requests: got more than allowed, slow down', { retryAfterMs: 10_000 })
  }
}

/** Without a token of its own a deployment has no operator routes. */
async function admitOperator({ env, req }: Context): Promise<void> {
  if (!env.OPERATOR_TOKEN) throw notFound()
  const sent = req.header('authorization') ?? ''
  if (equalText(sent, `Bearer ${env.OPERATOR_TOKEN}`)) return
  throw new GenerationError('unauthenticated', 'authorization: this needs the operator token')
}

app.notFound((context) => {
  const known = allRoutes.filter(({ path }) => matches(path, context.req.path)).map(({ method }) => method)
  if (known.length === 0) return fallback(context)
  const failure = new GenerationError('method_not_allowed', `${context.req.method}: allowed are ${known.join(', ')}`)
  return problem(context, failure, { allow: known.join(', ') })
})

const matches = (path: string, asked: string): boolean =>
  new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(asked)

/** Pages of the studio, where they are bundled; the API's own names never reach them. */
async function fallback(context: Context): Promise<Response> {
  const { ASSETS } = context.env
  const page =
    ASSETS !== undefined && context.req.method === 'GET' && !/^\/(v1|compat|operator)\//.test(context.req.path)
  const response = page ? await ASSETS.fetch(context.req.raw) : undefined
  return response !== undefined && response.status !== 404 ? response : problem(context, notFound())
}

app.onError((thrown, context) => {
  const failure = failureOf(thrown)
  // The message of a foreseen failure is the caller's to read; what nobody foresaw is ours.
  if (failure.code === 'internal') console.error('unforeseen', context.get('requestId'), thrown)
  return problem(context, failure)
})

function problem(context: Context, failure: GenerationError, extra: Readonly<Record<string, string>> = {}): Response {
  const body = problemOf(failure, context.get('requestId') ?? newId('req'))
  const wait =
    body.status === 429 || body.status === 503
      ? Math.max(1, Math.ceil((failure.retryAfterMs ?? 1000) / 1000))
      : undefined
  return new Response(JSON.stringify(body), {
    status: body.status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...(wait === undefined ? {} : { 'retry-after': String(wait) }),
      ...(body.status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
      ...extra,
    },
  })
}
