import { experimental_generateVideo as generateVideo } from 'ai'
import { describe, expect, it, vi } from 'vitest'
import { createZoetrope } from './ai-sdk.ts'

interface Call {
  readonly method: string
  readonly path: string
  readonly key: string | null
  readonly body: unknown
}

const job = (status: string, more: object = {}) => ({
  id: 'vid_1',
  status,
  outputs: [],
  warnings: [],
  error: null,
  urls: { self: '', events: '', cancel: '/v1/videos/vid_1/cancel', content: '' },
  ...more,
})
const output = (index: number) => ({
  index,
  url: `/v1/videos/vid_1/content?index=${index}`,
  content_type: 'video/mp4; codecs="avc1"',
})

function provider(states: readonly object[]) {
  const calls: Call[] = []
  let asked = 0
  const fetch = (async (url: URL, init: RequestInit) => {
    const method = init.method ?? 'GET'
    const body = typeof init.body === 'string' ? JSON.parse(init.body) : undefined
    calls.push({ method, path: url.pathname, key: new Headers(init.headers).get('Idempotency-Key'), body })
    if (url.pathname === '/v1/assets')
      return Response.json({ id: 'ast_1', status: 'pending', upload: { url: '/v1/assets/ast_1/content' } })
    if (method !== 'GET') return Response.json(job('queued'), { status: 202 })
    return Response.json(states[Math.min(asked++, states.length - 1)])
  }) as unknown as typeof globalThis.fetch
  const zoetrope = createZoetrope({ baseUrl: 'https://zoetrope.test', tokenProvider: async () => 'key', fetch })
  return { calls, model: zoetrope.video('zt-nano') }
}

const download = async ({ url }: { url: URL }) => ({ data: new TextEncoder().encode(url.href), mediaType: 'video/mp4' })
const poll = { intervalMs: 1 }

describe('the AI SDK provider', () => {
  it('generates by the real package: seed 0, key and our own options arrive, outputs come back', async () => {
    const { calls, model } = provider([job('in_progress'), job('completed', { outputs: [output(0), output(1)] })])
    const result = await generateVideo({
      model,
      prompt: 'a blue bird',
      n: 2,
      seed: 0,
      resolution: '64x64',
      aspectRatio: '1:1',
      headers: { 'Idempotency-Key': 'mine' },
      providerOptions: { zoetrope: { numInferenceSteps: 8 } },
      poll,
      download,
    })
    expect(calls[0]).toEqual({
      method: 'POST',
      path: '/v1/videos',
      key: 'mine',
      body: { model: 'zt-nano', prompt: 'a blue bird', n: 2, seed: 0, size: '64x64', num_inference_steps: 8 },
    })
    expect(calls.filter(({ method }) => method === 'POST')).toHaveLength(1)
    expect(result.videos.map(({ uint8Array }) => new TextDecoder().decode(uint8Array))).toEqual([
      'https://zoetrope.test/v1/videos/vid_1/content?index=0',
      'https://zoetrope.test/v1/videos/vid_1/content?index=1',
    ])
    expect(result.warnings).toEqual([expect.objectContaining({ type: 'unsupported', feature: 'aspectRatio' })])
  })

  it('uploads an image as an asset and names it in the request', async () => {
    const { calls, model } = provider([job('completed', { outputs: [output(0)] })])
    const png = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)
    await generateVideo({ model, prompt: { image: png, text: 'it waves' }, poll, download })
    expect(calls.map(({ method, path }) => `${method} ${path}`).slice(0, 3)).toEqual([
      'POST /v1/assets',
      'PUT /v1/assets/ast_1/content',
      'POST /v1/videos',
    ])
    expect(calls[2]?.body).toMatchObject({ image: 'ast_1', prompt: 'it waves' })
  })

  it('reports a failure with its code', async () => {
    const failed = { code: 'content_blocked', detail: 'not this', retryable: false }
    const { model } = provider([job('failed', { error: failed })])
    await expect(generateVideo({ model, prompt: 'x', poll, download, maxRetries: 0 })).rejects.toThrow(
      'content_blocked: not this',
    )
  })

  it('cancels the job when the caller gives up', async () => {
    const stop = new AbortController()
    const { calls, model } = provider([job('in_progress')])
    await model.doStart?.({ prompt: 'x', n: 1, providerOptions: {}, abortSignal: stop.signal } as never)
    stop.abort()
    await vi.waitFor(() => expect(calls.at(-1)).toMatchObject({ method: 'POST', path: '/v1/videos/vid_1/cancel' }))
  })
})
