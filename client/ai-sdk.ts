/**
 * A video model for the AI SDK (packages `ai` and `@ai-sdk/provider`, specification v4): start, then status.
 *
 *   const zoetrope = createZoetrope({ baseUrl, tokenProvider })
 *   await experimental_generateVideo({ model: zoetrope.video('zt-nano'), prompt: '…', poll: {} })
 *
 * Settings the service has no field for become warnings; ours beyond the SDK's sit in `providerOptions.zoetrope` under
 * camel-case names. Files are uploaded as assets, addresses are not fetched.
 */

import type {
  Experimental_VideoModelV4CallOptions as CallOptions,
  JSONValue,
  SharedV4Warning as SdkWarning,
  Experimental_VideoModelV4File as VideoFile,
  Experimental_VideoModelV4 as VideoModelV4,
} from '@ai-sdk/provider'
import { uploadAsset } from './assets.ts'
import type { JobState, VideoRequest } from './events.ts'
import { request, type Service, serviceAt } from './http.ts'
import { createRemotely, jobAt } from './remote.ts'

export interface ZoetropeOptions {
  readonly baseUrl: string
  /** An API key or a browser token. */
  readonly tokenProvider: () => Promise<string>
  /** For tests and proxies. */
  readonly fetch?: typeof globalThis.fetch
}

export interface ZoetropeProvider {
  /** The catalog's default model where no id is given. */
  readonly video: (modelId?: string) => VideoModelV4
}

export function createZoetrope({ baseUrl, tokenProvider, fetch }: ZoetropeOptions): ZoetropeProvider {
  const plain = serviceAt(baseUrl, tokenProvider)
  const service: Service = fetch === undefined ? plain : { ...plain, fetch }
  return { video: (modelId = '') => videoModel(service, modelId) }
}

function videoModel(service: Service, modelId: string): VideoModelV4 {
  const response = () => ({ timestamp: new Date(), modelId, headers: undefined })
  return {
    specificationVersion: 'v4',
    provider: 'zoetrope.video',
    modelId,
    maxVideosPerCall: 4,
    handleWebhookOption: async ({ webhook }) => {
      const { url, received } = await webhook()
      return { webhookUrl: url, received }
    },
    doStart: async (options) => {
      const signal = options.abortSignal ?? new AbortController().signal
      const warnings: SdkWarning[] = []
      const body = await bodyOf(service, modelId, options, warnings, signal)
      const job = await createRemotely(service, body, keyOf(options.headers), signal)
      // The SDK's signal ends its waiting alone; what runs at the service is stopped by us.
      signal.addEventListener('abort', () => void cancel(service, job), { once: true })
      return { operation: { id: job.id }, warnings, response: response() }
    },
    doStatus: async ({ operation, abortSignal = new AbortController().signal }) => {
      const job = await jobAt(service, `v1/videos/${encodeURIComponent(idOf(operation))}`, abortSignal)
      return { ...statusOf(service, job), response: response() }
    },
  }
}

async function bodyOf(
  service: Service,
  modelId: string,
  options: CallOptions & { webhookUrl?: string },
  warnings: SdkWarning[],
  signal: AbortSignal,
): Promise<VideoRequest> {
  const { prompt, n, resolution, aspectRatio, duration, fps, seed, generateAudio, webhookUrl } = options
  const unsupported = (feature: string, details: string) =>
    void warnings.push({ type: 'unsupported', feature, details })
  const ratio = aspectRatio === 'adaptive' ? undefined : aspectRatio
  if (aspectRatio === 'adaptive') unsupported('aspectRatio', 'adaptive is not a ratio here; the model’s own is used')
  if (resolution !== undefined && ratio !== undefined) unsupported('aspectRatio', 'resolution decides the size alone')
  const upload = async (file: VideoFile | undefined, feature: string) => {
    const bytes = file === undefined ? undefined : bytesOf(file)
    if (file !== undefined && bytes === undefined) unsupported(feature, 'addresses are not fetched; pass the bytes')
    return bytes === undefined ? undefined : uploadAsset(service, bytes, signal)
  }
  const frames = await Promise.all(
    (options.frameImages ?? []).map(async ({ image, frameType }) => ({
      image: await upload(image, 'frameImages'),
      frameType,
    })),
  )
  const references = await Promise.all((options.inputReferences ?? []).map((file) => upload(file, 'inputReferences')))
  const fields = {
    model: modelId === '' ? undefined : modelId,
    prompt,
    n,
    size: resolution,
    aspectRatio: resolution === undefined ? ratio : undefined,
    duration,
    fps,
    // Zero is a seed like any other.
    seed,
    generateAudio,
    image: await upload(options.image, 'image'),
    frameImages: nonEmpty(frames.filter(({ image }) => image !== undefined)),
    inputReferences: nonEmpty(references.filter((each) => each !== undefined)),
    webhook: webhookUrl === undefined ? undefined : { url: webhookUrl },
    ...options.providerOptions.zoetrope,
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as VideoRequest
}

const nonEmpty = <T>(list: readonly T[]): readonly T[] | undefined => (list.length === 0 ? undefined : list)

function bytesOf(file: VideoFile) {
  if (file.type === 'url') return undefined
  const { data, mediaType: contentType } = file
  const bytes = typeof data === 'string' ? Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)) : data
  return { bytes, contentType }
}

/** The caller's own key, or one per call. */
function keyOf(headers: CallOptions['headers']): string {
  const found = Object.entries(headers ?? {}).find(([name]) => name.toLowerCase() === 'idempotency-key')
  return found?.[1] ?? crypto.randomUUID()
}

function idOf(operation: JSONValue): string {
  const { id } = (operation ?? {}) as { id?: unknown }
  if (typeof id === 'string') return id
  throw new TypeError(`operation: got ${JSON.stringify(operation)}, wanted is what doStart returned, { id }`)
}

function statusOf(service: Service, job: JobState) {
  const { status, error, outputs, warnings } = job
  switch (status) {
    case 'queued':
    case 'in_progress':
    case 'cancelling':
      return { status: 'pending' as const }
    case 'completed':
      return {
        status: 'completed' as const,
        videos: outputs.map(({ url, contentType: mediaType }) => ({
          type: 'url' as const,
          url: new URL(url, `${service.baseUrl}/`).href,
          mediaType: mediaType.split(';')[0] as string,
        })),
        warnings: warnings.map(({ code, message = code }) => ({ type: 'other' as const, message })),
      }
    default:
      return { status: 'error' as const, error: error === null ? status : `${error.code}: ${error.detail}` }
  }
}

async function cancel(service: Service, { urls }: JobState): Promise<void> {
  await request(service, urls.cancel, { method: 'POST', body: {} }, new AbortController().signal).catch(() => {})
}
