/**
 * Predictions as Replicate writes them, read tolerantly: a missing or odd field is no reason to fall over.
 *
 * Shared by every provider that speaks Replicate's API, ours included. Source: replicate.com/docs/reference/http.
 */

import * as v from 'valibot'
import type { ErrorCode } from '../../shared/errors.ts'
import type { Progress } from '../../shared/job.ts'
import { errorCodes } from '../../shared/problem.ts'
import type { ProviderStatus } from './provider.ts'

const predictionSchema = v.object({
  id: v.pipe(v.string(), v.minLength(1), v.maxLength(512)),
  status: v.fallback(v.string(), 'unknown'),
  output: v.optional(v.unknown()),
  error: v.optional(v.unknown()),
  /** Our own node says it in our own words. */
  error_code: v.fallback(v.nullish(v.picklist(errorCodes)), null),
  logs: v.fallback(v.nullish(v.string()), null),
  webhook: v.fallback(v.nullish(v.string()), null),
  created_at: v.fallback(v.nullish(v.string()), null),
  metrics: v.fallback(v.nullish(v.object({ predict_time: v.fallback(v.optional(v.number()), undefined) })), null),
  /** How many wait before it, as our own node counts them. */
  queue_position: v.fallback(v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(1_000_000))), null),
  receipt: v.fallback(v.nullish(v.record(v.string(), v.unknown())), null),
  /** What our own node shows while it runs. */
  preview: v.fallback(
    v.nullish(
      v.object({
        content_type: v.picklist(['image/jpeg', 'image/png', 'image/webp']),
        data_base64: v.pipe(v.string(), v.maxLength(65_536), v.regex(/^[A-Za-z0-9+/]*={0,2}$/)),
        frame_index: v.pipe(v.number(), v.integer(), v.minValue(0)),
        step: v.pipe(v.number(), v.integer(), v.minValue(0)),
      }),
    ),
    null,
  ),
  parts: v.fallback(
    v.nullish(
      v.pipe(
        v.array(
          v.object({
            index: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(3)),
            url: v.string(),
            envelope: v.optional(v.unknown()),
          }),
        ),
        v.maxLength(4),
      ),
    ),
    null,
  ),
  /** What our own node says of its outputs. */
  output_metadata: v.fallback(
    v.nullish(v.object({ outputs: v.array(v.object({ url: v.optional(v.string()), envelope: v.unknown() })) })),
    null,
  ),
})

export type Prediction = v.InferOutput<typeof predictionSchema>

/** A prediction from a body; undefined where it is none. */
export function readPrediction(body: string): Prediction | undefined {
  try {
    const result = v.safeParse(predictionSchema, JSON.parse(body))
    return result.success ? result.output : undefined
  } catch {
    return undefined
  }
}

const pageSchema = v.object({ results: v.array(v.unknown()), next: v.fallback(v.nullish(v.string()), null) })

export interface Page {
  readonly predictions: readonly Prediction[]
  readonly next: string | null
}

/** A page of predictions; rows that are none are passed over. */
export function readPage(body: string): Page | undefined {
  try {
    const { results, next } = v.parse(pageSchema, JSON.parse(body))
    const rows = results.map((row) => v.safeParse(predictionSchema, row))
    return { predictions: rows.flatMap((row) => (row.success ? [row.output] : [])), next: next ?? null }
  } catch {
    return undefined
  }
}

/** What a prediction says about its run. A status of no known name is simply not the end. */
export function statusOf(prediction: Prediction): ProviderStatus {
  switch (prediction.status) {
    case 'starting':
      return { state: 'queued', ...(prediction.queue_position == null ? {} : { position: prediction.queue_position }) }
    case 'succeeded':
      return {
        state: 'succeeded',
        outputs: outputUrls(prediction.output),
        gpuMs: Math.max(0, Math.round((prediction.metrics?.predict_time ?? 0) * 1000)),
        receipt: prediction.receipt ?? null,
        ...envelopesOf(prediction),
      }
    case 'failed':
      return {
        state: 'failed',
        error: { code: prediction.error_code ?? codeOf(prediction.error), detail: textOf(prediction.error) },
      }
    case 'canceled':
    case 'cancelled':
      return { state: 'canceled' }
    case 'aborted':
      return { state: 'aborted' }
    default:
      return { state: 'in_progress', progress: progressOf(prediction.logs ?? ''), ...shownOf(prediction) }
  }
}

const shownOf = ({ preview, parts }: Prediction) => ({
  ...(preview == null ? {} : { preview }),
  ...(parts == null || parts.length === 0 ? {} : { parts }),
})

/** Of each output what it is; what was kept on the way comes after them. */
function envelopesOf({ output, output_metadata: told }: Prediction) {
  if (told == null) return {}
  const kept = told.outputs[outputUrls(output).length]
  return {
    envelopes: told.outputs.map(({ envelope }) => envelope ?? null),
    ...(kept?.url === undefined ? {} : { kept: { url: kept.url, envelope: kept.envelope } }),
  }
}

/** A string is one output, an array is all of them, an object says where under `video`, `url` or `output`. */
export function outputUrls(output: unknown, depth = 0): string[] {
  if (typeof output === 'string') return [output]
  if (Array.isArray(output)) return output.slice(0, 16).flatMap((each) => outputUrls(each, depth + 1))
  if (typeof output !== 'object' || output === null || depth > 4) return []
  const fields = output as Record<string, unknown>
  return outputUrls(fields.video ?? fields.url ?? fields.output, depth + 1)
}

function textOf(error: unknown): string {
  const text = typeof error === 'string' ? error : JSON.stringify(error ?? 'the provider gives no reason')
  return (text ?? 'the provider gives no reason').slice(0, 500)
}

/** Clouds say in prose what they will not make; anything else is their failure. */
const codeOf = (error: unknown): ErrorCode =>
  /nsfw|safety|sensitive|moderat/i.test(textOf(error)) ? 'content_blocked' : 'upstream_error'

const bar = /^\s*(\d{1,3})%\|[^|\n]*\|\s*(\d+)\/(\d+) \[(?:\d+:)*\d+<((?:\d+:)*\d+|\?)/gm

/** The newest progress bar in the logs, as tqdm draws it; null where there is none. */
export function progressOf(logs: string): Progress | null {
  const last = [...logs.slice(-8192).matchAll(bar)].at(-1)
  if (last === undefined) return null
  const [, percent, step, steps, left] = last as unknown as [string, string, string, string, string]
  const eta = left === '?' ? undefined : left.split(':').reduce((sum, part) => 60 * sum + Number(part), 0) * 1000
  return {
    value: Math.min(1, Number(percent) / 100),
    stage: 'denoise',
    step: Number(step),
    steps: Number(steps),
    ...(eta === undefined ? {} : { eta_ms: eta }),
  }
}
