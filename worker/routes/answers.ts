/**
 * Schemas of answers that belong to the edge alone; those the SDK knows too live in shared.
 */

import * as v from 'valibot'
import { jobSchema, warningSchema } from '../../shared/job.ts'
import { problemSchema } from '../../shared/problem.ts'
import type { Answer } from '../context.ts'

export const problem: Answer = {
  description: 'A problem',
  schema: problemSchema,
  contentType: 'application/problem+json',
}

export const jobAnswer: Answer = { description: 'The job', schema: jobSchema }

export const jobPageSchema = v.object({
  object: v.literal('list'),
  data: v.array(jobSchema),
  next_cursor: v.nullable(v.string()),
})

const assessmentSchema = v.object({
  eligible: v.boolean(),
  reasons: v.array(v.string()),
  eta_ms: v.nullable(v.number()),
})

export const quoteSchema = v.object({
  effective: v.record(v.string(), v.unknown()),
  warnings: v.array(warningSchema),
  content_key: v.nullable(v.string()),
  cache: jobSchema.entries.cache,
  device: v.object({
    ...assessmentSchema.entries,
    download_bytes: v.nullable(v.number()),
    memory_bytes: v.nullable(v.number()),
  }),
  cloud: v.object({
    ...assessmentSchema.entries,
    queue_position: v.nullable(v.number()),
    max_cost_usd: v.string(),
  }),
  recommended: v.nullable(v.string()),
  routing_reason: v.string(),
  expires_at: v.string(),
})

export const assetAnswerSchema = v.object({
  id: v.string(),
  object: v.literal('asset'),
  kind: v.string(),
  content_type: v.string(),
  bytes: v.number(),
  sha256: v.string(),
  status: v.picklist(['pending', 'ready', 'rejected']),
  created_at: v.string(),
  upload: v.nullable(v.object({ method: v.literal('PUT'), url: v.string(), expires_at: v.string() })),
})

export const tokenAnswerSchema = v.object({ token: v.string(), jti: v.string(), expires_at: v.string() })

export const endpointSchema = v.object({
  id: v.string(),
  object: v.literal('webhook_endpoint'),
  url: v.string(),
  events: v.array(v.string()),
  disabled: v.boolean(),
  created_at: v.string(),
  /** Shown when it is made, and never again. */
  secret: v.optional(v.string()),
})

export const endpointPageSchema = v.object({
  object: v.literal('list'),
  data: v.array(endpointSchema),
  /** Signs webhooks to a bare URL. */
  default_secret: v.string(),
})
