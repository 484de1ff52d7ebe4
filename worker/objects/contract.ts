/**
 * What the Worker asks of its Durable Objects, and what they ask of one another. Interfaces only.
 *
 * Nothing here throws across the wire: an exception would lose its class on the way, so refusals are data.
 */

import type { EffectiveVideo, Warning } from '../../shared/effective.ts'
import type { ErrorCode } from '../../shared/errors.ts'
import type { WireEvent } from '../../shared/events.ts'
import type { LatentFacts } from '../../shared/handoff.ts'
import type { Job, JobStatus, Output, Progress } from '../../shared/job.ts'
import type { JobError } from '../../shared/problem.ts'
import type { InferenceMode, LatentEnvelope } from '../../shared/request.ts'
import type { Scope } from '../auth/browser-token.ts'
import type { Env, Limits } from '../env.ts'

/** Who looks. A null subject is an API key and sees the whole tenant. */
export interface Viewer {
  readonly tenant: string
  readonly subject: string | null
}

/** A viewer's rights alone; more of a caller does not travel. */
export const viewerOf = ({ tenant, subject }: Viewer): Viewer => ({ tenant, subject })

export interface WebhookTarget {
  readonly url?: string | undefined
  readonly endpoint_id?: string | undefined
  readonly events: readonly string[]
}

export interface MediaReference {
  readonly sha256: string
  readonly contentType: string
}

/** Everything about a job that never changes after it was accepted. */
export interface JobRecord {
  readonly schema_v: 1
  readonly id: string
  readonly tenant: string
  /** Empty for API keys. */
  readonly subject: string
  readonly baseUrl: string
  /** Unix milliseconds. */
  readonly createdAt: number
  readonly deadlineAt: number
  readonly provider: string
  readonly effective: EffectiveVideo
  readonly warnings: readonly Warning[]
  readonly contentKey: string
  readonly mode: InferenceMode
  readonly routingReason: string
  readonly cacheMode: 'use' | 'bypass' | 'refresh'
  /** Millionths of a dollar; reserved, and never exceeded. */
  readonly maxCost: number
  readonly media: Readonly<Record<string, MediaReference>>
  readonly metadata: Readonly<Record<string, string>>
  readonly webhook: WebhookTarget | null
  readonly parentId: string | null
  /** The prompt as it was sent, where it was expanded before encoding. */
  readonly originalPrompt: string | null
  readonly policyVersion: string
  /** Of a run that begins from what was kept of a similar one: where, and how like it is. */
  readonly similar?: SimilarStart
  /** Rows after which latents are kept, for similar requests to begin from. */
  readonly keepStep?: number
}

/** Latents that a run left on its way, at rest under `key`. */
export interface KeptLatents {
  readonly key: string
  readonly latents: LatentFacts
}

export interface SimilarStart extends KeptLatents {
  /** The job that left them. */
  readonly job: string
  /** Cosine of the two prompts' pooled embeddings. */
  readonly score: number
}

export type StoredOutput = Omit<Output, 'url' | 'url_expires_at'> & {
  readonly key: string
  /** Of latents what they are, signed. */
  readonly envelope?: LatentEnvelope
}

/** A result at rest: bytes are in R2 under `key`. */
export interface StoredResult {
  readonly outputs: readonly StoredOutput[]
  readonly receipt: Readonly<Record<string, unknown>>
  readonly gpuMs: number
  readonly expiresAt: number
  /** Never shown: what similar requests may begin from. */
  readonly kept?: KeptLatents
}

/** What a submission became; enough to open its job, again and again. */
export interface Ticket {
  readonly record: JobRecord
  /** The job whose execution this one shares; its own id where it has one itself. */
  readonly execution: string
  /** Where the job lives until it is over. */
  readonly seat: number
  /** Present where the result was stored already. */
  readonly result: StoredResult | null
}

/** What of a job its callers can see, and so all that outlives its object. Times are unix milliseconds. */
export interface JobFacts {
  readonly ticket: Omit<Ticket, 'seat'>
  readonly status: JobStatus
  readonly startedAt: number | null
  readonly completedAt: number | null
  readonly progress: Progress | null
  /** How many runs wait before it, while the executor says so. */
  readonly queuePosition?: number | null
  readonly warnings: readonly Warning[]
  readonly error: JobError | null
  readonly result: StoredResult | null
  /** Outputs that were ready before the others. */
  readonly parts?: readonly StoredOutput[]
  readonly cost: number
}

/** An event by its number, and what of it the final job does not tell. */
export type LogEntry =
  | readonly [
      seq: number,
      kind: 'status',
      status: JobStatus,
      progress: Progress | null,
      warnings: number,
      queuePosition: number | null,
    ]
  | readonly [seq: number, kind: 'output' | 'warning', index: number]
  | readonly [seq: number, kind: 'error']
  | readonly [seq: number, kind: 'event', event: WireEvent]

/** A job that is over and has no object any more. */
export interface FinishedJob {
  readonly facts: JobFacts
  readonly log: readonly LogEntry[]
}

/** Where a job is: in a seat while it lives, in the account when it is over. */
export type Found =
  | { readonly seat: number; readonly finished: null }
  | { readonly seat: null; readonly finished: FinishedJob }

/** A caller's key and what stands for its request. */
export interface Idempotency {
  readonly key: string
  readonly fingerprint: string
}

/** What came of a creation: made now, or given again as an equal request made it before. */
export type Created<Value> = { readonly kind: 'created' | 'replayed'; readonly value: Value } | Refused

export interface SubmitCommand {
  readonly now: number
  readonly record: JobRecord
  readonly caller: string
  readonly idempotency: Idempotency | null
  readonly token: { readonly jti: string; readonly maxJobs: number; readonly maxCost: number } | null
  readonly limits: Limits
  /** What the request becomes where its result is not there and what is similar still is. */
  readonly similar?: JobRecord | null
  /** Under what its run can be found by similar requests, where it becomes one of its own. */
  readonly entry?: NeighbourEntry | null
}

/** A prompt among those of equal runs. */
export interface NeighbourEntry {
  /** Stands for all that must be equal: model, shape, schedule and whatever else decides latents. */
  readonly space: string
  readonly promptSha256: string
  /** Of length one. */
  readonly vector: Float32Array
}

export interface NeighbourQuery extends NeighbourEntry {
  /** Empty for API keys. One subject's runs are nobody else's start. */
  readonly subject: string
  /** null where the request names none: then that of a run of another prompt is taken. */
  readonly seed: number | null
  readonly minScore: number
  readonly now: number
}

export interface Refused {
  readonly kind: 'refused'
  readonly code: ErrorCode
  readonly message: string
  readonly retryAfterMs?: number
}

export interface Submitted {
  readonly kind: 'created' | 'joined' | 'replayed' | 'hit' | 'followed'
  readonly job: string
  /** Present where the job's object is still to be opened. */
  readonly ticket: Ticket | null
  readonly found: Found
  /** Of the bucket of new jobs. */
  readonly remaining: number
}

export interface Settlement {
  readonly now: number
  readonly cost: number
  readonly result: StoredResult
}

export interface Settled {
  readonly cost: number
  readonly result: StoredResult
}

export interface ListQuery {
  readonly limit: number
  /** createdAt and id of the last row seen. */
  readonly after: { readonly createdAt: number; readonly id: string } | null
  readonly status: JobStatus | null
  readonly model: string | null
}

export interface JobRow {
  readonly id: string
  readonly createdAt: number
  readonly finished: FinishedJob | null
}

export interface AssetRow {
  readonly id: string
  /** Empty for API keys. */
  readonly subject: string
  readonly kind: 'image' | 'video' | 'audio' | 'latent'
  readonly content_type: string
  readonly bytes: number
  readonly sha256: string
  readonly status: 'pending' | 'ready' | 'rejected'
  readonly created_at: number
}

export interface EndpointRow {
  readonly id: string
  readonly url: string
  readonly events: readonly string[]
  readonly disabled: boolean
  readonly created_at: number
}

/** An endpoint as it was made, with the secret it got then, sealed. */
export interface NewEndpoint {
  readonly row: EndpointRow
  readonly sealedSecret: string
}

export interface EndpointSecrets {
  readonly url: string
  /** Newest first; one that was rotated away stays for a day. Sealed as stored, or opened to sign with. */
  readonly secrets: readonly string[]
}

export interface Balance {
  readonly balance: number
  readonly held: number
  readonly credits: number
  readonly debits: number
}

export interface TokenRow {
  readonly jti: string
  readonly subject: string
  readonly expiresAt: number
}

/** One per tenant: money, single flight, idempotency, caps, and the index of jobs. */
export interface AccountObject {
  submit(command: SubmitCommand): Promise<Submitted | Refused>
  /** Whether a job still waits to begin in its seat. One that began does not, whatever became of it. */
  isUnopened(job: string): Promise<boolean>
  /** Where a job is; null where a viewer sees none. */
  find(viewer: Viewer, job: string): Promise<Found | null>
  settle(execution: string, settlement: Settlement): Promise<Settled>
  /** Ends an execution without a result; the settled one where there is one, which stays. */
  release(execution: string, outcome: Outcome): Promise<Settled | null>
  /** How an execution ended; null where it has not, or nobody knows it. */
  outcome(execution: string): Promise<Outcome | null>
  /** The seat of a job of this tenant, whoever asks; null where it has none. */
  seat(job: string): Promise<number | null>
  note(job: string, status: JobStatus): Promise<void>
  /** Takes over a job that is over, packed without its result. Twice is once; of a job that was erased nothing is kept. */
  archive(job: string, status: JobStatus, row: Uint8Array<ArrayBuffer>): Promise<void>
  /** Erases a job that is over and has no object; false where there is none. */
  eraseFinished(viewer: Viewer, job: string): Promise<boolean>
  lookup(contentKey: string, now: number): Promise<StoredResult | null>
  /** The likest run whose latents are there; null where none is like enough. */
  neighbour(query: NeighbourQuery): Promise<SimilarStart | null>
  list(viewer: Viewer, query: ListQuery): Promise<JobRow[]>
  /** Removes a job from every index; gives the stored bytes nobody needs any more. */
  forget(job: string): Promise<string[]>
  /** Stored bytes that an execution needs before its result is settled. */
  claim(execution: string, key: string): Promise<void>
  sweep(now: number): Promise<number>
  deposit(id: string, amount: number): Promise<Balance>
  balance(): Promise<Balance>
  mintToken(row: TokenRow, idempotency: Idempotency | null): Promise<Created<TokenRow>>
  revokeToken(jti: string): Promise<boolean>
  isTokenGood(jti: string): Promise<boolean>
  /** A row, or the ready one of the same bytes that the viewer has already. */
  createAsset(viewer: Viewer, row: AssetRow, idempotency: Idempotency | null): Promise<Created<AssetRow>>
  asset(viewer: Viewer, id: string): Promise<AssetRow | null>
  /** False where another upload of the asset is on its way. */
  beginUpload(id: string, now: number): Promise<boolean>
  finishAsset(id: string, status: 'ready' | 'rejected'): Promise<void>
  deleteAsset(viewer: Viewer, id: string): Promise<{ readonly key: string | null } | null>
  createEndpoint(endpoint: NewEndpoint, idempotency: Idempotency | null): Promise<Created<NewEndpoint>>
  endpoints(): Promise<EndpointRow[]>
  endpointSecrets(id: string, now: number): Promise<EndpointSecrets | null>
  disableEndpoint(id: string): Promise<void>
  deleteEndpoint(id: string): Promise<boolean>
}

export type OutputAnswer =
  | { readonly kind: 'found'; readonly output: StoredOutput; readonly envelope: string | null }
  | { readonly kind: 'missing' | 'unready' | 'expired' }
  | { readonly kind: 'unavailable'; readonly available: readonly string[] }

export interface OutputSelection {
  readonly variant: string
  readonly format: string | null
  readonly index: number
}

/** How far an execution is, for the jobs that share it. */
export interface ExecutionState {
  readonly started: boolean
  readonly queuePosition: number | null
  readonly progress: Progress | null
  readonly outcome: Outcome | null
}

export type Outcome =
  | { readonly kind: 'completed'; readonly result: StoredResult; readonly cost: number }
  | { readonly kind: 'failed'; readonly error: JobError }
  | { readonly kind: 'expired' }
  | { readonly kind: 'cancelled'; readonly confirmed: boolean }

/**
 * One per seat, with one job at a time. Every question names the job: to one that is not there, or not any more, the
 * answer is null.
 */
export interface GenerationObject {
  /** Begins the job, once in its life; null where it had its time here and is gone. */
  open(ticket: Ticket, caller: string): Promise<Job | null>
  /** Adds a caller's interest to a job that lives. */
  attach(job: string, caller: string): Promise<Job | null>
  read(viewer: Viewer, job: string): Promise<Job | null>
  record(viewer: Viewer, job: string): Promise<JobRecord | null>
  wait(viewer: Viewer, job: string, milliseconds: number): Promise<Job | null>
  cancel(viewer: Viewer, job: string, caller: string): Promise<Job | null>
  output(viewer: Viewer, job: string, selection: OutputSelection): Promise<OutputAnswer | null>
  erase(viewer: Viewer, job: string): Promise<'erased' | 'active' | null>
  /** Has whoever sits here look at once. */
  wake(): Promise<void>
  /** True once per delivery of a known attempt; what it says is not believed, only that there is something to ask. */
  hook(job: string, attempt: number, delivery: string, operation: string): Promise<boolean>
  /** Remembers a follower and its seat. False where there is nothing to follow: not yet, or no longer. */
  follow(job: string, follower: string, seat: number): Promise<boolean>
  unfollow(job: string, follower: string): Promise<void>
  execution(job: string): Promise<ExecutionState | null>
  /** Its events: 200, 404 or 429. */
  fetch(request: Request): Promise<Response>
}

export interface KeyRow {
  readonly id: string
  readonly tenant: string
  readonly scopes: readonly Scope[]
  readonly name: string
  readonly created_at: number
  readonly revoked: boolean
}

/** One for the whole service: which keys and tenants there are, and which providers rest. */
export interface DirectoryObject {
  developmentSecret(): Promise<string>
  createKey(row: KeyRow, fingerprint: string): Promise<void>
  key(id: string): Promise<(KeyRow & { readonly fingerprint: string }) | null>
  keys(): Promise<KeyRow[]>
  revokeKey(id: string): Promise<boolean>
  active(tenant: string): Promise<void>
  idle(tenant: string): Promise<void>
  tenants(): Promise<string[]>
  trip(provider: string, until: number): Promise<void>
  restingUntil(provider: string): Promise<number>
}

/** Length-prefixed, so that no two names can meet whatever a tenant is called. */
const named = (kind: string, name: string): string => `${kind}:${name.length}:${name}`

const stub = <Contract>(namespace: DurableObjectNamespace, name: string): Contract =>
  namespace.get(namespace.idFromName(name)) as unknown as Contract

export const generationOf = (env: Env, tenant: string, seat: number): GenerationObject =>
  stub(env.GENERATIONS, `${named('tenant', tenant)}:${seat}`)
export const accountOf = (env: Env, tenant: string): AccountObject => stub(env.ACCOUNTS, named('tenant', tenant))
export const directoryOf = (env: Env): DirectoryObject => stub(env.DIRECTORY, 'directory')
