/**
 * A run in two places: some rows of its plan here and the others at the service, or a draft here that is drawn over there.
 *
 * What travels is latents with their envelope. From the service they come signed and are held to the request before the
 * device goes on; from here they go as an asset, which the service checks and countersigns. Both sides draw their noise
 * from the seed, so the two halves do what the whole would. A batch is handed over one by one: output *i* has seed + *i*.
 */

import * as v from 'valibot'
import { type CatalogModel, catalogModelOf, catalogSchema } from '../shared/catalog.ts'
import { type EffectiveVideo, resolveRequest } from '../shared/effective.ts'
import { checkLatents } from '../shared/envelope.ts'
import { GenerationError } from '../shared/errors.ts'
import { envelopeFor, floatsOf, latentShapeOf, renoised, requireHandoff } from '../shared/handoff.ts'
import type { ModelCard } from '../shared/manifest.ts'
import { rowsOf } from '../shared/plan.ts'
import { type LatentEnvelope, latentEnvelopeSchema, parseRequest } from '../shared/request.ts'
import { uploadAsset } from './assets.ts'
import type { ClientEvent, JobState, Output, UnnumberedEvent, VideoRequest } from './events.ts'
import { sha256 } from './hash.ts'
import { type Service, request as send } from './http.ts'
import { generateLocally, type LocalRun, type Threads } from './local.ts'
import type { Handover } from './making.ts'
import { snakeCase } from './names.ts'
import { generateRemotely } from './remote.ts'

/** How a run is shared out. `step` counts rows of the plan that are done when it changes places. */
export type Hybrid =
  /** The service begins and the device ends; with all rows done there, the device only decodes. */
  | { readonly first: 'in_cloud'; readonly step: number }
  /** The device begins and the service ends. */
  | { readonly first: 'on_device'; readonly step: number }
  /**
   * The device makes a clip of its own, shown at once, and the service draws it over from where noise of this strength
   * belongs: 1 is all of its plan, and nothing of the draft is left.
   */
  | {
      readonly first: 'draft'
      /** The device's model, of one family with the request's; the request's own when left out. */
      readonly model?: string
      /** 0…1, 0.6 when left out. */
      readonly strength?: number
    }

export interface HybridRun {
  readonly threads: Threads
  readonly service: Service
  readonly run: LocalRun
  /** Of the model that runs here. */
  readonly card: ModelCard
  readonly hybrid: Hybrid
  readonly idempotencyKey: string
}

/** Runs a request in two places. Throws GenerationError; an abort has code `aborted` and stops the half that runs. */
export async function* generateHybrid(sent: HybridRun, signal: AbortSignal): AsyncGenerator<ClientEvent> {
  // Drawn before anything is sent, so that both places have the same noise.
  const seed = sent.run.request.seed ?? (crypto.getRandomValues(new Uint32Array(1))[0] as number)
  const whole = { ...sent, run: { ...sent.run, request: { ...sent.run.request, seed } } }
  let seq = 0
  const { hybrid } = sent
  const events =
    hybrid.first === 'in_cloud' ? cloudFirst(whole, hybrid.step, signal) : deviceFirst(whole, hybrid, signal)
  for await (const event of events) yield { seq: ++seq, ...event } as ClientEvent
}

type Half = AsyncGenerator<UnnumberedEvent>
type DeviceFirst = Exclude<Hybrid, { first: 'in_cloud' }>

/** Of a whole run's progress a half is a share: rows come before nine tenths of it. */
const share = (event: Extract<UnnumberedEvent, { type: 'progress' }>, from: number, to: number): UnnumberedEvent => ({
  ...event,
  value: from + (to - from) * event.value,
})

async function* cloudFirst(sent: HybridRun, step: number, signal: AbortSignal): Half {
  const { threads, service, run, card, idempotencyKey } = sent
  const model = catalogModelOf(card)
  const { effective } = resolved(run.request, model)
  const { outputFormat: _, ...request } = run.request
  const body: VideoRequest = { ...request, model: card.id, stopStep: step, outputFormat: 'latents' }
  const reached = (0.9 * step) / rowsIn(model, effective)
  const outputs: Output[] = []
  let there: JobState | undefined
  for await (const { seq: __, ...event } of generateRemotely(service, body, idempotencyKey, signal)) {
    if (event.type === 'status') there = event.job
    if (event.type === 'output') outputs.push(event.output)
    else if (event.type === 'progress') yield share(event, 0, reached)
    else if (event.type === 'warning' || event.type === 'preview') yield event
    else if (event.type === 'status' && event.job.status !== 'completed') yield asOne(event.job, run)
  }
  const from: Handover[] = []
  for (const output of outputs.sort((one, other) => one.index - other.index)) {
    const { bytes, envelope } = await fetchedLatents(service, output, signal)
    requireHandoff(envelope, { ...effective, n: 1, seed: seedAt(effective, output.index) }, model)
    from.push({ data: floatsOf(bytes, envelope.dtype), step: envelope.step })
  }
  for await (const { seq: __, ...event } of generateLocally(threads, { ...run, from }, signal)) {
    if (event.type === 'status') yield asOne(joined(event.job, there), run)
    else if (event.type === 'progress') yield { ...event, inferenceSource: 'hybrid' }
    else yield event
  }
}

/** The latents of an output with what they are. Only the service can have sent them, so their bytes are what is checked. */
async function fetchedLatents(service: Service, { url }: Output, signal: AbortSignal) {
  const answer = await send(service, url, {}, signal)
  const told = v.safeParse(
    v.pipe(v.string(), v.parseJson(), latentEnvelopeSchema),
    answer.headers.get('zoetrope-latent') ?? '',
  )
  if (!told.success) throw new GenerationError('upstream_error', 'latents: got no envelope with them; ask again')
  const bytes = new Uint8Array(await answer.arrayBuffer())
  await checkLatents(told.output, bytes)
  return { bytes, envelope: told.output }
}

async function* deviceFirst(sent: HybridRun, hybrid: DeviceFirst, signal: AbortSignal): Half {
  const { threads, service, run, card } = sent
  const { model: asked } = run.request
  // A draft is drawn over by the model that was asked for; half a run is one model's.
  const target = hybrid.first === 'draft' ? await modelThere(service, asked, signal) : catalogModelOf(card)
  const { effective } = resolved({ ...run.request, model: target.id }, target)
  const rows = rowsIn(target, effective)
  const step = hybrid.first === 'draft' ? draftStep(rows, hybrid) : hybrid.step
  const reached = hybrid.first === 'draft' ? 0.5 : (0.9 * step) / rows
  const half = halfOf(effective, card.id, hybrid.first === 'draft' ? undefined : step)
  const latents: Output[] = []
  for await (const { seq: _, ...event } of generateLocally(threads, { ...run, request: half }, signal)) {
    if (event.type === 'output') latents.push(event.output)
    else if (event.type === 'progress') yield share(event, 0, reached)
    else if (event.type !== 'status') yield event
    else if (event.job.status !== 'completed') yield asOne({ ...event.job, model: target.id }, run)
  }
  yield* drawnOn(sent, latents, { target, effective, step, reached, clean: hybrid.first === 'draft' }, signal)
}

/** What the device is asked for: the rows before `stop`, or a whole clip by its own model's dials. */
function halfOf(effective: EffectiveVideo, model: string, stop: number | undefined): VideoRequest {
  const { prompt, negative_prompt: negativePrompt, seed, n, num_frames: numFrames } = effective
  const size = `${effective.width}x${effective.height}`
  const clip: VideoRequest = { model, prompt, negativePrompt, seed, n, size, numFrames, outputFormat: 'latents' }
  if (stop === undefined) return clip
  const { num_inference_steps: steps, guidance_scale: guidance, scheduler } = effective
  return {
    ...clip,
    stopStep: stop,
    ...(steps === null ? {} : { numInferenceSteps: steps }),
    ...(guidance === null ? {} : { guidanceScale: guidance }),
    ...(scheduler === null ? {} : { scheduler }),
  }
}

interface Onward {
  readonly target: CatalogModel
  readonly effective: EffectiveVideo
  readonly step: number
  readonly reached: number
  /** Whether the latents are a finished clip's and want noise first. */
  readonly clean: boolean
}

/** The service's half: a job for each output, made into one. */
async function* drawnOn(
  { service, run, idempotencyKey }: HybridRun,
  latents: readonly Output[],
  { target, effective, step, reached, clean }: Onward,
  signal: AbortSignal,
): Half {
  const of = latents.length
  let whole: JobState | undefined
  for (const output of latents) {
    const { index } = output
    URL.revokeObjectURL(output.url)
    const one = { ...effective, n: 1, seed: seedAt(effective, index) }
    const begun = new Uint8Array(await (output.blob as Blob).arrayBuffer())
    const bytes = clean ? renoised(begun, target, one, step) : begun
    const envelope = await envelopeOf(bytes, target, one, step)
    const initLatent = await uploadAsset(
      service,
      { kind: 'latent', bytes, contentType: 'application/octet-stream' },
      signal,
    )
    const body: VideoRequest = { ...run.request, model: target.id, n: 1, seed: one.seed, initLatent, envelope }
    const [from, to] = [reached + ((1 - reached) * index) / of, reached + ((1 - reached) * (index + 1)) / of]
    const key = index === 0 ? idempotencyKey : `${idempotencyKey}-${index}`
    for await (const { seq: _, ...event } of generateRemotely(service, body, key, signal)) {
      if (event.type === 'progress') yield share({ ...event, inferenceSource: 'hybrid' }, from, to)
      else if (event.type === 'output') yield { ...event, output: { ...event.output, index } }
      else if (event.type !== 'status') yield event
      else if (event.job.status === 'completed') whole = batched(whole, event.job, index)
    }
  }
  if (whole !== undefined)
    yield asOne({ ...whole, seed: effective.seed, effective: { ...whole.effective, n: of } }, run)
}

const envelopeOf = async (
  bytes: Uint8Array<ArrayBuffer>,
  model: CatalogModel,
  request: EffectiveVideo,
  step: number,
): Promise<LatentEnvelope> =>
  envelopeFor({
    ...{ model, request, step, dtype: 'f32', bytes: bytes.length, now: Date.now(), expiresAt: Date.now() + dayMs },
    shape: latentShapeOf(model, request),
    rows: rowsOf(model.latents?.plan ?? 'cosine', request),
    sha256: await sha256(bytes),
    promptSha256: await sha256(new TextEncoder().encode(request.prompt)),
  })

const dayMs = 86_400_000

const resolved = (request: VideoRequest, model: CatalogModel) =>
  resolveRequest(parseRequest(snakeCase(request)), { ...model, outputs: [...model.outputs, 'webm'] }, { seed: 0 })

const rowsIn = ({ latents }: CatalogModel, effective: EffectiveVideo): number =>
  rowsOf(latents?.plan ?? 'cosine', effective).length

const seedAt = ({ seed }: EffectiveVideo, index: number): number => (seed + index) % 2 ** 32

/** The row whose noise is the strength's: at least one is left to draw, and one of the draft is kept. */
const draftStep = (rows: number, { strength = 0.6 }: Extract<Hybrid, { first: 'draft' }>): number =>
  Math.min(rows - 1, Math.max(1, Math.round(rows * (1 - strength))))

async function modelThere(service: Service, id: string | undefined, signal: AbortSignal): Promise<CatalogModel> {
  const { data, default_model: standard } = v.parse(
    catalogSchema,
    await (await send(service, 'v1/models', {}, signal)).json(),
  )
  const model = data.find((each) => each.id === (id ?? standard))
  if (model?.latents) return model
  const fit = data.flatMap((each) => (each.latents === null ? [] : [each.id]))
  throw new GenerationError(
    'unsupported_capability',
    `model: got ${id ?? standard}, a draft can be drawn over by ${fit.join(', ') || 'none of this service'}`,
  )
}

/** The caller sees one job, whatever its halves are called where they run. */
const asOne = (job: JobState, { id, inferenceMode, routingReason }: LocalRun): UnnumberedEvent => ({
  type: 'status',
  job: { ...job, id, inferenceMode, routingReason, inferenceSource: 'hybrid' },
})

/** The device's job with what the service's half cost. */
const joined = (job: JobState, there: JobState | undefined): JobState => ({
  ...job,
  usage: { ...job.usage, costUsd: there?.usage.costUsd ?? '0', gpuMs: there?.usage.gpuMs ?? 0 },
})

function batched(before: JobState | undefined, job: JobState, index: number): JobState {
  const outputs = [...(before?.outputs ?? []), ...job.outputs.map((output) => ({ ...output, index }))]
  const { usage } = job
  const costUsd = (Number(before?.usage.costUsd ?? 0) + Number(usage.costUsd)).toFixed(6)
  return { ...job, outputs, usage: { ...usage, costUsd, gpuMs: (before?.usage.gpuMs ?? 0) + usage.gpuMs } }
}
