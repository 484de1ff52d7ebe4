/**
 * A provider that is not there: Replicate's HTTP surface with our node's PUT, as one fetch, and the faults of both.
 *
 * It keeps its own ledger of what it really executed, which is the judge of whether anything ran twice. It knows
 * nothing of the Worker; it checks what it is sent and answers as scripted.
 */

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

export interface FakePrediction {
  readonly id: string
  readonly webhook: string | null
  readonly input: Record<string, unknown>
  readonly body: string
  readonly createdAt: string
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
  life: Life
  /** Whether runs are shown while they last: a picture for each poll, the first output of several from the second on. */
  shows: boolean
  /** How many runs wait before each new one; with each poll one goes. */
  ahead: number
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
    life: 'succeeds',
    shows: false,
    ahead: 0,
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
    if (path === '/webhooks/default/secret') return answer(200, { key: provider.secret })
    if (/^\/models\//.test(path)) return answer(200, { latest_version: { id: 'v1', openapi_schema: schema() } })
    if (path === '/embeddings/prompt') {
      const fault = provider.embeddingFaults.shift()
      if (fault === 'reset') throw new TypeError('connection reset')
      if (fault === 'late') throw new DOMException('the operation timed out', 'TimeoutError')
      if (fault !== undefined) return answer(fault, { detail: 'not this time' })
      return new Response(new Uint8Array(16), { headers: { 'zoetrope-tensor': '{"shape":[1,2,4],"dtype":"f16"}' } })
    }
    return answer(404, { detail: 'no such route' })
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
    const prediction = known ?? begin(named ?? `pred-${++serial}`, body)
    if (fault === 'hangs_after') await new Promise(() => undefined)
    if (fault === 'reset_after') throw new TypeError('connection reset')
    if (fault === 'server_error_after') return answer(503, { detail: 'broken afterwards' })
    if (fault === 'garbled') return new Response('<html>', { status: 201 })
    return answer(201, view(prediction))
  }

  function begin(id: string, body: string): FakePrediction {
    const { input, webhook } = JSON.parse(body) as { input: Record<string, unknown>; webhook?: string }
    const prediction: FakePrediction = {
      id,
      webhook: webhook ?? null,
      input,
      body,
      createdAt: new Date().toISOString(),
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

  function view({ id, status, input, webhook, logs, createdAt, life, polls }: FakePrediction): object {
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
      ...(provider.shows && status === 'processing'
        ? {
            preview: { content_type: 'image/jpeg', data_base64: '/9j/', frame_index: 2, step: polls },
            parts: polls < 2 ? [] : [{ index: 0, url: `${scheme}://${host}/out/${encodeURIComponent(id)}?index=0` }],
          }
        : {}),
    }
  }

  const outputsOf = ({ n }: Record<string, unknown>, url: string): string | string[] =>
    Number(n ?? 1) === 1 ? url : Array.from({ length: Number(n) }, (_, index) => `${url}?index=${index}`)

  function output(url: URL): Response {
    const prediction = predictions.get(decodeURIComponent(url.pathname.slice('/out/'.length)))
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
