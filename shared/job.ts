/**
 * The job: one generation as its caller sees it, and the only ways its status may go.
 *
 * Wire names. Internal phases (reserved, dispatching, running, settling) belong to the executor and never show here.
 */

import * as v from 'valibot'
import { jobErrorSchema } from './problem.ts'
import { inferenceModes, outputFormats } from './request.ts'

export const jobStatuses = [
  'queued',
  'in_progress',
  'cancelling',
  'completed',
  'failed',
  'cancelled',
  'expired',
] as const
export type JobStatus = (typeof jobStatuses)[number]

const next: Readonly<Record<JobStatus, readonly JobStatus[]>> = {
  queued: ['in_progress', 'cancelling', 'cancelled', 'completed', 'failed', 'expired'],
  in_progress: ['completed', 'failed', 'cancelling'],
  cancelling: ['cancelled'],
  completed: [],
  failed: [],
  cancelled: [],
  expired: [],
}

/** Whether a job may go from one status to another. */
export const mayBecome = (from: JobStatus, to: JobStatus): boolean => next[from].includes(to)

/** Whether nothing will change any more. */
export const isTerminal = (status: JobStatus): boolean => next[status].length === 0

export const stageNames = ['download', 'text_encode', 'denoise', 'vae_decode', 'upscale', 'mux', 'upload'] as const

export const progressSchema = v.object({
  value: v.number(),
  stage: v.picklist(stageNames),
  step: v.optional(v.number()),
  steps: v.optional(v.number()),
  eta_ms: v.optional(v.number()),
})

export const outputSchema = v.object({
  index: v.number(),
  variant: v.picklist(['video', 'thumbnail', 'frames', 'latent']),
  format: v.picklist(outputFormats),
  content_type: v.string(),
  url: v.string(),
  url_expires_at: v.string(),
  bytes: v.number(),
  sha256: v.string(),
  width: v.number(),
  height: v.number(),
  fps: v.number(),
  num_frames: v.number(),
})

export const warningSchema = v.object({
  code: v.string(),
  pointer: v.optional(v.string()),
  requested: v.optional(v.union([v.string(), v.number(), v.boolean()])),
  effective: v.optional(v.union([v.string(), v.number(), v.boolean()])),
  message: v.optional(v.string()),
})

export const inferenceSources = ['on_device', 'in_cloud', 'hybrid'] as const

export const jobSchema = v.object({
  id: v.string(),
  object: v.literal('video'),
  status: v.picklist(jobStatuses),
  model: v.string(),
  created_at: v.string(),
  started_at: v.nullable(v.string()),
  completed_at: v.nullable(v.string()),
  deadline_at: v.string(),
  outputs_expire_at: v.nullable(v.string()),
  queue_position: v.nullable(v.number()),
  progress: v.nullable(progressSchema),
  inference_mode: v.picklist(inferenceModes),
  inference_source: v.picklist(inferenceSources),
  routing_reason: v.string(),
  seed: v.number(),
  effective: v.record(v.string(), v.unknown()),
  content_key: v.string(),
  cache: v.object({
    status: v.picklist(['hit', 'miss', 'similar', 'bypass']),
    /** Of a similar one: how like it is, whose latents it began from, and after how many of their steps. */
    score: v.optional(v.number()),
    job: v.optional(v.string()),
    step: v.optional(v.number()),
  }),
  outputs: v.array(outputSchema),
  usage: v.object({ cost_usd: v.string(), gpu_ms: v.number(), device_ms: v.number(), cached: v.boolean() }),
  receipt: v.nullable(v.record(v.string(), v.unknown())),
  warnings: v.array(warningSchema),
  error: v.nullable(jobErrorSchema),
  draft: v.nullable(v.object({ usable_until: v.string() })),
  parent_id: v.nullable(v.string()),
  metadata: v.record(v.string(), v.string()),
  urls: v.object({ self: v.string(), events: v.string(), cancel: v.string(), content: v.string() }),
})

export type Job = v.InferOutput<typeof jobSchema>
export type Output = v.InferOutput<typeof outputSchema>
export type Progress = v.InferOutput<typeof progressSchema>
