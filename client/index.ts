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
import { type Client, clientOver } from './client.ts'
import { probeDevice } from './device.ts'
import type { ModelState } from './engine.ts'
import { type EngineThread, engineThread } from './engine-thread.ts'
import { type Service, serviceAt } from './http.ts'
import type { Threads } from './local.ts'
import { wasmThreads } from './runtime.ts'

export { GenerationError } from '../shared/errors.ts'
export type { Client, CreateOptions, Prefetched, PrefetchOptions } from './client.ts'
export type { ClientEvent, Generate, JobState, Output, PreviewFrames, VideoRequest } from './events.ts'
export type { Hybrid } from './hybrid.ts'
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

export const createClient = (options: ClientOptions = {}): Client =>
  clientOver({
    threads: threadsOf(options),
    service: serviceOf(options),
    probe: probeDevice,
    inferenceMode: options.inferenceMode ?? 'prefer_on_device',
  })

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
