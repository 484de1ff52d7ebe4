/**
 * A provider that is not there: Replicate's HTTP surface with our node's PUT, as one fetch, and the faults of both.
 *
 * It keeps its own ledger of what it really executed, which is the judge of whether anything ran twice. It knows
 * nothing of the Worker; it checks what it is sent and answers as scripted.
 */

import { toFloat16 } from '../models/weights/float16.ts'
import { catalogModelOf } from '../shared/catalog.ts'
import type { EffectiveVideo } from '../shared/effective.ts'
import { envelopeFor, latentShapeOf } from '../shared/handoff.ts'
import type { ModelCard } from '../shared/manifest.ts'
import { planOf } from '../shared/plan.ts'
import type { LatentEnvelope } from '../shared/request.ts'
import { testCard } from './edge-settings.ts'

export type Fault =
  /** The connection breaks: before anything was accepted, or after. */
  | 'reset_before'
  | 'reset_after'
  /** It was accepted, and no answer ever comes. */
  | 'hangs_after'
  | 'rate_limited'
  | 'server_error_before'
  | 'server_error_after'
  | 'rejected'
  | 'misfit'
  | 'no_credit'
  | 'garbled'

/** What a prediction does once it was accepted. */
export type Life = 'succeeds' | 'fails' | 'stuck' | 'aborted' | 'canceled' | 'strange' | 'waits'

export type OutputFault = 'gone' | 'empty' | 'wrong_type' | 'truncated' | 'foreign'

/** Latents that a prediction was asked to keep on its way. */
interface FakeLatents {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly envelope: LatentEnvelope
}

export interface FakePrediction {
  readonly id: string
  readonly webhook: string | null
  readonly input: Record<string, unknown>
  readonly body: string
  readonly createdAt: string
  readonly kept: FakeLatents | undefined
  status: string
  polls: number
  logs: string
  life: Life
}

export interface FakeProvider {
  readonly fetch: typeof globalThis.fetch
  readonly predictions: Map<string, FakePrediction>
  /** How often each attempt was really begun, by its hook's address or its id. */
  readonly executions: Map<string, number>
  /** POST and PUT requests that arrived, whatever became of them. */
  readonly creates: () => number
  readonly requests: readonly string[]
  /** Uploads by their name. */
  readonly files: Map<string, Uint8Array<ArrayBuffer>>
  /** Faults of the next creates, one each. */
  readonly faults: Fault[]
  readonly outputFaults: OutputFault[]
  /** What becomes of the next embeddings: a status, a lost connection, or no answer in time. */
  readonly embeddingFaults: (number | 'reset' | 'late')[]
  /** What prompts mean, as the one token they then have; all others are told of without saying whose tokens they are. */
  readonly meanings: Map<string, readonly number[]>
  /** Whether latents that are kept on the way are not those their envelope names. */
  spoilsLatents: boolean
  life: Life
  /** Whether runs are shown while they last: a picture for each poll, the first output of several from the second on. */
  shows: boolean
  /** How many runs wait before each new one; with each poll one goes. */
  ahead: number
  /** What the node says of its slots; null where it says nothing that can be read. */
  occupancy: { readonly slots: number; readonly busy: number; readonly waiting: number } | null
  /** Polls until a prediction that succeeds does so. */
  pollsNeeded: number
  /** Whether the list shows nothing. */
  listHoles: boolean
  readonly secret: string
  readonly signedHook: (id: string, body: string, now: number) => Promise<Headers>
}

export interface FakeOptions {
  readonly baseUrl: string
  readonly outputHost: string
  /** Properties of the models' input, for openapi_schema. */
  readonly inputs?: Readonly<Record<string, object>>
}

const secretBytes = new TextEncoder().encode('a secret of the fake provider 32')

/** The smallest thing that begins like an MP4, different for each seed and long enough for ranges. */
export function fakeVideo(seed: unknown): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(2048)
  bytes.set([0, 0, 0, 24, 0x66, 0x74, 0x79, 0x70, 0x69, 0x73, 0x6f, 0x6d])
  new DataView(bytes.buffer).setUint32(16, Number(seed ?? 0) >>> 0)
  for (let index = 32; index < bytes.length; index++) bytes[index] = (index * 31 + Number(seed ?? 0)) & 255
  return bytes
}

/** A provider with an empty ledger. */
export function fakeProvider({ baseUrl, outputHost, inputs = {} }: FakeOptions): FakeProvider {
  const predictions = new Map<string, FakePrediction>()
  const executions = new Map<string, number>()
  const requests: string[] = []
  let [creates, serial] = [0, 0]

  const provider: FakeProvider = {
    predictions,
    executions,
    requests,
    files: new Map(),
    creates: () => creates,
    faults: [],
    outputFaults: [],
    embeddingFaults: [],
    meanings: new Map(),
    spoilsLatents: false,
    life: 'succeeds',
    shows: false,
    ahead: 0,
    occupancy: { slots: 1, busy: 0, waiting: 0 },
    pollsNeeded: 1,
    listHoles: false,
    secret: `whsec_${btoa(String.fromCharCode(...secretBytes))}`,
    signedHook,
    fetch: async (input, init) => {
      const request = new Request(input, init)
      const url = new URL(request.url)
      requests.push(`${request.method} ${url.pathname}`)
      if (url.host === outputHost && url.pathname.startsWith('/out/')) return output(url)
      if (!request.url.startsWith(baseUrl)) return answer(404, { detail: `nothing at ${request.url}` })
      const path = request.url.slice(baseUrl.length).split('?')[0] as string
      return route(request, path, new URL(request.url))
    },
  }

  async function route(request: Request, path: string, url: URL): Promise<Response> {
    const { method } = request
    const one = /^\/predictions\/([^/]+)(\/cancel)?$/.exec(path)
    if (method === 'PUT' && one !== null) return create(request, one[1] as string)
    if (method === 'POST' && /^\/(models\/[^/]+\/[^/]+\/)?predictions$/.test(path)) return create(request, undefined)
    if (one !== null) return one[2] === undefined ? read(one[1] as string) : stop(one[1] as string)
    if (path === '/predictions') return list(url)
    if (method === 'PUT' && path.startsWith('/files/')) {
      provider.files.set(path.slice('/files/'.length), new Uint8Array(await request.arrayBuffer()))
      return answer(201, {})
    }
    if (path === '/node') return occupancy()
    if (path === '/webhooks/default/secret') return answer(200, { key: provider.secret })
    if (/^\/models\//.test(path)) return answer(200, { latest_version: { id: 'v1', openapi_schema: schema() } })
    if (path === '/embeddings/prompt') {
      const fault = provider.embeddingFaults.shift()
      if (fault === 'reset') throw new TypeError('connection reset')
      if (fault === 'late') throw new DOMException('the operation timed out', 'TimeoutError')
      if (fault !== undefined) return answer(fault, { detail: 'not this time' })
      return embedding(((await request.json()) as { prompt: string }).prompt)
    }
    return answer(404, { detail: 'no such route' })
  }

  const occupancy = () =>
    provider.occupancy === null ? answer(500, { detail: 'broken' }) : answer(200, provider.occupancy)

  function embedding(prompt: string): Response {
    const meaning = provider.meanings.get(prompt)
    const told = meaning === undefined ? { shape: [1, 2, 4] } : { shape: [1, 1, meaning.length], tokens: [1] }
    const bytes =
      meaning === undefined
        ? new Uint8Array(16)
        : new Uint8Array(toFloat16(Float32Array.from(meaning)).buffer as ArrayBuffer)
    return new Response(bytes, { headers: { 'zoetrope-tensor': JSON.stringify({ ...told, dtype: 'f16' }) } })
  }

  async function create(request: Request, named: string | undefined): Promise<Response> {
    creates += 1
    const fault = provider.faults.shift()
    if (fault === 'reset_before') throw new TypeError('connection reset')
    if (fault === 'rate_limited') return answer(429, { detail: 'slow down' }, { 'retry-after': '0' })
    if (fault === 'server_error_before') return answer(500, { detail: 'broken' })
    if (fault === 'rejected') return answer(422, { detail: 'no such input' })
    if (fault === 'misfit') return answer(422, { code: 'latent_mismatch', detail: 'of another model' })
    if (fault === 'no_credit') return answer(402, { detail: 'no credit' })
    const body = await request.text()
    const known = named === undefined ? undefined : predictions.get(named)
    if (known !== undefined && known.body !== body) return answer(422, { detail: 'another body under this id' })
    const { input } = JSON.parse(body) as { input: Record<string, unknown> }
    const source = input.init_latent === undefined ? undefined : String(input.init_latent).split('/files/')[1]
    if (source !== undefined && !provider.files.has(source)) return answer(422, { detail: 'no such file' })
    const prediction = known ?? begin(named ?? `pred-${++serial}`, body, await keptOf(input))
    if (fault === 'hangs_after') await new Promise(() => undefined)
    if (fault === 'reset_after') throw new TypeError('connection reset')
    if (fault === 'server_error_after') return answer(503, { detail: 'broken afterwards' })
    if (fault === 'garbled') return new Response('<html>', { status: 201 })
    return answer(201, view(prediction))
  }

  /** Numbers that the seed alone decides, of the shape the test's model has. */
  async function keptOf(input: Record<string, unknown>): Promise<FakeLatents | undefined> {
    if (input.keep_step === undefined) return undefined
    const model = catalogModelOf(testCard as unknown as ModelCard)
    const [width = 0, height = 0] = String(input.size).split('x').map(Number)
    const request = { ...input, width, height } as unknown as EffectiveVideo
    const shape = latentShapeOf(model, request)
    const length = shape.reduce((product, side) => product * side, 1)
    const numbers = Float32Array.from({ length }, (_, at) => Math.sin(at + request.seed))
    const bytes = new Uint8Array(numbers.buffer)
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
    const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    const now = Date.now()
    const envelope = envelopeFor({
      ...{ model, request, shape, rows: planOf(request), step: Number(input.keep_step), dtype: 'f32' as const, sha256 },
      ...{ bytes: bytes.length, promptSha256: '0'.repeat(64), now, expiresAt: now + 3_600_000 },
    })
    return { bytes: provider.spoilsLatents ? bytes.toReversed() : bytes, envelope }
  }

  function begin(id: string, body: string, kept: FakeLatents | undefined): FakePrediction {
    const { input, webhook } = JSON.parse(body) as { input: Record<string, unknown>; webhook?: string }
    const prediction: FakePrediction = {
      id,
      webhook: webhook ?? null,
      input,
      body,
      createdAt: new Date().toISOString(),
      kept,
      status: 'starting',
      polls: 0,
      logs: '',
      life: provider.life,
    }
    predictions.set(id, prediction)
    const attempt = webhook ?? id
    executions.set(attempt, (executions.get(attempt) ?? 0) + 1)
    return prediction
  }

  const ends: Readonly<Record<Life, string>> = {
    succeeds: 'succeeded',
    fails: 'failed',
    stuck: 'processing',
    aborted: 'aborted',
    canceled: 'canceled',
    strange: 'pondering',
    waits: 'starting',
  }

  function read(id: string): Response {
    const prediction = predictions.get(id)
    if (prediction === undefined) return answer(404, { detail: 'unknown' })
    prediction.polls += 1
    if (prediction.polls <= provider.ahead && prediction.status === 'starting') {
      return answer(200, { ...view(prediction), queue_position: provider.ahead - prediction.polls })
    }
    if (!['succeeded', 'failed', 'canceled', 'aborted'].includes(prediction.status)) {
      const done = prediction.polls > provider.pollsNeeded
      const [step, steps] = [Math.min(prediction.polls, provider.pollsNeeded), provider.pollsNeeded]
      const percent = String(Math.round((100 * step) / Math.max(1, steps))).padStart(3)
      prediction.logs += `${percent}%|#####     | ${step}/${steps} [00:01<00:01,  1.00it/s]\n`
      prediction.status = done ? ends[prediction.life] : prediction.life === 'waits' ? 'starting' : 'processing'
    }
    return answer(200, view(prediction))
  }

  function stop(id: string): Response {
    const prediction = predictions.get(id)
    if (prediction === undefined) return answer(404, { detail: 'unknown' })
    if (!['succeeded', 'failed', 'canceled', 'aborted'].includes(prediction.status)) prediction.status = 'canceled'
    return answer(200, view(prediction))
  }

  function list(url: URL): Response {
    const rows = provider.listHoles ? [] : [...predictions.values()].reverse().map(view)
    const from = Number(url.searchParams.get('cursor') ?? 0)
    const next = from + 2 < rows.length ? `${baseUrl}/predictions?cursor=${from + 2}` : null
    return answer(200, { results: rows.slice(from, from + 2), next })
  }

  function view(prediction: FakePrediction): object {
    const { id, status, input, webhook, logs, createdAt, life, polls, kept } = prediction
    const host = provider.outputFaults[0] === 'foreign' ? 'elsewhere.example' : outputHost
    const scheme = baseUrl.startsWith('https:') ? 'https' : 'http'
    return {
      id,
      status,
      input,
      webhook,
      logs,
      created_at: createdAt,
      output: status === 'succeeded' ? outputsOf(input, `${scheme}://${host}/out/${encodeURIComponent(id)}`) : null,
      error: life === 'fails' && status === 'failed' ? 'it did not work' : null,
      metrics: { predict_time: 0.25 },
      ...(status === 'succeeded' && kept !== undefined
        ? { output_metadata: { outputs: [{ envelope: null }, { url: keptUrl(prediction), envelope: kept.envelope }] } }
        : {}),
      ...(provider.shows && status === 'processing'
        ? {
            preview: { content_type: 'image/jpeg', data_base64: '/9j/', frame_index: 2, step: polls },
            parts: polls < 2 ? [] : [{ index: 0, url: `${scheme}://${host}/out/${encodeURIComponent(id)}?index=0` }],
          }
        : {}),
    }
  }

  const keptUrl = ({ id }: FakePrediction): string =>
    `${baseUrl.slice(0, baseUrl.indexOf(':'))}://${outputHost}/out/${encodeURIComponent(id)}?kept=1`

  const outputsOf = ({ n }: Record<string, unknown>, url: string): string | string[] =>
    Number(n ?? 1) === 1 ? url : Array.from({ length: Number(n) }, (_, index) => `${url}?index=${index}`)

  function output(url: URL): Response {
    const prediction = predictions.get(decodeURIComponent(url.pathname.slice('/out/'.length)))
    if (url.searchParams.has('kept')) return new Response(prediction?.kept?.bytes ?? null)
    const seed = Number(prediction?.input.seed ?? 0) + Number(url.searchParams.get('index') ?? 0)
    const bytes = fakeVideo(seed)
    const headers = { 'content-length': String(bytes.length) }
    switch (provider.outputFaults.shift()) {
      case 'gone':
        return new Response(null, { status: 404 })
      case 'empty':
        return new Response(new Uint8Array(), { headers: { 'content-length': '0' } })
      case 'wrong_type':
        return new Response('<html>not a video</html>')
      case 'truncated':
        return new Response(bytes.slice(0, 100), { headers: { 'x-length': '100' } })
      default:
        return new Response(bytes, { headers })
    }
  }

  const schema = () => ({ components: { schemas: { Input: { properties: inputs } } } })

  return provider
}

const answer = (status: number, body: object, headers: Record<string, string> = {}): Response =>
  new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json', ...headers } })

/** Headers of a hook as the provider signs it; written apart from the Worker's own signer, on purpose. */
async function signedHook(id: string, body: string, now: number): Promise<Headers> {
  const timestamp = String(Math.floor(now / 1000))
  const key = await crypto.subtle.importKey('raw', secretBytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  const mac = await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(`${id}.${timestamp}.${body}`))
  return new Headers({
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${btoa(String.fromCharCode(...new Uint8Array(mac)))}`,
  })
}
