/**
 * /v1/videos: create, list, read, listen, cancel, extend, delete, quote.
 */

import { GenerationError } from '../../shared/errors.ts'
import { isTerminal, type Job, type JobStatus, jobStatuses } from '../../shared/job.ts'
import {
  type CheckedRequest,
  extendRequestSchema,
  parseBody,
  parseRequest,
  videoRequestSchema,
} from '../../shared/request.ts'
import { base64url, fromBase64url, utf8 } from '../bytes.ts'
import { type Context, parameter, type Route } from '../context.ts'
import { createdOf, replayHeaders } from '../idempotency-key.ts'
import { isId, newId } from '../ids.ts'
import { awaitJob, cancelJob, eraseJob, finishedJob, listen, outputOf, readJob, recordOf } from '../jobs.ts'
import { readJson } from '../json.ts'
import { accountOf, viewerOf } from '../objects/contract.ts'
import { dollars } from '../objects/generation-state.ts'
import { servicesOf } from '../services.ts'
import { macOf, verifyMac } from '../signed-url.ts'
import { similarityOf } from '../similar.ts'
import { type Accepted, likeness, preferredWait, prepare, submit } from '../submit.ts'
import { withTimeLimit } from '../time-limit.ts'
import { jobAnswer, jobPageSchema, quoteSchema } from './answers.ts'

/** The one answer to every id that is unknown, foreign or malformed. */
export const notFound = (): GenerationError => new GenerationError('not_found', 'nothing is here under this name')

/**
 * The id of a job in the path, as far as it could be one.
 * @throws GenerationError not_found.
 */
export function jobAt(context: Context): string {
  const id = parameter(context, 'id')
  if (!isId('vid', id)) throw notFound()
  return id
}

async function create(context: Context): Promise<Response> {
  const body = await readJson(context.req.raw)
  const accepted = await submit(context, parseRequest(body), { body })
  return jobResponse(context, accepted)
}

/** 202 with where to look, or 200 where there is nothing left to wait for. */
async function jobResponse(context: Context, accepted: Accepted): Promise<Response> {
  const wait = preferredWait(context.req.header('prefer'))
  const held = wait === undefined || isTerminal(accepted.job.status) ? null : await hold(context, accepted.job.id, wait)
  const job = held ?? accepted.job
  const { burst, perSecond } = servicesOf(context.env).settings.limits
  const windowSeconds = Math.ceil(burst / Math.max(perSecond, 0.001))
  return context.json(job, isTerminal(job.status) ? 200 : 202, {
    location: job.urls.self,
    'ratelimit-policy': `"jobs";q=${burst};w=${windowSeconds}`,
    ratelimit: `"jobs";r=${accepted.remaining};t=1`,
    ...(wait === undefined ? {} : { 'preference-applied': `wait=${wait}` }),
    ...replayHeaders(accepted.replayed),
  })
}

const hold = (context: Context, id: string, seconds: number): Promise<Job | null> =>
  awaitJob(context.env, context.get('principal'), id, seconds * 1000)

async function read(context: Context): Promise<Response> {
  const job = await readJob(context.env, context.get('principal'), jobAt(context))
  if (job === null) throw notFound()
  return context.json(job)
}

async function list(context: Context): Promise<Response> {
  const { limit, status, model, cursor } = context.req.query()
  const principal = context.get('principal')
  const count = limit === undefined ? 20 : Number(limit)
  if (!Number.isInteger(count) || count < 1 || count > 100) {
    throw new GenerationError('invalid_parameter', `limit: got ${limit}, allowed is 1 to 100`, { pointer: '/limit' })
  }
  if (status !== undefined && !jobStatuses.includes(status as JobStatus)) {
    throw new GenerationError('invalid_parameter', `status: got ${status}, allowed are ${jobStatuses.join(', ')}`, {
      pointer: '/status',
    })
  }
  const rows = await accountOf(context.env, principal.tenant).list(
    { tenant: principal.tenant, subject: principal.subject },
    {
      limit: count + 1,
      after: cursor === undefined ? null : await readCursor(context, cursor),
      status: (status as JobStatus | undefined) ?? null,
      model: model?.split('@')[0] ?? null,
    },
  )
  const shown = rows.slice(0, count)
  const jobs = await Promise.all(
    shown.map(({ id, finished }) =>
      finished === null ? readJob(context.env, principal, id) : finishedJob(context.env, finished),
    ),
  )
  const last = rows.length > count ? shown.at(-1) : undefined
  return context.json({
    object: 'list',
    // A job accepted this instant may not be open yet; the next look shows it.
    data: jobs.filter((job) => job !== null),
    next_cursor: last === undefined ? null : await writeCursor(context, last.createdAt, last.id),
  })
}

async function writeCursor(context: Context, createdAt: number, id: string): Promise<string> {
  const { cursors } = await servicesOf(context.env).secrets()
  const { tenant } = context.get('principal')
  const mac = await macOf(cursors[0] as CryptoKey, tenant, String(createdAt), id)
  return base64url(utf8(`${createdAt}.${id}.${mac}`))
}

async function readCursor(context: Context, cursor: string) {
  const [createdAt = '', id = '', mac = ''] = new TextDecoder().decode(fromBase64url(cursor)).split('.')
  const { cursors } = await servicesOf(context.env).secrets()
  if (await verifyMac(cursors, mac, context.get('principal').tenant, createdAt, id)) {
    return { createdAt: Number(createdAt), id }
  }
  throw new GenerationError('invalid_parameter', 'cursor: is none of ours; start again without it', {
    pointer: '/cursor',
  })
}

async function events(context: Context): Promise<Response> {
  const id = jobAt(context)
  const last = context.req.header('last-event-id') ?? context.req.query('after') ?? '0'
  if (!/^\d{1,15}$/.test(last)) {
    throw new GenerationError('invalid_header', `last-event-id: got ${last.slice(0, 32)}, allowed is a number`)
  }
  const answer = await listen(context.env, context.get('principal'), id, Number(last))
  if (answer === null) throw notFound()
  if (answer.status === 429) {
    throw new GenerationError('concurrency_limited', 'events: too many readers of this job', { retryAfterMs: 2_000 })
  }
  return new Response(answer.body, {
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    },
  })
}

async function cancel(context: Context): Promise<Response> {
  const principal = context.get('principal')
  const job = await cancelJob(context.env, principal, jobAt(context), principal.caller)
  if (job === null) throw notFound()
  return context.json(job, isTerminal(job.status) ? 200 : 202)
}

async function remove(context: Context): Promise<Response> {
  const outcome = await eraseJob(context.env, context.get('principal'), jobAt(context))
  if (outcome === 'missing') throw notFound()
  if (outcome === 'active') throw new GenerationError('job_active', 'the job is not over; cancel it first')
  return context.body(null, 204)
}

async function quote(context: Context): Promise<Response> {
  const request = parseRequest(await readJson(context.req.raw))
  const prepared = await prepare(context, request, true)
  const { effective, contentKey, route, maxCost, model } = prepared
  const [{ start, warnings: more }, position] = await Promise.all([
    likeness(context, request, prepared),
    queueOf(context, prepared.provider),
  ])
  // Without a seed nothing is fixed that a key could name; what is similar has a key of its own.
  const fixed = request.seed !== undefined && start === null
  const { device, cloud } = route
  return context.json({
    effective,
    warnings: [...prepared.warnings, ...more],
    content_key: fixed ? contentKey : null,
    cache:
      start === null
        ? { status: route.reason === 'exact_cache_hit' ? 'hit' : 'miss' }
        : { status: 'similar', ...similarityOf(start) },
    device: {
      eligible: device.eligible,
      reasons: device.reasons,
      eta_ms: device.etaMs,
      download_bytes: model.device?.download_bytes ?? null,
      memory_bytes: device.memoryBytes,
    },
    cloud: {
      eligible: cloud.eligible,
      reasons: cloud.reasons,
      eta_ms: cloud.etaMs,
      queue_position: position,
      max_cost_usd: dollars(maxCost),
    },
    recommended: route.source,
    routing_reason: route.reason,
    expires_at: new Date(Date.now() + 60_000).toISOString(),
  })
}

/** A quote does not wait for a provider that is slow to say. */
const queueMs = 1_000

/** How many runs would wait before a new one; null where nobody says. */
async function queueOf({ env }: Context, name: string): Promise<number | null> {
  const queue = servicesOf(env).provider(name)?.queue
  return queue === undefined ? null : withTimeLimit(queueMs, queue).catch(() => null)
}

const notExtendable = (why: string): GenerationError => new GenerationError('not_extendable', why)

async function extend(context: Context): Promise<Response> {
  const id = jobAt(context)
  const principal = context.get('principal')
  const [body, parent] = [await readJson(context.req.raw), await recordOf(context.env, principal, id)]
  if (parent === null) throw notFound()
  const asked = parseBody(extendRequestSchema, body)
  const model = servicesOf(context.env).catalog.model(parent.effective.model)
  if (!model.modes.includes('extend')) throw notExtendable(`${model.id}: extends no videos`)
  const tail = await outputOf(context.env, principal, id, { variant: 'video', format: null, index: 0 })
  if (tail.kind === 'expired') throw new GenerationError('content_expired', 'the parent is no longer stored')
  if (tail.kind !== 'found') throw notExtendable('the job is not completed, or left nothing to go on from')
  const { sha256, bytes, content_type } = tail.output
  const owned = { id: newId('ast'), subject: principal.subject ?? '', created_at: Date.now() }
  const facts = { kind: 'video', status: 'ready', content_type, bytes, sha256 } as const
  const account = accountOf(context.env, principal.tenant)
  const { value: asset } = createdOf(await account.createAsset(viewerOf(principal), { ...owned, ...facts }, null))
  const accepted = await submit(context, childRequest(asked, parent.effective, asset.id), { parentId: parent.id, body })
  return jobResponse(context, accepted)
}

type Extension = ReturnType<typeof parseBody<typeof extendRequestSchema>>

/** The parent's request with what the child says anew. */
function childRequest(
  { overlap_frames: _, ...asked }: Extension,
  { model, prompt, negative_prompt, fps, width, height, num_frames }: { model: string } & CheckedRequestBasics,
  video: string,
): CheckedRequest {
  return {
    model,
    prompt,
    ...(negative_prompt === '' ? {} : { negative_prompt }),
    fps,
    width,
    height,
    ...(asked.duration === undefined ? { num_frames } : {}),
    ...asked,
    video,
  }
}

interface CheckedRequestBasics {
  readonly prompt: string
  readonly negative_prompt: string
  readonly fps: number
  readonly width: number
  readonly height: number
  readonly num_frames: number
}

const createHeaders = ['Idempotency-Key', 'Prefer', 'Cancel-After']

export const videoRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/videos',
    access: 'video:create',
    operationId: 'createVideo',
    summary: 'Submit a request; the answer is a job',
    body: videoRequestSchema,
    headers: createHeaders,
    answers: { 200: jobAnswer, 202: jobAnswer },
    handler: create,
  },
  {
    method: 'GET',
    path: '/v1/videos',
    access: 'video:read',
    operationId: 'listVideos',
    summary: 'List jobs, newest first',
    query: ['limit', 'cursor', 'status', 'model'],
    answers: { 200: { description: 'A page of jobs', schema: jobPageSchema } },
    handler: list,
  },
  {
    method: 'POST',
    path: '/v1/videos/quote',
    access: 'video:create',
    operationId: 'quoteVideo',
    summary: 'Say what a request would become, where it would run and what it may cost; nothing is reserved',
    body: videoRequestSchema,
    answers: { 200: { description: 'A quote', schema: quoteSchema } },
    handler: quote,
  },
  {
    method: 'GET',
    path: '/v1/videos/{id}',
    access: 'video:read',
    operationId: 'getVideo',
    summary: 'Read a job',
    answers: { 200: jobAnswer },
    handler: read,
  },
  {
    method: 'GET',
    path: '/v1/videos/{id}/events',
    access: 'video:read',
    operationId: 'videoEvents',
    summary: 'Listen to a job; resume with Last-Event-ID',
    query: ['after'],
    headers: ['Last-Event-ID'],
    answers: {
      200: {
        description: 'Events: status, progress, preview, part, output, warning, error',
        contentType: 'text/event-stream',
      },
    },
    handler: events,
  },
  {
    method: 'POST',
    path: '/v1/videos/{id}/cancel',
    access: 'video:create',
    operationId: 'cancelVideo',
    summary: 'Take back the interest in a job; its execution stops when nobody is left',
    answers: { 200: jobAnswer, 202: jobAnswer },
    handler: cancel,
  },
  {
    method: 'POST',
    path: '/v1/videos/{id}/extend',
    access: 'video:create',
    operationId: 'extendVideo',
    summary: 'Go on from the end of a completed job',
    body: extendRequestSchema,
    headers: createHeaders,
    answers: { 200: jobAnswer, 202: jobAnswer },
    handler: extend,
  },
  {
    method: 'DELETE',
    path: '/v1/videos/{id}',
    access: 'video:create',
    operationId: 'deleteVideo',
    summary: 'Erase a job that is over, and its stored data',
    answers: { 204: { description: 'Erased' } },
    handler: remove,
  },
]
