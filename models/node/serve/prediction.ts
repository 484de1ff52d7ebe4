/**
 * A prediction: one run of a model, its life, and its form on Replicate's wire.
 *
 * starting → processing → succeeded | failed | canceled, and starting → canceled. A terminal state never changes.
 * Knows neither slots nor HTTP; whoever changes a prediction tells those who watch it.
 */

import type { ErrorCode } from '../../../shared/errors.ts'
import type { Receipt } from '../../../shared/receipt.ts'
import type { LatentEnvelope } from '../../../shared/request.ts'
import { timestamp } from './clock.ts'
import type { Job } from './inputs.ts'
import type { PreviewPicture } from './previews.ts'

export type Status = 'starting' | 'processing' | 'succeeded' | 'failed' | 'canceled'

export const webhookEvents = ['start', 'output', 'logs', 'completed'] as const
/** What can happen to a prediction; also the names that webhooks are filtered by. */
export type Change = (typeof webhookEvents)[number]

/** One file that was made, as contract.md §4 describes outputs. */
export interface OutputFacts {
  readonly index: number
  readonly variant: 'video' | 'frames' | 'latent'
  readonly format: string
  readonly content_type: string
  readonly url: string
  readonly bytes: number
  readonly sha256: string
  readonly width: number
  readonly height: number
  readonly fps: number
  readonly num_frames: number
  readonly expires_at: string
  /** The facts of latents; null for everything else. */
  readonly envelope: LatentEnvelope | null
}

/** What Replicate has no place for: facts of the files, and how they came about. */
export interface OutputMetadata {
  /** The outputs in order, then what was kept beside them (`keep_step`). */
  readonly outputs: readonly OutputFacts[]
  readonly receipt: Receipt
}

/** Why a prediction failed. */
export interface Failure {
  readonly code: ErrorCode
  readonly message: string
}

export interface Webhook {
  readonly url: string
  readonly events: readonly Change[]
}

/** What of a prediction was settled when it was made. */
export interface PredictionOrder {
  readonly id: string
  readonly job: Job
  /** As sent, for the wire. */
  readonly input: unknown
  /** Where the node was called, for absolute addresses. */
  readonly origin: string
  readonly webhook?: Webhook
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly deadline?: number
  /** Opens the stream of this prediction without a token. */
  readonly streamKey: string
}

export interface PredictionState {
  readonly status: Status
  readonly logs: string
  readonly outputs?: OutputMetadata
  readonly preview?: PreviewPicture
  /** Outputs that are ready while others are made. */
  readonly parts?: readonly OutputFacts[]
  readonly failure?: Failure
  readonly startedAt?: number
  readonly completedAt?: number
}

export interface Prediction {
  readonly order: PredictionOrder
  /** Replaced whole at each change. */
  state: PredictionState
  readonly watchers: Set<(change: Change) => void>
  /** How many wait before it; undefined once it runs or has ended. */
  readonly position: () => number | undefined
}

export const terminal = ({ state }: Pick<Prediction, 'state'>): boolean =>
  state.status !== 'starting' && state.status !== 'processing'

/** Logs are for reading along, not an archive. */
const logLimit = 64 * 1024

/** Replaces parts of the state and tells the watchers; refused once terminal. */
export function change(prediction: Prediction, parts: Partial<PredictionState>, what: Change): void {
  if (terminal(prediction)) return
  prediction.state = { ...prediction.state, ...parts }
  // A copy: a watcher may leave while it is told.
  for (const watcher of [...prediction.watchers]) watcher(what)
}

/** Adds to the logs; the beginning goes first where they grow too long. */
export function log(prediction: Prediction, text: string): void {
  const logs = prediction.state.logs + text
  const kept = logs.length <= logLimit ? logs : logs.slice(logs.indexOf('\n', logs.length - logLimit) + 1)
  change(prediction, { logs: kept }, 'logs')
}

/**
 * The prediction as Replicate shows it, with `error_code`, `receipt`, `output_metadata`, `preview`, `parts` and
 * `queue_position` added. An error begins with
 * its code, since Replicate's clients show nothing else.
 */
export function predictionObject({ order, state, position }: Prediction) {
  const { id, job, input, origin, webhook, createdAt, deadline, streamKey } = order
  const { model } = job
  // Latents kept beside the outputs come after them, and are no output.
  const urls = state.outputs?.outputs.slice(0, job.request?.n).map(({ url }) => url)
  return {
    id,
    model: `zoetrope/${model.card.id}`,
    version: model.version,
    input,
    logs: state.logs,
    output: urls === undefined ? null : urls.length === 1 ? (urls[0] as string) : urls,
    output_metadata: state.outputs ?? null,
    // While it runs: the newest look at it, and what is ready already.
    preview: terminal({ state }) ? null : (state.preview ?? null),
    parts: state.parts ?? [],
    receipt: state.outputs?.receipt ?? null,
    // How many are before it, while it waits for a slot.
    queue_position: (state.status === 'starting' ? position() : undefined) ?? null,
    data_removed: false,
    error: state.failure === undefined ? null : `${state.failure.code}: ${state.failure.message}`,
    error_code: state.failure?.code ?? null,
    source: 'api' as const,
    status: state.status,
    created_at: timestamp(createdAt),
    ...time('started_at', state.startedAt),
    ...time('completed_at', state.completedAt),
    ...time('deadline', deadline),
    ...(webhook === undefined ? {} : { webhook: webhook.url, webhook_events_filter: webhook.events }),
    metrics: metricsOf(createdAt, state),
    urls: {
      get: `${origin}/v1/predictions/${id}`,
      cancel: `${origin}/v1/predictions/${id}/cancel`,
      stream: `${origin}/v1/streams/${id}?key=${streamKey}`,
    },
  }
}

export type PredictionObject = ReturnType<typeof predictionObject>

const time = (name: string, at: number | undefined) => (at === undefined ? {} : { [name]: timestamp(at) })

/** Seconds, as Replicate counts them. */
function metricsOf(createdAt: number, { startedAt, completedAt }: PredictionState) {
  if (completedAt === undefined) return {}
  const total = { total_time: (completedAt - createdAt) / 1000 }
  return startedAt === undefined ? total : { ...total, predict_time: (completedAt - startedAt) / 1000 }
}
