import { createExecutionContext, runInDurableObject, waitOnExecutionContext } from 'cloudflare:test'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { type ErrorCode, errorKinds } from '../shared/errors.ts'
import { signToken } from './auth/browser-token.ts'
import { sha256 } from './bytes.ts'
import {
  bindings,
  type Caller,
  callerWith,
  fakeUpstream,
  knock,
  mintFor,
  newTenant,
  type Upstream,
} from './front-door.ts'
import { newId } from './ids.ts'
import worker from './index.ts'
import { accountOf } from './objects/contract.ts'
import { servicesOf } from './services.ts'

let upstream: Upstream
let caller: Caller

beforeAll(async () => {
  upstream = fakeUpstream()
  caller = await newTenant('1')
})

const post = (body: unknown, headers?: Record<string, string>) => caller.call('POST', '/v1/videos', body, headers)
const prompt = 'a fox runs right'

const inAccount = <Value>({ tenant }: Caller, act: (storage: DurableObjectStorage) => Value): Promise<Awaited<Value>> =>
  runInDurableObject(accountOf(bindings, tenant) as unknown as DurableObjectStub, (_, state) =>
    act(state.storage),
  ) as Promise<Awaited<Value>>

/** Open jobs that nobody made: rows alone. */
const fill = (of: Caller, subject: string, count: number) =>
  inAccount(of, ({ sql }) => {
    sql.exec(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
       INSERT INTO jobs SELECT 'vid_' || i, ?, 'queued', 'm', 0, 'vid_' || i, 1, ?, NULL, 'c' FROM n`,
      count,
      subject,
      Date.now(),
    )
  })

function embedding(fault: (typeof upstream.node.embeddingFaults)[number]): Promise<Response> {
  upstream.node.embeddingFaults.push(fault)
  return caller.call('POST', '/v1/embeddings/prompt', { prompt: `a fox ${fault}`, dtype: 'f16' })
}

/** How each code of the HTTP table comes about at the front door. Codes of jobs and of the SDK have no response. */
const provoked: Readonly<Partial<Record<ErrorCode, () => Promise<Response>>>> = {
  invalid_json: () => post('{"prompt":"a","prompt":"b"}'),
  invalid_header: () => post({ prompt }, { 'idempotency-key': 'with blanks' }),
  unauthenticated: () => knock('/v1/videos'),
  token_expired: async () => {
    const { tokens } = await servicesOf(bindings).secrets()
    const iat = Math.floor(Date.now() / 1000) - 1000
    const token = await signToken(
      {
        sub: 's',
        iat,
        exp: iat + 300,
        jti: newId('tok'),
        tenant: caller.tenant,
        scopes: ['video:read'],
        models: null,
        inference_modes: null,
        max_jobs: 1,
        max_cost: 1,
        origin: null,
      },
      tokens,
    )
    return callerWith(token, caller.tenant).call('GET', '/v1/videos')
  },
  insufficient_quota: () => post({ prompt, model: 'google/veo-3'.split('/')[1], seed: 1 }),
  forbidden: async () => (await mintFor(caller, 's')).call('GET', '/v1/webhook_endpoints'),
  origin_not_allowed: async () =>
    (await mintFor(caller, 's', { origin: 'https://app.test' })).call('GET', '/v1/videos', undefined, {
      origin: 'https://app.test.evil.example',
    }),
  not_found: () => caller.call('GET', `/v1/videos/${newId('vid')}`),
  method_not_allowed: () => caller.call('PUT', '/v1/videos', {}),
  asset_not_ready: async () => {
    const fields = { kind: 'image', content_type: 'image/png', bytes: 10, sha256: '1'.repeat(64) }
    const asset = (await (await caller.call('POST', '/v1/assets', fields)).json()) as { id: string }
    return post({ prompt, model: 'veo-3', image: asset.id })
  },
  not_extendable: async () => {
    const job = await caller.create({ seed: 1 })
    return caller.call('POST', `/v1/videos/${job.id}/extend`, {})
  },
  job_active: async () => {
    upstream.node.life = 'stuck'
    const job = await caller.create({ seed: 2 })
    upstream.node.life = 'succeeds'
    return caller.call('DELETE', `/v1/videos/${job.id}`)
  },
  content_expired: async () => {
    const job = await caller.run({ seed: 3 })
    await bindings.BUCKET.delete(`t/${caller.tenant}/${job.outputs[0]?.sha256}`)
    return caller.call('GET', `/v1/videos/${job.id}/content`)
  },
  payload_too_large: () => post({ prompt, metadata: { long: 'x'.repeat(70_000) } }),
  unsupported_media_type: () => post({ prompt }, { 'content-type': 'text/plain' }),
  unknown_parameter: () => post({ prompt, steps: 3 }),
  invalid_parameter: () => post({ prompt, seed: 2 ** 32 }),
  conflicting_parameters: () => post({ prompt, num_frames: 9, duration: 1 }),
  unsupported_capability: () => post({ prompt, generate_audio: true }),
  strict_mismatch: () => post({ prompt, num_frames: 16, strict: true }),
  format_unavailable: async () => {
    const job = await caller.run({ seed: 4 })
    return caller.call('GET', `/v1/videos/${job.id}/content?format=gif`)
  },
  idempotency_in_progress: async () => {
    const bytes = new Uint8Array(64).fill(7)
    const kind = { kind: 'latent', content_type: 'application/octet-stream' }
    const fields = { ...kind, bytes: bytes.length, sha256: await sha256(bytes) }
    const asset = (await (await caller.call('POST', '/v1/assets', fields)).json()) as { upload: { url: string } }
    const address = asset.upload.url.replace('https://edge.test', '')
    const { readable, writable } = new TransformStream<Uint8Array>()
    const writer = writable.getWriter()
    const first = knock(address, { method: 'PUT', body: readable })
    // Taken once the first upload reads, and so has begun.
    await writer.write(bytes.subarray(0, 32))
    const second = await knock(address, { method: 'PUT', body: bytes })
    await writer.write(bytes.subarray(32))
    await writer.close()
    expect(await (await first).json()).toMatchObject({ status: 'ready' })
    return second
  },
  moderation_unavailable: async () => {
    upstream.answerOthers = () => new Response('down', { status: 500 })
    const judged = { ...bindings, MODERATION: 'https://moderation.example/judge' }
    const headers = { authorization: `Bearer ${caller.key}`, 'content-type': 'application/json' }
    const init = { method: 'POST', body: JSON.stringify({ prompt }), headers }
    const [before, context] = [upstream.node.creates(), createExecutionContext()]
    const response = await worker.fetch(new Request('https://edge.test/v1/videos', init), judged, context)
    await waitOnExecutionContext(context)
    expect([upstream.others.at(-1)?.url, upstream.node.creates()]).toEqual([judged.MODERATION, before])
    return response
  },
  content_blocked: () => post({ prompt: 'n.u.d.e ch1ldren' }),
  idempotency_key_reuse: async () => {
    await post({ prompt }, { 'idempotency-key': 'twice' })
    return post({ prompt: 'something else' }, { 'idempotency-key': 'twice' })
  },
  queue_full: async () => {
    const full = await newTenant()
    await fill(full, '', 100_000)
    return full.call('POST', '/v1/videos', { prompt })
  },
  concurrency_limited: async () => {
    const busy = await newTenant()
    const subject = await mintFor(busy, 'busy')
    await fill(busy, 'busy', 1_000)
    return subject.call('POST', '/v1/videos', { prompt })
  },
  rate_limited: async () => {
    const hasty = await newTenant()
    await inAccount(hasty, ({ sql }) => {
      // A clock that went backwards fills no bucket.
      sql.exec('INSERT INTO bucket VALUES (1, 0, ?)', Date.now() + 3_600_000)
    })
    return hasty.call('POST', '/v1/videos', { prompt })
  },
  internal: async () => {
    const unlucky = await newTenant()
    const quiet = vi.spyOn(console, 'error').mockReturnValue()
    const mend = await inAccount(unlucky, ({ sql }) => {
      const broken = vi.spyOn(sql, 'exec').mockImplementation(() => {
        throw new Error('disk I/O error')
      })
      return () => broken.mockRestore()
    })
    const response = await unlucky.call('POST', '/v1/videos', { prompt })
    expect(await response.clone().text()).not.toContain('disk')
    mend()
    quiet.mockRestore()
    return response
  },
  upstream_error: () => embedding(502),
  upstream_timeout: () => embedding(504),
  provider_unavailable: async () => {
    upstream.replicate.faults.push('no_credit')
    await caller.run({ model: 'wan-2.2-t2v-fast', seed: 1 })
    return post({ prompt, model: 'wan-2.2-t2v-fast', seed: 2 })
  },
}

describe('a failure at the front door', () => {
  for (const [code, provoke] of Object.entries(provoked)) {
    it(`is told as a problem: ${code}`, async () => {
      const response = await provoke()
      const body = (await response.json()) as Record<string, unknown>
      const kind = errorKinds[code as ErrorCode]
      expect(body).toMatchObject({ code, status: kind.status, retryable: kind.retryable })
      expect(response.status).toBe(kind.status)
      expect(response.headers.get('content-type')).toBe('application/problem+json')
      expect(body.request_id).toBe(response.headers.get('request-id'))
      expect(body.error).toMatchObject({ code, message: body.detail })
      expect(response.headers.has('retry-after')).toBe(kind.status === 429 || kind.status === 503)
    })
  }

  it('has a way to be provoked for every code with a status, but those that other files provoke', () => {
    const elsewhere = ['latent_mismatch']
    const codes = Object.entries(errorKinds).flatMap(([code, { status }]) => (status === undefined ? [] : [code]))
    expect([...Object.keys(provoked), ...elsewhere].sort()).toEqual(codes.sort())
  })

  it('that is a node away or late is told as the node’s, not as ours', async () => {
    for (const [fault, code] of [
      ['reset', 'upstream_error'],
      ['late', 'upstream_timeout'],
    ] as const) {
      expect(((await (await embedding(fault)).json()) as { code: string }).code).toBe(code)
    }
  })

  it('refused leaves no trace: the key is not burnt and nothing is held', async () => {
    const tenant = await newTenant('1')
    const headers = { 'idempotency-key': 'k' }
    expect((await tenant.call('POST', '/v1/videos', { prompt: '' }, headers)).status).toBe(422)
    expect((await tenant.call('POST', '/v1/videos', { prompt: 'a fish' }, headers)).status).toBe(202)
    expect((await accountOf(bindings, tenant.tenant).balance()).held).toBe(0)
  })
})

describe('what a provider does wrong', () => {
  const outcomes = {
    gone: 'output_invalid',
    empty: 'output_invalid',
    wrong_type: 'output_invalid',
    foreign: 'output_invalid',
  } as const
  for (const [fault, code] of Object.entries(outcomes)) {
    it(`never becomes a result: an output that is ${fault}`, async () => {
      const { node, others } = fakeUpstream()
      node.outputFaults.push(...new Array(8).fill(fault as keyof typeof outcomes))
      const tenant = await newTenant()
      const job = await tenant.run({ seed: 11 })
      expect([job.status, job.error?.code, job.outputs]).toEqual(['failed', code, []])
      expect((await accountOf(bindings, tenant.tenant).balance()).held).toBe(0)
      expect(others).toEqual([])
    })
  }

  for (const [life, status, code] of [
    ['fails', 'failed', 'upstream_error'],
    ['aborted', 'expired', undefined],
    ['aborted', 'failed', 'upstream_cancelled'],
    ['canceled', 'failed', 'upstream_cancelled'],
  ] as const) {
    it(`is told in our words: a run that ${life}, ${status}`, async () => {
      const { node } = fakeUpstream()
      node.life = life
      // Whether it was ever seen running.
      node.pollsNeeded = status === 'expired' ? 0 : 1
      const job = await (await newTenant()).run({ seed: 12 })
      expect([job.status, job.error?.code]).toEqual([status, code])
    })
  }

  it('while a run begins is settled by asking again: on the node a lost answer is no second run', async () => {
    const { node } = fakeUpstream()
    node.faults.push('reset_after', 'server_error_after', 'garbled', 'rate_limited')
    const job = await (await newTenant()).run({ seed: 13 })
    expect([job.status, [...node.executions.values()]]).toEqual(['completed', [1]])
  })

  it('has one POST at Replicate, also when it is rejected', async () => {
    const { replicate } = fakeUpstream()
    replicate.faults.push('rejected')
    const job = await (await newTenant()).run({ model: 'luma/ray'.split('/')[1], seed: 14 })
    expect([job.status, job.error?.code, replicate.creates()]).toEqual(['failed', 'upstream_rejected', 1])
  })
})
