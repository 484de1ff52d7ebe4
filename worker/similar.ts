/**
 * Beginning from what a similar request left: whether a request may, what it is found by, and what it becomes.
 *
 * Two prompts are as alike as the cosine of their pooled embeddings. Model, shape, schedule, guidance and seed must be
 * equal; then the latents of the one after half the plan are a start for the other, which runs the rest with its own
 * prompt. Who asks for it also leaves latents for others of the same subject. Its result is stored under a key that no
 * exact request can have.
 */

import * as v from 'valibot'
import type { CatalogModel } from '../shared/catalog.ts'
import type { EffectiveVideo, Warning } from '../shared/effective.ts'
import { checkLatents } from '../shared/envelope.ts'
import { GenerationError } from '../shared/errors.ts'
import { factsOf } from '../shared/handoff.ts'
import { pooled } from '../shared/likeness.ts'
import { cuts, rowsOf } from '../shared/plan.ts'
import { type CheckedRequest, latentEnvelopeSchema } from '../shared/request.ts'
import { sha256, utf8 } from './bytes.ts'
import { promptTensor } from './embeddings.ts'
import type { Env } from './env.ts'
import { readLimited } from './json.ts'
import {
  accountOf,
  type JobRecord,
  type KeptLatents,
  type NeighbourEntry,
  type SimilarStart,
} from './objects/contract.ts'
import { costOf } from './pricing.ts'
import type { Provider, ProviderLatents } from './providers/provider.ts'

/** What a caller is told of a start. */
export const similarityOf = ({ job, score, latents }: SimilarStart) => ({ job, score, step: latents.step })

/** What a job's executor is asked for: the request, or what is left of it after a similar start. */
export function dispatchedOf({ effective, similar }: Pick<JobRecord, 'effective' | 'similar'>): EffectiveVideo {
  return similar === undefined ? effective : { ...effective, init_latent: similar.key, envelope: similar.latents }
}

/** Exact keys hold no dot. */
const similarKey = (exact: string, { latents }: KeptLatents): string => `${exact}.${latents.sha256}.${latents.step}`

/** Fields that a start would have to share, or that have a start of their own. */
const own = [
  'frame_images',
  'video',
  'audio',
  'input_references',
  'control',
  'loras',
  'interpolate',
  'upscale',
  'generate_audio',
  'draft',
  'init_latent',
  'stop_step',
  'provider_options',
] as const satisfies readonly (keyof EffectiveVideo)[]

/** Rows after which latents are kept and begun from: half the plan, or the last place before it can be cut. */
export function sharedStep({ latents }: CatalogModel, effective: EffectiveVideo): number | undefined {
  if (latents === null || effective.n > 1 || own.some((field) => effective[field] !== undefined)) return undefined
  const rows = rowsOf(latents.plan, effective)
  return cuts(rows).findLast((step) => 2 * step <= rows.length)
}

export interface Likeness {
  /** Under what the request's own run can be found. */
  readonly entry: NeighbourEntry | null
  readonly keepStep?: number
  /** The likest run there is. */
  readonly start: SimilarStart | null
  readonly warnings: readonly Warning[]
}

export interface LikenessOf {
  readonly tenant: string
  readonly subject: string
  readonly request: CheckedRequest
  readonly effective: EffectiveVideo
  readonly model: CatalogModel
  readonly provider: Provider | undefined
  readonly policyVersion: string
}

type Cache = NonNullable<CheckedRequest['cache']>

/** Of a request that did not ask, or whose result is there. */
export const unlike: Likeness = { entry: null, start: null, warnings: [] }
/** A node that is busy is not waited for. */
const embedMs = 3_000

/** What there is for a request that asks for it. Fails for none: without embeddings it is a request like any other. */
export async function likenessOf(env: Env, asked: LikenessOf, cache: Cache): Promise<Likeness> {
  const step = sharedStep(asked.model, asked.effective)
  const embed = asked.provider?.embed
  if (step === undefined || embed === undefined) return { ...unlike, warnings: [told('similar_unsupported')] }
  try {
    const { tenant, model, effective } = asked
    const wanted = { model: model.id, prompt: effective.prompt, dtype: 'f16' } as const
    const tensor = await promptTensor(env, tenant, model, embed, wanted, AbortSignal.timeout(embedMs))
    const promptSha256 = await sha256(utf8(effective.prompt))
    const entry = { space: await spaceOf(asked, step), promptSha256, vector: pooled(tensor) }
    const start = cache.mode === 'use' ? await startOf(env, asked, entry, cache.min_score) : null
    return { entry, keepStep: step, start, warnings: [] }
  } catch (error) {
    if (!(error instanceof GenerationError)) throw error
    return { ...unlike, warnings: [told('similar_unavailable', error.message)] }
  }
}

const told = (code: string, message?: string): Warning => ({
  ...{ code, pointer: '/cache/similar', requested: true, effective: false },
  ...(message === undefined ? {} : { message }),
})

const startOf = (env: Env, { tenant, subject, request }: LikenessOf, entry: NeighbourEntry, minScore: number) =>
  accountOf(env, tenant).neighbour({ ...entry, subject, seed: request.seed ?? null, minScore, now: Date.now() })

/** Everything besides prompt and seed that decides the latents after a step, as one name. */
function spaceOf({ effective, model, policyVersion }: LikenessOf, step: number): Promise<string> {
  const { negative_prompt, width, height, num_frames, num_inference_steps, scheduler } = effective
  const { guidance_scale, guidance_scale_2 = null, flow_shift = null } = effective
  const made = [policyVersion, model.providers[0] ?? '', model.id, model.revision, model.weights_sha256]
  const shape = [width, height, num_frames]
  const schedule = [num_inference_steps, scheduler, flow_shift, step]
  const guided = [negative_prompt, guidance_scale, guidance_scale_2]
  return sha256(utf8(JSON.stringify([made, shape, schedule, guided])))
}

/** A job as it becomes where it begins from what is similar. @param keyOf the exact key of a request. */
export async function similarRecord(
  record: JobRecord,
  start: SimilarStart,
  model: CatalogModel,
  keyOf: (effective: EffectiveVideo) => Promise<string>,
): Promise<JobRecord> {
  const { keepStep: _, ...plain } = record
  const effective = { ...record.effective, seed: Number(start.latents.seed) }
  const similar = { ...plain, effective, similar: start, contentKey: similarKey(await keyOf(effective), start) }
  return { ...similar, maxCost: costOf(model, dispatchedOf(similar)) }
}

/** Stores what a run left on its way. It is extra: what is not as it should be is left, and the job is none the worse. */
export async function storeKept(
  { url, envelope: told }: ProviderLatents,
  env: Env,
  { tenant, keepStep }: JobRecord,
  provider: Provider,
): Promise<KeptLatents | null> {
  try {
    const envelope = v.parse(latentEnvelopeSchema, told)
    const { tenant: _, ...facts } = envelope
    if (envelope.step !== keepStep) throw new Error(`kept after step ${envelope.step}, asked for ${keepStep}`)
    const answer = await provider.fetchOutput(url, AbortSignal.timeout(storeMs))
    if (answer.status !== 200) throw new Error(`the node answers ${answer.status}`)
    const bytes = await readLimited(answer.body, envelope.bytes)
    await checkLatents(facts, bytes)
    const key = `t/${tenant}/${envelope.sha256}`
    await env.BUCKET.put(key, bytes, { sha256: envelope.sha256 })
    return { key, latents: factsOf(envelope) }
  } catch (error) {
    console.warn('similar: what a run left is not kept', error)
    return null
  }
}

const storeMs = 30_000
