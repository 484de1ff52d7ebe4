/**
 * From a checked request to a job: resolved, judged, priced, keyed, and handed to the account.
 *
 * Everything that may fail fails before the account is asked, so a refused request leaves no trace and burns no key.
 */

import type { CatalogModel } from '../shared/catalog.ts'
import { contentKey } from '../shared/content-key.ts'
import { type EffectiveVideo, modeOf, resolveRequest, type Warning } from '../shared/effective.ts'
import { GenerationError } from '../shared/errors.ts'
import type { Job } from '../shared/job.ts'
import type { CheckedRequest } from '../shared/request.ts'
import { type Route, route } from '../shared/routing.ts'
import type { Principal } from './auth/principal.ts'
import { baseUrlOf, type Context } from './context.ts'
import { expandPrompt } from './expansion.ts'
import { idempotencyOf } from './idempotency-key.ts'
import { newId } from './ids.ts'
import { finishedJob, readJob, recordOf as recordedJob } from './jobs.ts'
import { initialLatents } from './latents.ts'
import { moderate } from './moderation.ts'
import {
  accountOf,
  generationOf,
  type JobRecord,
  type MediaReference,
  type Submitted,
  viewerOf,
} from './objects/contract.ts'
import { costOf } from './pricing.ts'
import { publicUrl } from './public-url.ts'
import { servicesOf } from './services.ts'
import { type Likeness, likenessOf, similarRecord, unlike } from './similar.ts'

export interface Prepared {
  readonly model: CatalogModel
  readonly effective: EffectiveVideo
  readonly warnings: readonly Warning[]
  readonly contentKey: string
  /** The key of the request with something in it changed. */
  readonly keyOf: (effective: EffectiveVideo) => Promise<string>
  readonly route: Route
  readonly provider: string
  readonly maxCost: number
  readonly media: Readonly<Record<string, MediaReference>>
  readonly originalPrompt: string | null
}

/**
 * Brings a request to the point where only the account's word is missing.
 * @param quoting whether the state of cache and credit is wanted even where it decides nothing.
 * @throws GenerationError of many kinds; nothing was written.
 */
export async function prepare(context: Context, request: CheckedRequest, quoting = false): Promise<Prepared> {
  const { env } = context
  const principal = context.get('principal')
  const { catalog, settings } = servicesOf(env)
  checkRights(principal, request)
  const model = catalog.model(request.model)
  requireModel(principal, model)
  const [seed] = crypto.getRandomValues(new Uint32Array(1)) as unknown as [number]
  const complete = await withDraft(context, request)
  const prompt = complete.prompt === undefined ? undefined : await expandPrompt(complete.prompt, env)
  const expanded = prompt === undefined ? complete : { ...complete, prompt }
  const { effective, warnings } = resolveRequest(expanded, model, { seed })
  await moderate([complete.prompt ?? '', effective.prompt, effective.negative_prompt], env)
  const media = await mediaOf(context, effective)
  await initialLatents(context, request)
  const provider = model.providers[0] ?? ''
  const keyOf = (request: EffectiveVideo) =>
    contentKey(request, {
      policyVersion: settings.policyVersion,
      tenant: principal.tenant,
      provider,
      weightsSha256: model.weights_sha256 ?? '',
      hashes: new Map(Object.entries(media).map(([id, { sha256: hash }]) => [id, hash])),
    })
  const key = await keyOf(effective)
  return {
    model,
    effective,
    warnings,
    contentKey: key,
    keyOf,
    route: await routeOf(context, request, model, effective, key, quoting),
    provider,
    maxCost: costOf(model, effective),
    media,
    originalPrompt: prompt === complete.prompt ? null : (complete.prompt ?? null),
  }
}

/** What is similar to a request that asked for it, and is not there exactly. */
export async function likeness(context: Context, request: CheckedRequest, prepared: Prepared): Promise<Likeness> {
  const { env } = context
  const { tenant, subject } = context.get('principal')
  const { effective, model, provider, contentKey: key } = prepared
  const { cache } = request
  if (cache?.similar !== true || cache.mode === 'bypass') return unlike
  const exact = cache.mode === 'use' && (await accountOf(env, tenant).lookup(key, Date.now())) !== null
  if (exact) return unlike
  const { settings, provider: providerOf } = servicesOf(env)
  const asked = {
    ...{ tenant, subject: subject ?? '', request, effective, model },
    ...{ provider: providerOf(provider), policyVersion: settings.policyVersion },
  }
  return likenessOf(env, asked, cache)
}

function checkRights({ kind, token }: Principal, request: CheckedRequest): void {
  const mode = modeOf(request)
  if (token?.modes && !token.modes.includes(mode)) {
    throw new GenerationError('forbidden', `inference_mode: this token allows ${token.modes.join(', ')}, got ${mode}`)
  }
  if (request.webhook !== undefined && kind !== 'key') {
    throw new GenerationError('forbidden', 'webhook: only an API key may name one; remove it', { pointer: '/webhook' })
  }
  if (request.webhook?.url !== undefined) publicUrl(request.webhook.url, '/webhook/url')
}

function requireModel({ token }: Principal, { id }: CatalogModel): void {
  if (token?.models && !token.models.includes(id)) {
    throw new GenerationError('forbidden', `model: this token allows ${token.models.join(', ')}, got ${id}`)
  }
}

const draftMs = 7 * 86_400_000

/** A final inherits prompt, references and seed of its draft. */
async function withDraft(context: Context, request: CheckedRequest): Promise<CheckedRequest> {
  if (request.draft_id === undefined) return request
  const viewer = context.get('principal')
  const draft = await recordedJob(context.env, viewer, request.draft_id)
  if (draft === null) {
    throw new GenerationError('invalid_parameter', 'draft_id: names no job of yours', { pointer: '/draft_id' })
  }
  const { effective, createdAt } = draft
  if (effective.draft !== true || createdAt + draftMs < Date.now()) {
    throw new GenerationError('content_expired', 'draft_id: the job is no draft, or older than seven days')
  }
  const inherited = {
    prompt: effective.prompt,
    seed: effective.seed,
    ...(effective.frame_images === undefined ? {} : { frame_images: effective.frame_images }),
    ...(effective.input_references === undefined ? {} : { input_references: [...effective.input_references] }),
  }
  return { ...inherited, ...request }
}

/** Every asset a request names, which must be the tenant's and ready. */
async function mediaOf(context: Context, effective: EffectiveVideo): Promise<Record<string, MediaReference>> {
  const viewer = viewerOf(context.get('principal'))
  const account = accountOf(context.env, viewer.tenant)
  const ids = new Set([
    ...(effective.frame_images ?? []).map(({ image }) => image),
    ...(effective.input_references ?? []),
    ...(effective.control ?? []).flatMap(({ video, image }) => [video, image]),
    effective.video,
    effective.audio,
    effective.init_latent,
  ])
  const found = [...ids]
    .filter((id) => id !== undefined)
    .map(async (id) => {
      const row = await account.asset(viewer, id)
      if (row === null) throw new GenerationError('invalid_parameter', `${id}: is no asset of yours; upload it first`)
      if (row.status !== 'ready') throw new GenerationError('asset_not_ready', `${id}: is ${row.status}, not ready`)
      return [id, { sha256: row.sha256, contentType: row.content_type }] as const
    })
  return Object.fromEntries(await Promise.all(found))
}

async function routeOf(
  { env, get }: Context,
  request: CheckedRequest,
  model: CatalogModel,
  effective: EffectiveVideo,
  key: string,
  quoting: boolean,
): Promise<Route> {
  const account = accountOf(env, get('principal').tenant)
  // Where the cloud is forced, the account answers for cache and credit when it is asked to accept.
  const asked = quoting || modeOf(request) !== 'only_in_cloud'
  const [stored, quota] = asked
    ? await Promise.all([
        account.lookup(key, Date.now()),
        account.balance().then((money) => money.balance - money.held),
      ])
    : [null, Number.POSITIVE_INFINITY]
  const provider = servicesOf(env).provider(model.providers[0] ?? '')
  return route({
    mode: modeOf(request),
    model,
    effective,
    device: request.device_report ?? null,
    cloud: {
      consent: true,
      available: provider !== undefined,
      quota: quota >= costOf(model, effective),
      etaMs: null,
    },
    cached: stored !== null && (request.cache?.mode ?? 'use') === 'use',
  })
}

export interface SubmitOptions {
  readonly parentId?: string
  /** Of the body as it was sent, for telling repetitions from reuse. */
  readonly body: unknown
}

export interface Accepted {
  readonly job: Job
  readonly replayed: boolean
  readonly remaining: number
}

/**
 * Submits a request.
 * @throws GenerationError with the account's refusal.
 */
export async function submit(context: Context, request: CheckedRequest, options: SubmitOptions): Promise<Accepted> {
  if (modeOf(request) === 'only_on_device') {
    throw new GenerationError('unsupported_capability', 'inference_mode: a server cannot run on your device', {
      pointer: '/inference_mode',
    })
  }
  const idempotency = await idempotencyOf(context, options.body)
  const prepared = await prepare(context, request)
  requireProvider(context, prepared.provider)
  const principal = context.get('principal')
  const { limits } = servicesOf(context.env).settings
  const account = accountOf(context.env, principal.tenant)
  const { entry, start, keepStep, warnings } = await likeness(context, request, prepared)
  const plain = recordOf(context, request, prepared, options)
  const record = {
    ...plain,
    warnings: [...plain.warnings, ...warnings],
    ...(keepStep === undefined ? {} : { keepStep }),
  }
  const answer = await account.submit({
    now: Date.now(),
    record,
    entry,
    similar: start === null ? null : await similarRecord(record, start, prepared.model, prepared.keyOf),
    caller: principal.caller,
    idempotency,
    token: principal.token,
    limits,
  })
  if (answer.kind === 'refused') {
    const { code, message, retryAfterMs } = answer
    throw new GenerationError(code, message, retryAfterMs === undefined ? {} : { retryAfterMs })
  }
  const job = await jobOf(context, answer)
  return {
    job: joinedJob(job, answer.kind, request),
    replayed: answer.kind === 'replayed',
    remaining: answer.remaining,
  }
}

/** The job the account accepted: over already, in its object, or to be opened now. */
async function jobOf({ env, get }: Context, { job: id, ticket, found }: Submitted): Promise<Job> {
  if (found.seat === null) return finishedJob(env, found.finished)
  const principal = get('principal')
  const generation = generationOf(env, principal.tenant, found.seat)
  const live = ticket === null ? generation.attach(id, principal.caller) : generation.open(ticket, principal.caller)
  // It may have come to its end in between.
  const job = (await live) ?? (await readJob(env, { tenant: principal.tenant, subject: null }, id))
  if (job === null) throw new GenerationError('not_found', 'the job was erased while it was asked for')
  return job
}

/** A caller that shares a job is told that its own extras do not apply. */
function joinedJob(job: Job, kind: string, request: CheckedRequest): Job {
  const differs =
    request.webhook !== undefined || JSON.stringify(request.metadata ?? {}) !== JSON.stringify(job.metadata)
  if (kind !== 'joined' || !differs) return job
  return { ...job, warnings: [...job.warnings, { code: 'metadata_ignored', pointer: '/metadata' }] }
}

function requireProvider({ env }: Context, name: string): void {
  if (servicesOf(env).provider(name) !== undefined) return
  throw new GenerationError('provider_unavailable', `${name}: is not configured here`, { retryAfterMs: 60_000 })
}

const defaultDeadlineMs = 1_800_000

function recordOf(context: Context, request: CheckedRequest, prepared: Prepared, options: SubmitOptions): JobRecord {
  const principal = context.get('principal')
  const now = Date.now()
  const { route: chosen } = prepared
  return {
    schema_v: 1,
    id: newId('vid'),
    tenant: principal.tenant,
    subject: principal.subject ?? '',
    baseUrl: baseUrlOf(context),
    createdAt: now,
    deadlineAt: now + deadlineMs(context.req.header('cancel-after')),
    provider: prepared.provider,
    effective: prepared.effective,
    warnings: prepared.warnings,
    contentKey: prepared.contentKey,
    mode: modeOf(request),
    // Whoever posts here wants the cloud, whatever its device could do.
    routingReason: chosen.source === 'in_cloud' ? chosen.reason : 'mode_forced',
    cacheMode: request.cache?.mode ?? 'use',
    maxCost: prepared.maxCost,
    media: prepared.media,
    metadata: request.metadata ?? {},
    webhook: request.webhook ?? null,
    parentId: options.parentId ?? null,
    originalPrompt: prepared.originalPrompt,
    policyVersion: servicesOf(context.env).settings.policyVersion,
  }
}

/** @throws GenerationError invalid_header. */
export function deadlineMs(header: string | undefined): number {
  if (header === undefined) return defaultDeadlineMs
  const match = /^(\d{1,5})([sm])$/.exec(header)
  const milliseconds = Number(match?.[1]) * (match?.[2] === 'm' ? 60_000 : 1_000)
  if (milliseconds >= 30_000 && milliseconds <= 1_800_000) return milliseconds
  throw new GenerationError('invalid_header', `cancel-after: got ${header}, allowed are 30s to 30m`)
}

/** Seconds to hold the answer; undefined where none were asked for, or in no known way (RFC 7240 §2). */
export function preferredWait(header: string | undefined): number | undefined {
  const match = /(?:^|,)\s*wait=(\d{1,2})\s*(?:$|[,;])/.exec(header ?? '')
  const seconds = Number(match?.[1])
  return seconds >= 1 && seconds <= 60 ? seconds : undefined
}
