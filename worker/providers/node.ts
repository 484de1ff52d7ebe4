/**
 * Our own GPU node: Replicate's API with one addition, a PUT under our own id that may be repeated at will.
 *
 * So an outcome nobody saw is settled by asking again, and listing is never needed. Reached by service binding, or by
 * a configured address; in both cases with a bearer token.
 */

import * as v from 'valibot'
import type { EffectiveVideo } from '../../shared/effective.ts'
import type { LatentFacts } from '../../shared/handoff.ts'
import { retryAfterMs } from '../retry-after.ts'
import { readPrediction, statusOf } from './prediction.ts'
import type { Attempt, Provider, ProviderJob, StartResult } from './provider.ts'
import { type Outcome, sealedFetch } from './sealed-fetch.ts'

export interface NodeOptions {
  /** Where the node's API begins, for example http://127.0.0.1:8788/v1. */
  readonly baseUrl: string
  readonly token: string
  readonly send: typeof globalThis.fetch
  readonly now: () => number
  readonly random: () => number
}

const timeoutMs = 30_000

type Call = (path: string, init: RequestInit, signal: AbortSignal) => Promise<Outcome>

/** The provider. */
export function nodeProvider(options: NodeOptions): Provider {
  const call: Call = (path, init, signal) => nodeCall(options, path, init, signal)
  return {
    name: 'node',
    repeatable: true,
    pollMs: (polls) => Math.min(5_000, 250 * 1.5 ** Math.min(polls, 10)),
    start: async (job, attempt, signal) => {
      const uploaded = await uploadLatents(call, job, signal)
      if (uploaded !== undefined && !isOk(uploaded)) return startResult(uploaded, attempt, options)
      const outcome = await call(
        `/predictions/${predictionId(attempt)}`,
        {
          method: 'PUT',
          headers: { 'cancel-after': cancelAfter(attempt, options.now()) },
          body: bodyOf(options, job, attempt),
        },
        signal,
      )
      return startResult(outcome, attempt, options)
    },
    status: async ({ ref }, signal) => {
      const outcome = await call(`/predictions/${encodeURIComponent(ref)}`, {}, signal)
      if (outcome.kind === 'response' && outcome.status === 404) return { state: 'missing' }
      const prediction = isOk(outcome) ? readPrediction(outcome.body) : undefined
      return prediction === undefined ? { state: 'unreachable', cause: describe(outcome) } : statusOf(prediction)
    },
    cancel: async ({ ref }, signal) => {
      await call(`/predictions/${encodeURIComponent(ref)}/cancel`, { method: 'POST' }, signal)
    },
    find: async () => 'unsupported',
    fetchOutput: (url, signal) => {
      const address = new URL(url, options.baseUrl)
      if (address.origin !== new URL(options.baseUrl).origin) {
        return Promise.reject(new Error(`output: its host ${address.host} is not the node's`))
      }
      return options.send(address.href, { redirect: 'manual', signal, headers: authorization(options) })
    },
    webhookSecret: async (signal) => {
      const outcome = await call('/webhooks/default/secret', {}, signal)
      if (!isOk(outcome)) throw new Error(`node: its webhook secret cannot be read (${describe(outcome)})`)
      return v.parse(v.object({ key: v.string() }), JSON.parse(outcome.body)).key
    },
    queue: async (signal) => {
      const outcome = await call('/node', {}, signal)
      return isOk(outcome) ? waitingOf(outcome.body) : null
    },
    embed: (request, signal) =>
      options.send(`${options.baseUrl}/embeddings/prompt`, {
        method: 'POST',
        body: JSON.stringify(request),
        headers: { ...authorization(options), 'content-type': 'application/json' },
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      }),
  }
}

/** The same for every repetition of one attempt. */
const predictionId = ({ jobId, number }: Attempt): string => `${jobId}-${number}`

const authorization = ({ token }: NodeOptions): Record<string, string> =>
  token === '' ? {} : { authorization: `Bearer ${token}` }

const cancelAfter = ({ deadline }: Attempt, now: number): string =>
  `${Math.max(30, Math.min(1800, Math.ceil((deadline - now) / 1000)))}s`

/** Must come out the same at every repetition, byte for byte: the node refuses a differing body under one id. */
function bodyOf({ baseUrl }: NodeOptions, { model, effective, keepStep }: ProviderJob, attempt: Attempt): string {
  const kept = keepStep === undefined ? {} : { keep_step: keepStep }
  return JSON.stringify({
    version: `zoetrope/${model.id}`,
    input: { ...nodeInput(effective, baseUrl), ...kept },
    ...(attempt.webhookUrl === null
      ? {}
      : { webhook: attempt.webhookUrl, webhook_events_filter: ['start', 'output', 'logs', 'completed'] }),
  })
}

/** The request in the wire's own words; the node reads the same schema. */
function nodeInput(effective: EffectiveVideo, baseUrl: string): Record<string, unknown> {
  const { model: _, revision: __, width, height, init_latent: ___, provider_options: ____, ...fields } = effective
  const { envelope } = effective
  const latents = envelope === undefined ? {} : { init_latent: `${baseUrl}${fileOf(envelope)}` }
  const input = { ...fields, ...latents, size: `${width}x${height}` }
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== null))
}

/** Named by its bytes, so that it may be sent again at will and is the same file. */
const fileOf = ({ sha256 }: LatentFacts): string => `/files/sha256-${sha256}`

/** The node fetches from nowhere: what a run begins from is brought to it first. */
async function uploadLatents(call: Call, job: ProviderJob, signal: AbortSignal): Promise<Outcome | undefined> {
  const { envelope, init_latent: asset } = job.effective
  if (envelope === undefined || asset === undefined) return undefined
  const headers = { 'content-type': 'application/octet-stream' }
  return call(fileOf(envelope), { method: 'PUT', headers, body: await job.open(asset) }, signal)
}

async function nodeCall(options: NodeOptions, path: string, init: RequestInit, signal: AbortSignal): Promise<Outcome> {
  const seal = sealedFetch(options.send, timeoutMs, signal)
  const headers = { ...authorization(options), 'content-type': 'application/json', ...(init.headers as object) }
  await seal.fetch(`${options.baseUrl}${path}`, { ...init, headers })
  return seal.outcome()
}

const isOk = (outcome: Outcome): outcome is Outcome & { readonly kind: 'response' } =>
  outcome.kind === 'response' && outcome.status >= 200 && outcome.status < 300

const count = v.pipe(v.number(), v.integer(), v.minValue(0))
const occupancySchema = v.object({ slots: count, busy: count, waiting: count })

/** Who comes while a slot is free waits for nobody. */
function waitingOf(body: string): number | null {
  const told = v.safeParse(v.pipe(v.string(), v.parseJson(), occupancySchema), body)
  if (!told.success) return null
  const { slots, busy, waiting } = told.output
  return busy < slots ? 0 : waiting
}

const problemSchema = v.object({ code: v.string() })

function readProblem(body: string): string | undefined {
  const problem = v.safeParse(v.pipe(v.string(), v.parseJson(), problemSchema), body)
  return problem.success ? problem.output.code : undefined
}

const describe = (outcome: Outcome): string => {
  if (outcome.kind === 'response') return `status ${outcome.status}`
  return outcome.kind === 'thrown' ? outcome.cause : 'nothing was sent'
}

function startResult(outcome: Outcome, attempt: Attempt, { now, random }: NodeOptions): StartResult {
  if (outcome.kind !== 'response') return { kind: 'unknown', cause: describe(outcome) }
  const { status, body, retryAfter } = outcome
  if (isOk(outcome))
    return { kind: 'accepted', operation: { provider: 'node', ref: predictionId(attempt) }, warnings: [] }
  // All slots busy is no failure of the job: it waits its turn here.
  if (status === 409 || status === 429) {
    const error = { code: 'rate_limited', detail: 'the node is busy' } as const
    return { kind: 'refused', error, retryAfterMs: retryAfterMs(retryAfter ?? '1', now(), random()) }
  }
  if (status === 401 || status === 403) {
    const error = { code: 'provider_unavailable', detail: `the node refuses us (status ${status})` } as const
    return { kind: 'refused', error }
  }
  if (status >= 400 && status < 500) {
    // Of what a caller sends, latents alone are judged here by what only the node knows.
    const code = readProblem(body) === 'latent_mismatch' ? 'latent_mismatch' : 'upstream_rejected'
    return { kind: 'refused', error: { code, detail: `the node: ${body.slice(0, 300)}` } }
  }
  return { kind: 'unknown', cause: `status ${status}` }
}
