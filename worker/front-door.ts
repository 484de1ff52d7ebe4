/**
 * The front door in tests: callers with keys, the fake node behind, and nothing of the Worker's inside.
 */

import { env, exports } from 'cloudflare:workers'
import { vi } from 'vitest'
import type { Job } from '../shared/job.ts'
import { nodeUrl, operatorToken, replicateUrl } from '../test/edge-settings.ts'
import { type FakeProvider, fakeProvider } from '../test/fake-provider.ts'
import type { Env } from './env.ts'

export const bindings = env as unknown as Env

export interface Caller {
  readonly tenant: string
  readonly key: string
  readonly call: (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Response>
  readonly create: (fields: object, headers?: Record<string, string>) => Promise<Job>
  /** Creates, listens until the job is over however long that takes, and reads it. */
  readonly run: (fields: object, headers?: Record<string, string>) => Promise<Job>
}

const front = (exports as unknown as { readonly default: Fetcher }).default

/** A request at the front door. */
export const knock = (path: string, init?: RequestInit): Promise<Response> =>
  front.fetch(`https://edge.test${path}`, init)

/** A caller with a credential. */
export function callerWith(key: string, tenant: string): Caller {
  const call: Caller['call'] = (method, path, body, headers = {}) =>
    knock(path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
  const create: Caller['create'] = async (fields, headers) => {
    const response = await call('POST', '/v1/videos', { prompt: 'a blue bird flies left', ...fields }, headers)
    const text = await response.text()
    if (response.status >= 300) throw new Error(`create answers ${response.status}: ${text}`)
    return JSON.parse(text) as Job
  }
  return {
    tenant,
    key,
    call,
    create,
    run: async (fields, headers) => {
      const { id } = await create(fields, headers)
      await (await call('GET', `/v1/videos/${id}/events`)).text()
      return (await call('GET', `/v1/videos/${id}`)).json() as Promise<Job>
    },
  }
}

let tenants = 0

/** A tenant that nobody else has, with all scopes and some credit. */
export async function newTenant(usd = '100'): Promise<Caller> {
  const tenant = `tenant-${++tenants}-${crypto.randomUUID().slice(0, 8)}`
  const scopes = ['video:create', 'video:read', 'token:mint', 'admin']
  const { key } = (await operate('/operator/keys', { tenant, scopes, kind: 'test' })) as { key: string }
  await operate('/operator/credits', { tenant, id: 'first', usd })
  return callerWith(key, tenant)
}

/** A call of the operator. */
export async function operate(path: string, body: object): Promise<unknown> {
  const response = await knock(path, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { authorization: `Bearer ${operatorToken}`, 'content-type': 'application/json' },
  })
  return response.json()
}

/** A token of a caller's tenant for one subject. */
export async function mintFor(caller: Caller, subject: string, fields: object = {}): Promise<Caller> {
  const response = await caller.call('POST', '/v1/tokens', { subject, ...fields })
  const { token } = (await response.json()) as { token: string }
  return callerWith(token, caller.tenant)
}

export interface Upstream {
  readonly node: FakeProvider
  readonly replicate: FakeProvider
  /** What else was fetched, and how it is answered. */
  readonly others: Request[]
  answerOthers: (request: Request) => Response | Promise<Response>
}

const wanInputs = {
  prompt: { type: 'string' },
  num_frames: { type: 'integer', minimum: 81, maximum: 121 },
  frames_per_second: { type: 'integer', minimum: 5, maximum: 30 },
  resolution: { type: 'string', enum: ['480p', '720p'] },
  aspect_ratio: { type: 'string', enum: ['16:9', '9:16'] },
  seed: { type: 'integer' },
  sample_shift: { type: 'number', minimum: 1, maximum: 20 },
  interpolate_output: { type: 'boolean' },
  optimize_prompt: { type: 'boolean' },
}

/** Puts fakes where the network is. */
export function fakeUpstream(): Upstream {
  const node = fakeProvider({ baseUrl: nodeUrl, outputHost: 'node.test' })
  const replicate = fakeProvider({ baseUrl: replicateUrl, outputHost: 'replicate.delivery', inputs: wanInputs })
  const upstream: Upstream = { node, replicate, others: [], answerOthers: () => new Response(null, { status: 204 }) }
  vi.stubGlobal('fetch', (async (input: RequestInfo, init?: RequestInit) => {
    const request = new Request(input, init)
    const { host } = new URL(request.url)
    if (host === 'node.test') return node.fetch(request)
    if (host === 'api.replicate.com' || host.endsWith('replicate.delivery')) return replicate.fetch(request)
    upstream.others.push(request)
    return upstream.answerOthers(request)
  }) as typeof fetch)
  return upstream
}
