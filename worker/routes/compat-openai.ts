/**
 * The shape of OpenAI's video API over the same jobs: create, get, content, delete, and nothing else.
 *
 * Seconds are texts, times are unix seconds, progress is a whole number of percent. Source: platform.openai.com,
 * "Videos".
 */

import * as v from 'valibot'
import { GenerationError } from '../../shared/errors.ts'
import type { Job, JobStatus } from '../../shared/job.ts'
import { parseBody, parseRequest } from '../../shared/request.ts'
import type { Context, Route } from '../context.ts'
import { eraseJob, outputOf, readJob } from '../jobs.ts'
import { readJson, readLimited } from '../json.ts'
import { submit } from '../submit.ts'
import { serveOutput } from './content.ts'
import { jobAt, notFound } from './videos.ts'

const createSchema = v.strictObject({
  model: v.optional(v.string()),
  prompt: v.string(),
  seconds: v.optional(v.pipe(v.string(), v.regex(/^\d{1,2}(\.\d+)?$/))),
  size: v.optional(v.string()),
})

const videoSchema = v.object({
  id: v.string(),
  object: v.literal('video'),
  model: v.string(),
  status: v.picklist(['queued', 'in_progress', 'completed', 'failed']),
  progress: v.number(),
  created_at: v.number(),
  completed_at: v.nullable(v.number()),
  expires_at: v.nullable(v.number()),
  seconds: v.string(),
  size: v.string(),
  prompt: v.nullable(v.string()),
  remixed_from_video_id: v.nullable(v.string()),
  error: v.nullable(v.object({ code: v.string(), message: v.string() })),
})

const statuses: Readonly<Record<JobStatus, v.InferOutput<typeof videoSchema>['status']>> = {
  queued: 'queued',
  in_progress: 'in_progress',
  cancelling: 'in_progress',
  completed: 'completed',
  failed: 'failed',
  cancelled: 'failed',
  expired: 'failed',
}

const unixSeconds = (time: string | null): number | null => (time === null ? null : Math.floor(Date.parse(time) / 1000))

function videoOf(job: Job): v.InferOutput<typeof videoSchema> {
  const { effective } = job
  const status = statuses[job.status]
  const failed = { code: job.error?.code ?? job.status, message: job.error?.detail ?? `the job is ${job.status}` }
  return {
    id: job.id,
    object: 'video',
    model: job.model.split('@')[0] as string,
    status,
    progress: status === 'completed' ? 100 : Math.floor(100 * (job.progress?.value ?? 0)),
    created_at: unixSeconds(job.created_at) as number,
    completed_at: unixSeconds(job.completed_at),
    expires_at: unixSeconds(job.outputs_expire_at),
    seconds: String(Math.round((1000 * Number(effective.num_frames)) / Number(effective.fps)) / 1000),
    size: `${effective.width}x${effective.height}`,
    prompt: typeof effective.prompt === 'string' ? effective.prompt : null,
    remixed_from_video_id: job.parent_id,
    error: status === 'failed' ? failed : null,
  }
}

const formLimit = 65_536

/** Its client sends a form where it could send files, and JSON elsewhere. */
async function readBody(request: Request): Promise<unknown> {
  const type = request.headers.get('content-type') ?? ''
  if (!type.startsWith('multipart/form-data')) return readJson(request)
  const bytes = await readLimited(request.body, formLimit)
  const form = await new Response(bytes, { headers: { 'content-type': type } }).formData()
  return Object.fromEntries(form)
}

async function create(context: Context): Promise<Response> {
  const body = await readBody(context.req.raw)
  const { seconds, ...asked } = parseBody(createSchema, body)
  const request = parseRequest({ ...asked, ...(seconds === undefined ? {} : { duration: Number(seconds) }) })
  const { job } = await submit(context, request, { body })
  return context.json(videoOf(job))
}

async function read(context: Context): Promise<Response> {
  const job = await readJob(context.env, context.get('principal'), jobAt(context))
  if (job === null) throw notFound()
  return context.json(videoOf(job))
}

async function content(context: Context): Promise<Response> {
  const { variant = 'video' } = context.req.query()
  const selection = { variant, format: null, index: 0 }
  return serveOutput(context, await outputOf(context.env, context.get('principal'), jobAt(context), selection))
}

async function remove(context: Context): Promise<Response> {
  const [principal, id] = [context.get('principal'), jobAt(context)]
  const job = await readJob(context.env, principal, id)
  const outcome = await eraseJob(context.env, principal, id)
  if (job === null || outcome === 'missing') throw notFound()
  if (outcome === 'active') throw new GenerationError('job_active', 'the video is not finished; wait or cancel it')
  return context.json({ id: job.id, object: 'video.deleted', deleted: true })
}

const answer = { description: 'The video', schema: videoSchema }
const path = '/compat/openai/v1/videos'

export const compatRoutes: readonly Route[] = [
  {
    method: 'POST',
    path,
    access: 'video:create',
    operationId: 'compatCreateVideo',
    summary: 'Create a video, in the shape of OpenAI',
    body: createSchema,
    answers: { 200: answer },
    handler: create,
  },
  {
    method: 'GET',
    path: `${path}/{id}`,
    access: 'video:read',
    operationId: 'compatGetVideo',
    summary: 'Read a video, in the shape of OpenAI',
    answers: { 200: answer },
    handler: read,
  },
  {
    method: 'GET',
    path: `${path}/{id}/content`,
    access: 'video:read',
    operationId: 'compatVideoContent',
    summary: 'The bytes of a video',
    query: ['variant'],
    answers: { 200: { description: 'The bytes', contentType: 'video/mp4' } },
    handler: content,
  },
  {
    method: 'DELETE',
    path: `${path}/{id}`,
    access: 'video:create',
    operationId: 'compatDeleteVideo',
    summary: 'Delete a video, in the shape of OpenAI',
    answers: { 200: { description: 'Deleted' } },
    handler: remove,
  },
]
