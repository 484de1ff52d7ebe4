/**
 * The SDK: a request to a video on the visitor's own device or at a service, by one call.
 *
 *   const zoetrope = createClient()
 *   const job = await zoetrope.videos.create({ prompt: 'a blue bird flies left over the sea' })
 *   const { outputs } = await job.result()
 *
 * Small: the engine, its runtime and the encoders are another file, loaded by the first run on the device.
 */

import { GenerationError } from '../shared/errors.ts'
import type { ModelCard } from '../shared/manifest.ts'
import type { DeviceReport, InferenceMode } from '../shared/request.ts'
import type { Route } from '../shared/routing.ts'
import type { ExecutionProvider } from './backend.ts'
import { probeDevice } from './device.ts'
import { promptEmbeddings } from './embeddings.ts'
import type { ModelState } from './engine.ts'
import { type EngineThread, engineThread } from './engine-thread.ts'
import type { ClientEvent, VideoRequest } from './events.ts'
import { type Service, request as send, serviceAt } from './http.ts'
import { followed, type Job } from './job.ts'
import { generateLocally, type LocalRun, prefetchLocally, type Threads } from './local.ts'
import { camelCase, snakeCase } from './names.ts'
import { createRemotely, followRemotely, generateRemotely, jobAt } from './remote.ts'
import { nowhere, routeRequest } from './router.ts'
import { wasmThreads } from './runtime.ts'

export { GenerationError } from '../shared/errors.ts'
export type { ClientEvent, Generate, JobState, Output, PreviewFrames, VideoRequest } from './events.ts'
export type { Job } from './job.ts'
export type { DeviceReport, InferenceMode, ModelCard, ModelState, Route }

export interface ClientOptions {
  /** Address of the service. Left out, everything runs on the device. */
  readonly baseUrl?: string
  /** A fresh browser token; with `baseUrl` it is the consent to use the cloud. */
  readonly tokenProvider?: () => Promise<string>
  /** Where runs may happen; prefer_on_device when left out. */
  readonly inferenceMode?: InferenceMode
  /** Address of the runtime's files; `/runtime/` of this page when left out. */
  readonly runtimeUrl?: string
  /** Address of cards and weights; `/models/` of this page when left out. */
  readonly modelsUrl?: string
  /**
   * Ed25519 public keys (32 bytes, base64url) of which one must have signed the weights' manifest. Given, no byte that
   * such a manifest does not vouch for reaches the engine; left out, the hashes in the cards decide.
   */
  readonly manifestKeys?: readonly string[]
  /** `wasm` keeps off the GPU. */
  readonly executionProvider?: ExecutionProvider
}

export interface CreateOptions {
  /** An abort cancels the job. */
  readonly signal?: AbortSignal
  /** One is made when left out. */
  readonly idempotencyKey?: string
}

export interface PrefetchOptions {
  readonly signal?: AbortSignal
  /** Bytes here and in all. */
  readonly onProgress?: (received: number, total: number) => void
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
    readonly route: (request: VideoRequest) => Promise<Route>
    /** What the service would take for it. */
    readonly quote: (request: VideoRequest) => Promise<unknown>
    /** Follows a job of the service: after a reload, or from another device. */
    readonly attach: (id: string, options?: CreateOptions) => Promise<Job>
  }
  readonly models: {
    /** The models of this page. */
    readonly list: () => Promise<readonly ModelState[]>
    /** Downloads and readies a model; a cut download goes on where it was cut. */
    readonly prefetch: (id: string, options?: PrefetchOptions) => Promise<void>
    /** Frees the space of a model's weights. */
    readonly remove: (id: string) => Promise<void>
  }
}

export function createClient(options: ClientOptions = {}): Client {
  const threads = threadsOf(options)
  const service = serviceOf(options)
  const forever = new AbortController().signal
  const thread = () => threads.get(threads.first)
  const listed = () => (service === undefined ? thread().models(forever) : listedIfAny(thread))
  const routed = async (request: VideoRequest) => {
    const mode = request.inferenceMode ?? options.inferenceMode ?? 'prefer_on_device'
    const [models, device] = await Promise.all([mode === 'only_in_cloud' ? [] : listed(), probeDevice()])
    const told = models.find(({ card, standard }) =>
      request.model === undefined ? standard : card.id === request.model,
    )
    return { mode, told, route: routeRequest(request, { mode, models, device, cloud: service !== undefined }) }
  }
  return {
    device: { probe: probeDevice },
    videos: {
      create: async (request, { signal, idempotencyKey = crypto.randomUUID() } = {}) => {
        const { mode, told, route } = await routed(request)
        if (route.source === null) throw nowhere(route, mode)
        if (route.source === 'in_cloud') {
          const there = required(service)
          const job = await createRemotely(there, request, idempotencyKey, signal ?? forever)
          return followed(job.id, (stop) => followRemotely(there, job, stop), signal)
        }
        const run = runOf({ threads, service, request, told, mode, route, idempotencyKey })
        return followed(run.id, run.events, signal)
      },
      route: async (request) => (await routed(request)).route,
      quote: async (request) => {
        const body = snakeCase(request)
        return camelCase(
          await (await send(required(service), 'v1/videos/quote', { method: 'POST', body }, forever)).json(),
        )
      },
      attach: async (id, { signal } = {}) => {
        const there = required(service)
        const job = await jobAt(there, `v1/videos/${encodeURIComponent(id)}`, signal ?? forever)
        return followed(id, (stop) => followRemotely(there, job, stop), signal)
      },
    },
    models: {
      list: () => thread().models(forever),
      prefetch: (id, { signal = forever, onProgress = () => {} } = {}) =>
        prefetchLocally(threads, id, signal, onProgress),
      remove: (id) => thread().remove(id, forever),
    },
    [Symbol.dispose]: () => {
      for (const provider of ['webgpu', 'wasm'] as const) threads.drop(provider)
    },
  }
}

/** Where there is a service, a page without models of its own, or no page at all, is no failure. */
async function listedIfAny(thread: () => EngineThread): Promise<readonly ModelState[]> {
  try {
    return await thread().models(new AbortController().signal)
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
  /** The model on this page that the request is for. */
  readonly told: ModelState | undefined
  readonly mode: InferenceMode
  readonly route: Route
  readonly idempotencyKey: string
}

/** A run on the device that fails there goes to the cloud, where the mode and a service allow it. */
function runOf({ threads, service, request, told, mode, route, idempotencyKey }: Decided) {
  const id = `vid_local_${idempotencyKey.replaceAll('-', '')}`
  const run = { id, request, inferenceMode: mode, routingReason: route.reason, ...textOf(service, request, told) }
  return {
    id,
    async *events(signal: AbortSignal): AsyncGenerator<ClientEvent> {
      try {
        yield* generateLocally(threads, run, signal)
      } catch (error) {
        signal.throwIfAborted()
        const mayLeave = service !== undefined && mode !== 'only_on_device' && navigator.onLine
        if (!mayLeave || !(error instanceof GenerationError) || error.status !== undefined) throw error
        yield* generateRemotely(service, request, idempotencyKey, signal)
      }
    },
  }
}

/** A model with a text encoder of its own size has its prompts embedded by the service, where there is one. */
function textOf(
  service: Service | undefined,
  { prompt }: VideoRequest,
  told: ModelState | undefined,
): Pick<LocalRun, 'text'> {
  if (service === undefined || told?.card.architecture.tokenizer !== 'sentencepiece') return {}
  return { text: (signal) => promptEmbeddings(service, told.card.id, prompt ?? '', signal) }
}

function threadsOf(options: ClientOptions): Threads {
  const open = new Map<ExecutionProvider, EngineThread>()
  return {
    first: options.executionProvider ?? ('gpu' in navigator ? 'webgpu' : 'wasm'),
    get: (provider) => {
      const known = open.get(provider)
      if (known !== undefined) return known
      if (!('document' in globalThis)) throw noPage()
      const at = (path: string) => new URL(path, document.baseURI).href
      const fresh = engineThread({
        provider,
        runtimeUrl: at(options.runtimeUrl ?? '/runtime/'),
        modelsUrl: at(options.modelsUrl ?? '/models/'),
        threads: wasmThreads(),
        manifestKeys: options.manifestKeys ?? [],
      })
      open.set(provider, fresh)
      return fresh
    },
    drop: (provider) => {
      open.get(provider)?.[Symbol.dispose]()
      open.delete(provider)
    },
  }
}

const noPage = () =>
  new GenerationError(
    'device_unavailable',
    'inference_mode: the engine of this SDK runs in a page and there is none here; pass baseUrl and tokenProvider, or run `zoetrope serve`',
  )

function serviceOf({ baseUrl, tokenProvider }: ClientOptions): Service | undefined {
  return baseUrl === undefined ? undefined : serviceAt(baseUrl, tokenProvider)
}
