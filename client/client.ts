/**
 * The client over what it is given: engines, a service, a probe of the device. Decides where a request runs and runs it.
 *
 * Whether in one place or in two, a run is the same call with the same events. Knows neither page nor network.
 */

import type { Picture } from '../models/pipeline/first-frame.ts'
import { GenerationError } from '../shared/errors.ts'
import type { DeviceReport, InferenceMode } from '../shared/request.ts'
import type { Route } from '../shared/routing.ts'
import { uploadAsset } from './assets.ts'
import { embeddedTexts } from './embeddings.ts'
import type { ModelState } from './engine.ts'
import type { EngineThread } from './engine-thread.ts'
import type { ClientEvent, JobState, VideoRequest } from './events.ts'
import { type Service, request as send } from './http.ts'
import { generateHybrid, type Hybrid } from './hybrid.ts'
import { followed, type Job } from './job.ts'
import { generateLocally, type LocalRun, prefetchLocally, type Threads } from './local.ts'
import { camelCase, snakeCase } from './names.ts'
import { pngOf, readPicture } from './picture.ts'
import { createRemotely, followRemotely, generateRemotely, jobAt } from './remote.ts'
import { nowhere, routeRequest } from './router.ts'
import { generateSpeculatively } from './speculation.ts'

export interface CreateOptions {
  /** An abort cancels the job. */
  readonly signal?: AbortSignal
  /** One is made when left out. */
  readonly idempotencyKey?: string
  /**
   * A run in two places. Where only one of them can take part, the run is whole there, and the job's `routingReason`
   * says why.
   */
  readonly hybrid?: Hybrid
  /**
   * Who turns the prompt into embeddings for a run on this device. By default a service does it, if there is one, where
   * a model's text encoder is too large to be fetched, and the device otherwise.
   */
  readonly textEncoder?: 'on_device' | 'in_cloud'
  /**
   * A picture that the clip begins with; its middle where it has other proportions. The last frame of a clip extends it.
   * In the cloud only models take it that list `first_frame`.
   */
  readonly firstFrame?: ImageBitmapSource
}

export interface PrefetchOptions {
  readonly signal?: AbortSignal
  /** Bytes here and in all. */
  readonly onProgress?: (received: number, total: number) => void
  /** Whether it is rehearsed, too, which takes about as long as a clip; it is when left out. */
  readonly rehearse?: boolean
}

/** What came of fetching a model ahead. */
export interface Prefetched {
  /** Whether its weights stay on this device. False where there is no room: it is ready, for as long as the page is. */
  readonly kept: boolean
}

export interface Client extends Disposable {
  readonly device: {
    /** What this machine offers. */
    readonly probe: () => Promise<DeviceReport>
  }
  readonly videos: {
    /** Routes a request and starts it. @throws GenerationError where it may run nowhere or is refused. */
    readonly create: (request: VideoRequest, options?: CreateOptions) => Promise<Job>
    /** Where a request would run, and why; nothing is started. */
    readonly route: (request: VideoRequest, options?: Pick<CreateOptions, 'hybrid'>) => Promise<Route>
    /** What the service would take for it. */
    readonly quote: (request: VideoRequest) => Promise<unknown>
    /** Follows a job of the service: after a reload, or from another device. */
    readonly attach: (id: string, options?: Pick<CreateOptions, 'signal'>) => Promise<Job>
  }
  readonly models: {
    /** The models of this page. */
    readonly list: () => Promise<readonly ModelState[]>
    /**
     * Downloads a model and rehearses it, so that the next run begins at once and a route knows how long it takes. A cut
     * download goes on where it was cut.
     */
    readonly prefetch: (id: string, options?: PrefetchOptions) => Promise<Prefetched>
    /** Frees the space of a model's weights. */
    readonly remove: (id: string) => Promise<void>
  }
}

export interface Surroundings {
  readonly threads: Threads
  readonly service: Service | undefined
  readonly probe: () => Promise<DeviceReport>
  /** Where a request may run that does not say so itself. */
  readonly inferenceMode: InferenceMode
}

export function clientOver({ threads, service, probe, inferenceMode }: Surroundings): Client {
  const thread = () => threads.get(threads.first)
  const listed = () => (service === undefined ? thread().models(forever()) : listedIfAny(thread))
  const routed = async (request: VideoRequest, hybrid: Hybrid | undefined) => {
    const mode = request.inferenceMode ?? inferenceMode
    const [models, device] = await Promise.all([mode === 'only_in_cloud' ? [] : listed(), probe()])
    const drawing = hybrid?.first === 'draft' ? (hybrid.model ?? request.model) : request.model
    const told = models.find(({ card, standard }) => (drawing === undefined ? standard : card.id === drawing))
    const situation = { mode, models, device, cloud: service !== undefined }
    return { mode, told, route: routeRequest(request, situation, hybrid) }
  }
  return {
    device: { probe },
    videos: {
      create: async (
        request,
        { signal, idempotencyKey = crypto.randomUUID(), hybrid, textEncoder, firstFrame } = {},
      ) => {
        if (hybrid !== undefined && firstFrame !== undefined) throw splitPicture()
        const { mode, told, route } = await routed(request, hybrid)
        if (route.source === null) throw nowhere(route, mode)
        const picture = firstFrame === undefined ? undefined : await readPicture(firstFrame)
        const decided = { threads, service, request, told, mode, route, idempotencyKey, textEncoder, picture }
        if (route.source === 'in_cloud') return cloudJob(decided, signal)
        const run = route.source === 'hybrid' ? hybridRun(decided, hybrid as Hybrid) : deviceRun(decided)
        return followed(run.id, run.events, signal)
      },
      route: async (request, { hybrid } = {}) => (await routed(request, hybrid)).route,
      quote: async (request) => {
        const body = snakeCase(request)
        return camelCase(
          await (await send(required(service), 'v1/videos/quote', { method: 'POST', body }, forever())).json(),
        )
      },
      attach: async (id, { signal } = {}) => {
        const there = required(service)
        const job = await jobAt(there, `v1/videos/${encodeURIComponent(id)}`, signal ?? forever())
        return followed(id, (stop) => followRemotely(there, job, stop), signal)
      },
    },
    models: {
      list: () => thread().models(forever()),
      prefetch: async (id, { signal = forever(), onProgress = () => {}, rehearse = true } = {}) => {
        const kept = await prefetchLocally(threads, id, signal, onProgress)
        if (!rehearse) return { kept }
        // Where that fails the run will say why, or fall to another rung.
        await thread()
          .rehearse(id, signal)
          .catch(() => signal.throwIfAborted())
        return { kept }
      },
      remove: (id) => thread().remove(id, forever()),
    },
    [Symbol.dispose]: () => {
      for (const provider of ['webgpu', 'wasm'] as const) threads.drop(provider)
    },
  }
}

/** Where there is a service, a page without models of its own, or no page at all, is no failure. */
async function listedIfAny(thread: () => EngineThread): Promise<readonly ModelState[]> {
  try {
    return await thread().models(forever())
  } catch {
    return []
  }
}

function required(service: Service | undefined): Service {
  if (service !== undefined) return service
  throw new GenerationError(
    'consent_required',
    'baseUrl: got none, wanted is the address of a service; pass it to createClient',
  )
}

interface Decided {
  readonly threads: Threads
  readonly service: Service | undefined
  readonly request: VideoRequest
  /** The model on this page that draws. */
  readonly told: ModelState | undefined
  readonly mode: InferenceMode
  readonly route: Route
  readonly idempotencyKey: string
  readonly textEncoder: CreateOptions['textEncoder']
  readonly picture: Picture | undefined
}

const splitPicture = () =>
  new GenerationError(
    'conflicting_parameters',
    'hybrid: got it beside firstFrame, allowed is one of them; a clip that begins with a picture runs in one place',
  )

/** The request as the service takes it: a picture becomes an asset. */
async function sendable({ request, picture }: Decided, service: Service, signal: AbortSignal): Promise<VideoRequest> {
  if (picture === undefined) return request
  const image = await uploadAsset(service, { bytes: await pngOf(picture), contentType: 'image/png' }, signal)
  return { ...request, image }
}

/** The service's job; while weights that are only missing come in, the device tries to be there first. */
async function cloudJob(decided: Decided, signal: AbortSignal | undefined): Promise<Job> {
  const { request, idempotencyKey, route, told } = decided
  const there = required(decided.service)
  const body = await sendable(decided, there, signal ?? forever())
  const job = decidedHere(await createRemotely(there, body, idempotencyKey, signal ?? forever()), decided)
  if (route.reason !== 'weights_not_cached' || told === undefined) {
    return followed(job.id, (stop) => asDecided(followRemotely(there, job, stop), decided), signal)
  }
  // The clip the service draws, so it is the same whoever is first.
  const run = { ...localRun(decided), request: { ...request, seed: job.seed } }
  const both = { threads: decided.threads, service: there, job, model: told.card.id, run }
  return followed(job.id, (stop) => asDecided(generateSpeculatively(both, stop), decided), signal)
}

const forever = (): AbortSignal => new AbortController().signal

/** The service knows only that it was asked; why it was is known here. */
const decidedHere = (job: JobState, { mode, route }: Decided): JobState => ({
  ...job,
  inferenceMode: mode,
  routingReason: job.routingReason === 'exact_cache_hit' ? job.routingReason : route.reason,
})

async function* asDecided(events: AsyncIterable<ClientEvent>, decided: Decided): AsyncGenerator<ClientEvent> {
  for await (const event of events)
    yield event.type === 'status' ? { ...event, job: decidedHere(event.job, decided) } : event
}

const localRun = ({
  service,
  request,
  told,
  mode,
  route,
  idempotencyKey,
  textEncoder,
  picture,
}: Decided): LocalRun => ({
  id: `vid_local_${idempotencyKey.replaceAll('-', '')}`,
  request,
  inferenceMode: mode,
  routingReason: route.reason,
  ...textsOf(service, request, told, textEncoder),
  ...(picture === undefined ? {} : { firstFrame: picture }),
})

/** A run on the device that fails there goes to the cloud, where the mode and a service allow it. */
function deviceRun(decided: Decided) {
  const { threads, service, mode, idempotencyKey } = decided
  const run = localRun(decided)
  return {
    id: run.id,
    async *events(signal: AbortSignal): AsyncGenerator<ClientEvent> {
      try {
        yield* generateLocally(threads, run, signal)
      } catch (error) {
        if (service === undefined || !mayLeave(error, mode, signal)) throw error
        yield* generateRemotely(service, await sendable(decided, service, signal), idempotencyKey, signal)
      }
    },
  }
}

/** A run in two places; where the device fails in its half, the whole goes to the cloud. */
function hybridRun(decided: Decided, hybrid: Hybrid) {
  const { threads, request, mode, idempotencyKey, told } = decided
  const service = required(decided.service)
  const run = localRun(decided)
  return {
    id: run.id,
    async *events(signal: AbortSignal): AsyncGenerator<ClientEvent> {
      try {
        const { card } = told as ModelState
        yield* generateHybrid({ threads, service, run, card, hybrid, idempotencyKey }, signal)
      } catch (error) {
        if (!mayLeave(error, mode, signal)) throw error
        const message = `the device failed in its half (${(error as GenerationError).message}); all of it runs in the cloud`
        yield { seq: 0, type: 'warning', code: 'device_failed_midway', message }
        yield* generateRemotely(service, request, `${idempotencyKey}-whole`, signal)
      }
    },
  }
}

/** Whether a failure was the device's, and another place may be tried. Throws the reason of an abort. */
function mayLeave(error: unknown, mode: InferenceMode, signal: AbortSignal): boolean {
  signal.throwIfAborted()
  const own = error instanceof GenerationError && error.status === undefined
  return own && mode !== 'only_on_device' && navigator.onLine !== false
}

function textsOf(
  service: Service | undefined,
  { prompt = '', negativePrompt = '' }: VideoRequest,
  told: ModelState | undefined,
  wanted: CreateOptions['textEncoder'],
): Pick<LocalRun, 'texts'> {
  if (service === undefined || told === undefined) return {}
  const { architecture, id } = told.card
  const large = architecture.tokenizer === 'sentencepiece'
  if (wanted === undefined ? !large : wanted === 'on_device') return {}
  // Models of ours that are not told their guidance run on both texts; released ones know no negative.
  const prompts = large || architecture.guided ? [prompt] : [prompt, negativePrompt]
  return { texts: (signal) => embeddedTexts(service, id, prompts, signal) }
}
