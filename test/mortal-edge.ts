/**
 * An edge that dies on cue, with the world around it: fake providers that keep a ledger, a moderation service, a
 * receiver of webhooks, and a caller that repeats what was not answered, as the contract tells callers to.
 *
 * Every request of the Worker names its job by the number in the prompt, in an id the provider knows, or in the address
 * of the webhook; so a moment in one job's life can be told from the same moment in another's.
 */

import type { Job } from '../shared/job.ts'
import { type EdgeProcess, type EdgeSettings, edgeProcess, gateway, isOnDisk, type Stage } from './edge-process.ts'
import { nodeUrl, operatorToken, replicateUrl, testBindings } from './edge-settings.ts'
import { type FakePrediction, type FakeProvider, fakeProvider } from './fake-provider.ts'

/** What the Worker does when it calls out. */
export type What = 'moderation' | 'schema' | 'create' | 'list' | 'status' | 'cancel' | 'output' | 'webhook' | 'secret'

export type Cue =
  /** The nth such request of a job is at a stage. */
  | { readonly request: What; readonly stage: Stage; readonly nth?: number }
  /** A file of a store holds a text. */
  | { readonly store: 'Account' | 'Generation' | 'r2'; readonly holds: (job: number, tenant: string) => string }

export interface Delivery {
  readonly id: string
  readonly type: string
}

export interface MortalEdge {
  readonly edge: EdgeProcess
  readonly node: FakeProvider
  readonly replicate: FakeProvider
  readonly tenant: string
  readonly key: string
  readonly deliveries: Map<number, Delivery[]>
  /** Kills the edge at a cue in a job's life; resolves when it is dead. */
  readonly dieAt: (cue: Cue, job: number) => Promise<void>
  /** Creates a job, again and again under one key until there is an answer. */
  readonly create: (job: number, fields: object, headers?: Record<string, string>) => Promise<Job>
  readonly call: (method: string, path: string, body?: object) => Promise<Response>
  readonly operate: (path: string, body: object) => Promise<Record<string, string>>
  /** Tells the edge, as the provider would, that something happened to a job's runs. False where nobody heard. */
  readonly sendHooks: (job: number) => Promise<boolean>
  /** How many runs were really begun for a job. */
  readonly executions: (job: number) => number
  readonly close: () => void
}

const inputs = { prompt: { type: 'string' }, seed: { type: 'integer' }, num_frames: { type: 'integer' } }
const patienceMs = 120_000

export const promptOf = (job: number): string => `a fox number ${job} runs`
export const webhookOf = (job: number): string => `https://hooks.app.dev/${job}`

/** A started edge with one tenant and one key. */
export async function mortalEdge(
  where: Pick<EdgeSettings, 'script' | 'folder' | 'port'>,
  more: Record<string, string>,
): Promise<MortalEdge> {
  const node = fakeProvider({ baseUrl: nodeUrl, outputHost: 'node.test' })
  const replicate = fakeProvider({ baseUrl: replicateUrl, outputHost: 'replicate.delivery', inputs })
  const deliveries = new Map<number, Delivery[]>()
  const cues: { readonly cue: Cue; readonly job: number; readonly met: () => void; count: number }[] = []

  const answer = async (request: Request): Promise<Response> => {
    const { host, pathname } = new URL(request.url)
    if (host === 'node.test') return node.fetch(request)
    if (host === 'moderation.app.dev') return Response.json({ allowed: true })
    if (host === 'hooks.app.dev') return receive(Number(pathname.slice(1)), request)
    return replicate.fetch(request)
  }
  const receive = async (job: number, request: Request): Promise<Response> => {
    const { type } = (await request.json()) as { type: string }
    const known = deliveries.get(job) ?? []
    deliveries.set(job, [...known, { id: request.headers.get('webhook-id') ?? '', type }])
    return new Response(null, { status: 204 })
  }
  const predictions = (): FakePrediction[] => [...node.predictions.values(), ...replicate.predictions.values()]
  const seen = (stage: Stage, request: Request, body: string) => {
    const [what, job] = meaningOf(request, body, predictions)
    const met = cues.find(
      ({ cue, job: wanted }) =>
        'request' in cue && cue.request === what && cue.stage === stage && (job === undefined || job === wanted),
    )
    if (met === undefined) return
    met.count += 1
    if (met.count === ((met.cue as { nth?: number }).nth ?? 1)) met.met()
  }
  const outside = await gateway(answer, seen)
  const edge = await edgeProcess({
    ...where,
    gateway: outside.address,
    bindings: { ...testBindings, MODERATION: 'https://moderation.app.dev/judge', ...more },
  })
  await edge.start()
  const tenant = 'mortals'
  const post = (token: string, path: string, body: object, headers: Record<string, string> = {}) =>
    fetch(`${edge.url}${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
    })
  const operate = async (path: string, body: object) =>
    (await post(operatorToken, path, body)).json() as Promise<Record<string, string>>
  const scopes = ['video:create', 'video:read', 'token:mint', 'admin']
  const { key = '' } = await operate('/operator/keys', { tenant, scopes })
  await operate('/operator/credits', { tenant, id: 'first', usd: '100' })

  const dieAt: MortalEdge['dieAt'] = (cue, job) =>
    new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`job ${job}: ${JSON.stringify(cue)} never came`)), patienceMs)
      const watched = { cue, job, count: 0, met: () => die() }
      const die = () => {
        edge.kill()
        clearTimeout(late)
        clearInterval(look)
        cues.splice(cues.indexOf(watched), 1)
        resolve()
      }
      cues.push(watched)
      const look = setInterval(() => {
        if (
          'store' in cue &&
          isOnDisk(where.folder, new RegExp(`/(zoetrope-)?${cue.store}/|/r2/`), cue.holds(job, tenant))
        )
          die()
      }, 1)
      if (!('store' in cue)) clearInterval(look)
    })

  const create: MortalEdge['create'] = async (job, fields, headers = {}) => {
    const body = { prompt: promptOf(job), seed: job, webhook: { url: webhookOf(job), events: allEvents }, ...fields }
    for (;;) {
      const response = await post(key, '/v1/videos', body, { 'idempotency-key': `key-${job}`, ...headers }).catch(
        () => undefined,
      )
      const text = await response?.text().catch(() => undefined)
      // 500 is what the platform says while it is falling over, and a death may cut an answer off after its status;
      // anything else was answered.
      if (response !== undefined && text !== undefined && response.status < 500) {
        if (response.ok) return JSON.parse(text) as Job
        throw new Error(`create: ${response.status} ${text}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  return {
    edge,
    node,
    replicate,
    tenant,
    key,
    deliveries,
    dieAt,
    create,
    operate,
    call: (method, path, body) =>
      fetch(`${edge.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    sendHooks: async (job) => {
      const own = [...replicate.predictions.values()].filter(({ input }) => input.prompt === promptOf(job))
      const heard = own.map(async ({ id, webhook }) => {
        const body = JSON.stringify({ id, status: 'processing' })
        const headers = await replicate.signedHook(`msg-${crypto.randomUUID()}`, body, Date.now())
        const path = new URL(webhook as string).pathname
        const response = await fetch(`${edge.url}${path}`, { method: 'POST', body, headers }).catch(() => undefined)
        return response?.status === 204
      })
      return (await Promise.all(heard)).includes(true)
    },
    executions: (job) => {
      const own = predictions().filter(({ input }) => input.prompt === promptOf(job))
      const begun = [...node.executions, ...replicate.executions]
      return own.reduce((sum, { id, webhook }) => {
        return sum + begun.filter(([name]) => name === (webhook ?? id)).reduce((total, [, times]) => total + times, 0)
      }, 0)
    },
    close: () => {
      edge.kill()
      outside.close()
    },
  }
}

const allEvents = ['video.completed', 'video.failed', 'video.cancelled', 'video.expired']

/** What a request is about, and of which job; undefined where it is of none. */
function meaningOf(request: Request, body: string, predictions: () => FakePrediction[]): [What, number | undefined] {
  const { host, pathname } = new URL(request.url)
  const numbered = (text: unknown) => Number(/number (\d+)/.exec(String(text))?.[1])
  const known = (id: string | undefined) =>
    numbered(predictions().find((prediction) => prediction.id === decodeURIComponent(id ?? ''))?.input.prompt)
  if (host === 'moderation.app.dev') return ['moderation', numbered(body)]
  if (host === 'hooks.app.dev') return ['webhook', Number(pathname.slice(1))]
  if (pathname.startsWith('/out/')) return ['output', known(pathname.split('/')[2])]
  if (pathname.endsWith('/secret')) return ['secret', undefined]
  if (pathname.endsWith('/cancel')) return ['cancel', known(pathname.split('/').at(-2))]
  if (pathname.endsWith('/predictions') && request.method === 'GET') return ['list', undefined]
  if (request.method !== 'GET') return ['create', numbered(body)]
  if (pathname.includes('/predictions/')) return ['status', known(pathname.split('/').at(-1))]
  return ['schema', undefined]
}
