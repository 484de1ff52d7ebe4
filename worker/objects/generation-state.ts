/**
 * What a generation remembers, and the job its callers see in it.
 *
 * Status only moves along the arrows of shared/job.ts; whoever tries another way changes nothing.
 */

import { sourceOf, type Warning } from '../../shared/effective.ts'
import type { PartReference } from '../../shared/events.ts'
import { isTerminal, type Job, type JobStatus, mayBecome, type Output, type Progress } from '../../shared/job.ts'
import type { JobError } from '../../shared/problem.ts'
import type { NumberedEvent } from '../../shared/sse.ts'
import { signUrl, urlLifeSeconds } from '../signed-url.ts'
import { similarityOf } from '../similar.ts'
import type {
  JobFacts,
  JobRecord,
  OutputAnswer,
  OutputSelection,
  StoredOutput,
  StoredResult,
  Ticket,
} from './contract.ts'
import { newRun, type Run } from './execution.ts'

export interface State extends JobFacts {
  readonly schema_v: 1
  readonly ticket: Ticket
  status: JobStatus
  startedAt: number | null
  completedAt: number | null
  progress: Progress | null
  queuePosition?: number | null
  warnings: Warning[]
  error: JobError | null
  result: StoredResult | null
  /** Outputs that were ready before the others. */
  parts?: StoredOutput[]
  cost: number
  /** Null where another job's execution is shared, or the result was there already. */
  run: Run | null
  /** When to look at the shared execution again. */
  followAt: number
  /** The last status the account has confirmed. */
  noted: JobStatus | null
  shortened: boolean
}

/** What can be seen of a job as it begins. */
export const newFacts = (ticket: JobFacts['ticket']) => ({
  ticket,
  status: 'queued' as const,
  startedAt: null,
  completedAt: null,
  progress: null,
  warnings: [...ticket.record.warnings],
  error: null,
  result: null,
  cost: 0,
})

export function newState(ticket: Ticket, now: number): State {
  const own = ticket.execution === ticket.record.id && ticket.result === null
  return {
    ...newFacts(ticket),
    schema_v: 1,
    ticket,
    run: own ? newRun(now) : null,
    followAt: own || ticket.result !== null ? Number.MAX_SAFE_INTEGER : now,
    noted: null,
    shortened: false,
  }
}

/** Moves the status; false where that way does not exist. */
export function moveTo(state: State, status: JobStatus, now: number): boolean {
  if (!mayBecome(state.status, status)) return false
  state.status = status
  if (status === 'in_progress') state.startedAt = now
  if (isTerminal(status)) state.completedAt = now
  return true
}

export const dollars = (millionths: number): string => {
  const digits = String(Math.round(millionths)).padStart(7, '0')
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`
}

const time = (at: number | null): string | null => (at === null ? null : new Date(at).toISOString())

const draftDays = 7

/** The job without rights to its outputs: their addresses are signed when somebody is shown them. */
export function jobOf(state: JobFacts): Job {
  const { record, result: hit } = state.ticket
  const base = `${record.baseUrl}/v1/videos/${record.id}`
  const { status, result } = state
  return {
    id: record.id,
    object: 'video',
    status,
    model: `${record.effective.model}@${record.effective.revision}`,
    created_at: time(record.createdAt) as string,
    started_at: time(state.startedAt),
    completed_at: time(state.completedAt),
    deadline_at: time(record.deadlineAt) as string,
    outputs_expire_at: time(result?.expiresAt ?? null),
    queue_position: status === 'queued' ? (state.queuePosition ?? null) : null,
    progress: state.progress,
    inference_mode: record.mode,
    inference_source: sourceOf(record.effective),
    routing_reason: hit === null || record.similar !== undefined ? record.routingReason : 'exact_cache_hit',
    seed: record.effective.seed,
    effective: { ...record.effective },
    content_key: record.contentKey,
    cache: cacheOf(record, hit !== null),
    outputs: (result?.outputs ?? []).map((output) => outputOf(record, output)),
    usage: {
      cost_usd: dollars(state.cost),
      gpu_ms: hit === null ? (result?.gpuMs ?? 0) : 0,
      device_ms: 0,
      cached: hit !== null,
    },
    receipt: result === null ? null : { ...result.receipt },
    warnings: [...state.warnings],
    error: state.error,
    draft: draftOf(state),
    parent_id: record.parentId,
    metadata: { ...record.metadata },
    urls: { self: base, events: `${base}/events`, cancel: `${base}/cancel`, content: `${base}/content` },
  }
}

/** A stored result of a similar run is no exact one either. */
function cacheOf({ cacheMode, similar }: JobRecord, hit: boolean): Job['cache'] {
  if (similar !== undefined) return { status: 'similar', ...similarityOf(similar) }
  if (hit) return { status: 'hit' }
  return { status: cacheMode === 'bypass' ? 'bypass' : 'miss' }
}

function draftOf({ ticket: { record }, completedAt }: JobFacts): Job['draft'] {
  if (record.effective.draft !== true || completedAt === null) return null
  return { usable_until: new Date(completedAt + draftDays * 86_400_000).toISOString() }
}

/** The output a caller means, or why there is none. */
export function findOutput(
  { result, parts = [] }: JobFacts,
  { variant, format, index }: OutputSelection,
  now: number,
): OutputAnswer {
  const meant = (each: StoredOutput) =>
    each.variant === variant && each.index === index && (format === null || each.format === format)
  const early = result === null ? parts.find(meant) : undefined
  if (result === null && early === undefined) return { kind: 'unready' }
  if (result !== null && result.expiresAt <= now) return { kind: 'expired' }
  const { outputs } = result ?? { outputs: parts }
  const output = early ?? outputs.find(meant)
  if (output === undefined) return { kind: 'unavailable', available: [...new Set(outputs.map((each) => each.format))] }
  const envelope = output.envelope === undefined ? null : JSON.stringify(output.envelope)
  return { kind: 'found', output, envelope }
}

const noteAgainMs = 5_000

/** How long a run that was given up may still turn up, to be stopped. Longer than any provider lets one live. */
const orphanLifeMs = 3_600_000

/** Whether some attempt's fate was never known: a hook may yet tell of it. */
const mayHaveOrphans = ({ attempts, unknownSince }: Run): boolean => attempts > 1 || unknownSince !== null

/** Whether a job has ended and its execution, where it has one of its own, too. */
export const isOver = ({ status, run }: State): boolean => isTerminal(status) && (run === null || run.phase === 'done')

/** Since when a job has no work to do any more; never, where it is not over. Unix milliseconds. */
export function restsAt(state: State): number {
  const { run, completedAt } = state
  if (!isOver(state) || completedAt === null) return Number.MAX_SAFE_INTEGER
  return run !== null && mayHaveOrphans(run) ? completedAt + orphanLifeMs : completedAt
}

/** When something of the state itself wants to be done next. */
export function nextDueOf(state: State, logLifeMs: number, now: number): number {
  const never = Number.MAX_SAFE_INTEGER
  const purge = state.completedAt !== null && !state.shortened ? state.completedAt + logLifeMs : never
  const note = state.noted === state.status ? never : now + noteAgainMs
  const work = state.run === null ? (isTerminal(state.status) ? never : state.followAt) : state.run.dueAt
  return Math.min(work, purge, note)
}

const selectionOf = ({ variant, index }: Pick<StoredOutput, 'variant' | 'index'>): string =>
  `variant=${variant}&index=${index}`

function outputOf({ baseUrl, id }: JobRecord, { key: _, envelope: __, ...output }: StoredOutput): Output {
  const url = `${baseUrl}/v1/videos/${id}/content?${selectionOf(output)}`
  return { ...output, url, url_expires_at: new Date(0).toISOString() }
}

/** A part as an event tells it: the address is that of the output it is to be. */
export function partOf(record: JobRecord, output: StoredOutput): PartReference {
  const { url, bytes, sha256 } = outputOf(record, output)
  return { kind: output.variant === 'latent' ? 'latents' : 'segment', url, bytes, sha256 }
}

/** An address with the right to be opened, for a quarter of an hour: until then, in unix seconds. */
async function signed(
  address: string,
  of: Pick<StoredOutput, 'sha256' | 'variant' | 'index'>,
  { id, tenant }: JobRecord,
  key: CryptoKey,
  now: number,
): Promise<{ readonly url: string; readonly expires: number }> {
  const expires = Math.floor(now / 1000) + urlLifeSeconds
  const path = `/v1/videos/${id}/content`
  const selection = selectionOf(of)
  const signature = await signUrl(key, { method: 'GET', path, expires, tenant, sha256: of.sha256, selection })
  // Who it was signed for and for which bytes: so it can be judged before anybody is asked.
  const right = `tenant=${encodeURIComponent(tenant)}&sha256=${of.sha256}&expires=${expires}&signature=${signature}`
  return { url: `${address}&${right}`, expires }
}

async function withSignature(output: Output, record: JobRecord, key: CryptoKey, now: number): Promise<Output> {
  const { url, expires } = await signed(output.url, output, record, key, now)
  return { ...output, url, url_expires_at: new Date(expires * 1000).toISOString() }
}

/** The job of some facts, as its callers are shown it. @param urlKey asked for only where there is something to sign. */
export async function presented(facts: JobFacts, urlKey: () => Promise<CryptoKey>): Promise<Job> {
  const job = jobOf(facts)
  return job.outputs.length === 0 ? job : signedJob(job, facts.ticket.record, await urlKey())
}

/** A job whose outputs can be opened. */
async function signedJob(job: Job, record: JobRecord, key: CryptoKey): Promise<Job> {
  const outputs = await Promise.all(job.outputs.map((output) => withSignature(output, record, key, Date.now())))
  return { ...job, outputs }
}

/** An event whose outputs can be opened, whenever it was written down. */
export async function signedEvent(
  { seq, event }: NumberedEvent,
  record: JobRecord,
  key: CryptoKey,
): Promise<NumberedEvent> {
  if (event.type === 'status') return { seq, event: { ...event, job: await signedJob(event.job, record, key) } }
  if (event.type === 'part') {
    const { kind, sha256 } = event.part
    const variant = kind === 'latents' ? 'latent' : 'video'
    const { url } = await signed(event.part.url, { sha256, variant, index: event.block }, record, key, Date.now())
    return { seq, event: { ...event, part: { ...event.part, url } } }
  }
  if (event.type !== 'output') return { seq, event }
  return { seq, event: { ...event, output: await withSignature(event.output, record, key, Date.now()) } }
}
