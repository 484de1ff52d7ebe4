/**
 * Replicate: its official client behind a sealed fetch, its models by the catalog, its schemas by version.
 *
 * One client per call, so that every POST is one POST. What a call came to is read from the seal's record, never from
 * the client's exceptions. Source: replicate.com/docs/reference/http.
 */

import Replicate from 'replicate'
import * as v from 'valibot'
import type { ReplicateEntry } from '../catalog/replicate.ts'
import { retryAfterMs } from '../retry-after.ts'
import { type InputSchema, mapInput } from './input.ts'
import { readPage, readPrediction, statusOf } from './prediction.ts'
import type { Attempt, Operation, Provider, StartResult } from './provider.ts'
import { type Outcome, sealedFetch } from './sealed-fetch.ts'

export interface ReplicateOptions {
  readonly token: string
  readonly entries: ReadonlyMap<string, ReplicateEntry>
  readonly schemas: SchemaCache
  readonly send: typeof globalThis.fetch
  readonly now: () => number
  readonly random: () => number
}

/** Schemas by model and version, for as long as the cache likes. */
export interface SchemaCache {
  readonly get: (name: string) => Promise<string | null>
  readonly put: (name: string, value: string) => Promise<void>
}

const timeoutMs = 30_000
const listPages = 10

/** The provider. Constructed per use; holds nothing between calls. */
export function replicateProvider(options: ReplicateOptions): Provider {
  const call = (route: string, init: CallInit, signal: AbortSignal) => sealedCall(options, route, init, signal)
  return {
    name: 'replicate',
    repeatable: false,
    pollMs: (polls) => Math.min(30_000, 10_000 + 2_000 * polls),
    start: (job, attempt, signal) => start(options, job, attempt, signal),
    status: async ({ ref }, signal) => {
      const outcome = await call(`/predictions/${encodeURIComponent(ref)}`, { method: 'GET' }, signal)
      if (outcome.kind === 'response' && outcome.status === 404) return { state: 'missing' }
      const prediction = isOk(outcome) ? readPrediction(outcome.body) : undefined
      return prediction === undefined ? { state: 'unreachable', cause: describe(outcome) } : statusOf(prediction)
    },
    cancel: async ({ ref }, signal) => {
      await call(`/predictions/${encodeURIComponent(ref)}/cancel`, { method: 'POST' }, signal)
    },
    find: (attempt, signal) => find(options, attempt, signal),
    fetchOutput: (url, signal) => {
      const { protocol, hostname, port } = new URL(url)
      const allowed = /(^|\.)replicate\.delivery$/.test(hostname) && protocol === 'https:' && port === ''
      if (!allowed) return Promise.reject(new Error(`output: its host ${hostname} is not replicate.delivery`))
      return options.send(url, { redirect: 'manual', signal })
    },
    webhookSecret: async (signal) => {
      const outcome = await call('/webhooks/default/secret', { method: 'GET' }, signal)
      if (!isOk(outcome)) throw new Error(`replicate: its webhook secret cannot be read (${describe(outcome)})`)
      return v.parse(v.object({ key: v.string() }), JSON.parse(outcome.body)).key
    },
  }
}

interface CallInit {
  readonly method: 'GET' | 'POST'
  readonly headers?: Record<string, string>
  readonly data?: object
}

async function sealedCall(
  { token, send }: ReplicateOptions,
  route: string,
  init: CallInit,
  signal: AbortSignal,
): Promise<Outcome> {
  const seal = sealedFetch(send, timeoutMs, signal)
  const client = new Replicate({ auth: token, fetch: seal.fetch, useFileOutput: false })
  try {
    await client.request(route, init)
  } catch {
    // Every failure is in the record already, in more detail.
  }
  return seal.outcome()
}

const isOk = (outcome: Outcome): outcome is Outcome & { readonly kind: 'response' } =>
  outcome.kind === 'response' && outcome.status >= 200 && outcome.status < 300

const describe = (outcome: Outcome): string => {
  if (outcome.kind === 'response') return `status ${outcome.status}`
  return outcome.kind === 'thrown' ? outcome.cause : 'nothing was sent'
}

async function start(
  options: ReplicateOptions,
  job: Parameters<Provider['start']>[0],
  attempt: Attempt,
  signal: AbortSignal,
): Promise<StartResult> {
  const entry = options.entries.get(job.model.id)
  if (entry === undefined) {
    return {
      kind: 'refused',
      error: { code: 'upstream_rejected', detail: `${job.model.id}: is no model of Replicate` },
    }
  }
  const described = await describeModel(options, entry, signal)
  if ('refused' in described) return described.refused
  const { input, warnings } = mapInput(job.effective, described.schema, entry.fixed, job.media)
  const path = entry.official ? `/models/${entry.ref}/predictions` : '/predictions'
  const minutes = Math.max(1, Math.ceil((attempt.deadline - options.now()) / 60_000))
  const outcome = await sealedCall(
    options,
    path,
    {
      method: 'POST',
      headers: { 'Cancel-After': `${minutes}m` },
      data: {
        input,
        ...(entry.official ? {} : { version: described.version }),
        ...(attempt.webhookUrl === null
          ? {}
          : { webhook: attempt.webhookUrl, webhook_events_filter: ['start', 'logs', 'completed'] }),
      },
    },
    signal,
  )
  const result = startResult(outcome, options)
  return result.kind === 'accepted' ? { ...result, warnings } : result
}

/** What the one POST came to. */
export function startResult(outcome: Outcome, { now, random }: Pick<ReplicateOptions, 'now' | 'random'>): StartResult {
  if (outcome.kind !== 'response') return { kind: 'unknown', cause: describe(outcome) }
  const { status, body, retryAfter } = outcome
  if (status >= 200 && status < 300) {
    const prediction = readPrediction(body)
    if (prediction === undefined) return { kind: 'unknown', cause: 'the answer names no prediction' }
    return { kind: 'accepted', operation: { provider: 'replicate', ref: prediction.id }, warnings: [] }
  }
  if (status === 429) {
    const error = { code: 'rate_limited', detail: 'Replicate asks us to wait' } as const
    return { kind: 'refused', error, retryAfterMs: retryAfterMs(retryAfter, now(), random()) }
  }
  if (status === 401 || status === 402 || status === 403) {
    const error = { code: 'provider_unavailable', detail: `Replicate refuses our account (status ${status})` } as const
    return { kind: 'refused', error }
  }
  if (status >= 400 && status < 500) {
    const error = { code: 'upstream_rejected', detail: `Replicate refuses the input: ${body.slice(0, 300)}` } as const
    return { kind: 'refused', error }
  }
  return { kind: 'unknown', cause: `status ${status}` }
}

const modelSchema = v.object({
  latest_version: v.nullish(v.object({ id: v.string(), openapi_schema: v.optional(v.unknown()) })),
})
const versionSchema = v.object({ id: v.string(), openapi_schema: v.optional(v.unknown()) })

interface Described {
  readonly version: string
  readonly schema: InputSchema
}

async function describeModel(
  options: ReplicateOptions,
  entry: ReplicateEntry,
  signal: AbortSignal,
): Promise<Described | { readonly refused: StartResult }> {
  const name = `replicate-schema:${entry.ref}:${entry.version ?? 'latest'}`
  const known = await options.schemas.get(name)
  if (known !== null) return JSON.parse(known) as Described
  const path = entry.version === undefined ? `/models/${entry.ref}` : `/models/${entry.ref}/versions/${entry.version}`
  const outcome = await sealedCall(options, path, { method: 'GET' }, signal)
  if (!isOk(outcome)) return { refused: unavailable(options, outcome) }
  const described = readDescription(outcome.body)
  if (described === undefined) return { refused: unavailable(options, outcome) }
  await options.schemas.put(name, JSON.stringify(described))
  return described
}

/** Nothing was posted, so trying later is safe. */
function unavailable(options: ReplicateOptions, outcome: Outcome): StartResult {
  const status = outcome.kind === 'response' ? outcome.status : 0
  const error = { code: 'provider_unavailable', detail: `Replicate: no schema (${describe(outcome)})` } as const
  if ([401, 402, 403, 404].includes(status)) return { kind: 'refused', error }
  const header = outcome.kind === 'response' ? outcome.retryAfter : null
  return { kind: 'refused', error, retryAfterMs: retryAfterMs(header, options.now(), options.random()) }
}

function readDescription(body: string): Described | undefined {
  try {
    const data: unknown = JSON.parse(body)
    const model = v.safeParse(modelSchema, data)
    const version =
      model.success && model.output.latest_version ? model.output.latest_version : v.parse(versionSchema, data)
    return { version: version.id, schema: inputSchemaOf(version.openapi_schema) }
  } catch {
    return undefined
  }
}

const propertySchema = v.object({
  type: v.fallback(v.optional(v.string()), undefined),
  minimum: v.fallback(v.optional(v.number()), undefined),
  maximum: v.fallback(v.optional(v.number()), undefined),
  enum: v.fallback(v.optional(v.array(v.union([v.string(), v.number()]))), undefined),
  allOf: v.fallback(v.optional(v.array(v.object({ $ref: v.string() }))), undefined),
})
const openApiSchema = v.object({
  components: v.object({
    schemas: v.intersect([
      v.record(v.string(), v.unknown()),
      v.object({ Input: v.object({ properties: v.record(v.string(), v.unknown()) }) }),
    ]),
  }),
})

/** The input's properties, enumerations looked up where they are referred to. */
export function inputSchemaOf(document: unknown): InputSchema {
  const { schemas } = v.parse(openApiSchema, document).components
  const { Input } = schemas as { readonly Input: { readonly properties: Record<string, unknown> } }
  return Object.fromEntries(
    Object.entries(Input.properties).flatMap(([name, raw]) => {
      const property = v.safeParse(propertySchema, raw)
      if (!property.success) return []
      const { allOf, ...own } = property.output
      const reference = allOf?.[0]?.$ref.split('/').at(-1)
      const target = reference === undefined ? undefined : (schemas as Record<string, unknown>)[reference]
      const referred = v.safeParse(propertySchema, target)
      return [
        [name, { ...own, ...(referred.success ? { enum: referred.output.enum, type: referred.output.type } : {}) }],
      ]
    }),
  ) as InputSchema
}

/** Looks for an attempt of unknown outcome among what was created since shortly before it. */
async function find(
  options: ReplicateOptions,
  attempt: Attempt,
  signal: AbortSignal,
): Promise<Operation | 'absent' | 'unsupported' | 'unreachable'> {
  if (attempt.webhookUrl === null) return 'unsupported'
  let route: string | null = '/predictions'
  for (let page = 0; page < listPages && route !== null; page++) {
    const outcome: Outcome = await sealedCall(options, route, { method: 'GET' }, signal)
    const read = isOk(outcome) ? readPage(outcome.body) : undefined
    if (read === undefined) return 'unreachable'
    const match = read.predictions.find(({ webhook }) => webhook === attempt.webhookUrl)
    if (match !== undefined) return { provider: 'replicate', ref: match.id }
    const oldest = Date.parse(read.predictions.at(-1)?.created_at ?? '')
    route = oldest < attempt.storedAt - 5_000 ? null : nextRoute(read.next)
  }
  return 'absent'
}

/** The next page's path on the host we chose, whatever host the answer names. */
function nextRoute(next: string | null): string | null {
  if (next === null) return null
  const cursor = new URL(next, 'https://api.replicate.com').searchParams.get('cursor')
  return cursor === null ? null : `/predictions?cursor=${encodeURIComponent(cursor)}`
}
