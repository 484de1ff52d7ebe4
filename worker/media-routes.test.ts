import OpenAI from 'openai'
import { describe, expect, it, vi } from 'vitest'
import { fakeVideo } from '../test/fake-provider.ts'
import { sha256, utf8 } from './bytes.ts'
import { bindings, fakeUpstream, knock, newTenant } from './front-door.ts'

const path = (url: string | undefined) => (url ?? '').replace('https://edge.test', '')

describe('content', () => {
  it('comes whole, in ranges, or not at all where it is known', async () => {
    fakeUpstream()
    const caller = await newTenant()
    const job = await caller.run({ seed: 21 })
    const address = `/v1/videos/${job.id}/content`
    const video = fakeVideo(21)
    const whole = await caller.call('GET', address)
    const etag = whole.headers.get('etag') as string
    expect([whole.status, etag, whole.headers.get('content-type')]).toEqual([
      200,
      `"${await sha256(video)}"`,
      'video/mp4',
    ])
    expect(new Uint8Array(await whole.arrayBuffer())).toEqual(video)
    const part = await caller.call('GET', address, undefined, { range: 'bytes=100-199' })
    expect([part.status, part.headers.get('content-range')]).toEqual([206, 'bytes 100-199/2048'])
    expect(new Uint8Array(await part.arrayBuffer())).toEqual(video.slice(100, 200))
    expect((await caller.call('GET', address, undefined, { 'if-none-match': etag })).status).toBe(304)
    expect((await caller.call('GET', address, undefined, { range: 'bytes=9999-' })).status).toBe(416)
    const stale = await caller.call('GET', address, undefined, { range: 'bytes=0-1', 'if-range': '"other"' })
    expect(stale.status).toBe(200)
    await stale.body?.cancel()
  })

  it('opens by a signed address alone, and by no other', async () => {
    fakeUpstream()
    const caller = await newTenant()
    const job = await caller.run({ seed: 22 })
    const signed = path(job.outputs[0]?.url)
    const opened = await knock(signed)
    expect(opened.status).toBe(200)
    await opened.body?.cancel()
    for (const other of [
      signed.replace('index=0', 'index=1'),
      signed.replace('variant=video', 'variant=latent'),
      signed.replace(/expires=(\d+)/, (_, at) => `expires=${Number(at) + 1}`),
      // To another letter, whichever it was.
      signed.replace(/signature=(.)/, (_, first) => `signature=${first === 'A' ? 'B' : 'A'}`),
      signed.replace(/&signature=.*/, ''),
    ]) {
      expect([401, 404]).toContain((await knock(other)).status)
    }
  })
})

const png = new Uint8Array([
  0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 8, 0, 0, 0, 8, 1, 2, 3,
])

describe('assets', () => {
  const announce = async (bytes: Uint8Array<ArrayBuffer>, fields: object = {}) => ({
    kind: 'image',
    content_type: 'image/png',
    bytes: bytes.length,
    sha256: await sha256(bytes),
    ...fields,
  })

  it('are uploaded by signed address, known again by their hash, and gone when deleted', async () => {
    fakeUpstream()
    const caller = await newTenant()
    const created = await caller.call('POST', '/v1/assets', await announce(png))
    const asset = (await created.json()) as { id: string; status: string; upload: { url: string } }
    expect([created.status, asset.status]).toEqual([201, 'pending'])
    const put = await knock(path(asset.upload.url), { method: 'PUT', body: png })
    expect(await put.json()).toMatchObject({ id: asset.id, status: 'ready', upload: null })
    const again = await caller.call('POST', '/v1/assets', await announce(png))
    expect(await again.json()).toMatchObject({ id: asset.id, status: 'ready' })
    expect((await caller.call('DELETE', `/v1/assets/${asset.id}`)).status).toBe(204)
    expect((await caller.call('GET', `/v1/assets/${asset.id}`)).status).toBe(404)
    expect(await bindings.BUCKET.head(`t/${caller.tenant}/${await sha256(png)}`)).toBeNull()
  })

  it('are refused with other bytes, another length, another kind or too many pixels', async () => {
    const caller = await newTenant()
    const attempt = async (fields: object, body: Uint8Array<ArrayBuffer>) => {
      const asset = (await (await caller.call('POST', '/v1/assets', fields)).json()) as { upload: { url: string } }
      return (await knock(path(asset.upload.url), { method: 'PUT', body })).status
    }
    const other = Uint8Array.from(png, (byte, index) => (index === 26 ? byte + 1 : byte))
    expect(await attempt(await announce(png), other)).toBe(422)
    expect(await attempt(await announce(png, { bytes: 28 }), png)).toBe(422)
    expect(await attempt(await announce(png, { bytes: 20 }), png)).toBe(422)
    const page = utf8('<html>'.repeat(20))
    expect(await attempt(await announce(page), page)).toBe(415)
    const huge = png.slice()
    huge.set([0, 0, 0xff, 0xff], 16)
    huge.set([0, 0, 0xff, 0xff], 20)
    expect(await attempt(await announce(huge), huge)).toBe(413)
    expect((await caller.call('POST', '/v1/assets', await announce(png, { bytes: 11 * 2 ** 20 }))).status).toBe(413)
    expect((await caller.call('POST', '/v1/assets', await announce(png, { content_type: 'text/html' }))).status).toBe(
      415,
    )
  })
})

describe('the shape of OpenAI', () => {
  it('suits its own client: create, retrieve, download, delete', async () => {
    fakeUpstream()
    const caller = await newTenant()
    const client = new OpenAI({
      apiKey: caller.key,
      baseURL: 'https://edge.test/compat/openai/v1',
      maxRetries: 0,
      dangerouslyAllowBrowser: true,
      fetch: ((input: RequestInfo, init?: RequestInit) => {
        const request = new Request(input, init)
        return knock(path(request.url), request)
      }) as typeof fetch,
    })
    const video = await client.videos.create({
      prompt: 'a red fox',
      seconds: '2' as '4',
      size: '64x64' as '720x1280',
      model: 'zt-test' as 'sora-2',
    })
    expect(video).toMatchObject({ object: 'video', model: 'zt-test', size: '64x64', remixed_from_video_id: null })
    await caller.call('GET', `/v1/videos/${video.id}/events`).then((response) => response.text())
    const done = await client.videos.retrieve(video.id)
    expect([done.status, done.progress]).toEqual(['completed', 100])
    const content = await client.videos.downloadContent(video.id)
    expect((await content.arrayBuffer()).byteLength).toBe(2048)
    expect(await client.videos.delete(video.id)).toMatchObject({ id: video.id, deleted: true })
    await expect(client.videos.retrieve(video.id)).rejects.toMatchObject({ status: 404 })
  })
})

describe('the document', () => {
  it('describes every route that is served, and no other', async () => {
    const { allRoutes } = await import('./app.ts')
    const document = (await (await knock('/openapi.json')).json()) as {
      openapi: string
      paths: Record<string, Record<string, { operationId: string }>>
      webhooks: object
    }
    expect(document.openapi).toBe('3.1.0')
    const described = Object.entries(document.paths).flatMap(([name, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${name}`),
    )
    expect(described.sort()).toEqual(allRoutes.map((route) => `${route.method} ${route.path}`).sort())
    expect(Object.keys(document.webhooks)).toHaveLength(6)
    expect(JSON.stringify(document)).toContain('num_inference_steps')
  })
})

describe('other doors', () => {
  it('quote without writing anything, list by pages, and give the catalog with a tag', async () => {
    const { node } = fakeUpstream()
    const caller = await newTenant()
    const quote = (await (
      await caller.call('POST', '/v1/videos/quote', { prompt: 'a fox', seed: 1, num_frames: 16 })
    ).json()) as object
    expect(quote).toMatchObject({
      recommended: 'in_cloud',
      cloud: { eligible: true, max_cost_usd: '0.000000' },
      device: { eligible: false },
      effective: { num_frames: 17 },
      warnings: [{ code: 'adjusted', pointer: '/num_frames', requested: 16, effective: 17 }],
    })
    expect(node.requests).toEqual(['GET /v1/node'])
    const ids = []
    for (let seed = 0; seed < 5; seed++) ids.unshift((await caller.create({ seed })).id)
    const seen: string[] = []
    let cursor = ''
    do {
      const page = (await (await caller.call('GET', `/v1/videos?limit=2${cursor}`)).json()) as {
        data: { id: string }[]
        next_cursor: string | null
      }
      seen.push(...page.data.map(({ id }) => id))
      cursor = page.next_cursor === null ? '' : `&cursor=${page.next_cursor}`
    } while (cursor !== '')
    expect(seen.sort()).toEqual(ids.sort())
    const models = await caller.call('GET', '/v1/models')
    expect(((await models.json()) as { default_model: string }).default_model).toBe('zt-test')
    const tag = { 'if-none-match': models.headers.get('etag') as string }
    expect((await caller.call('GET', '/v1/models', undefined, tag)).status).toBe(304)
    expect((await caller.call('GET', '/v1/models/zt-test/manifest')).status).toBe(200)
  })

  it('give weights by their hash, in ranges and for ever', async () => {
    const caller = await newTenant()
    const bytes = utf8('weights of a model')
    const name = await sha256(bytes)
    await bindings.BUCKET.put(`weights/${name}`, bytes)
    const part = await caller.call('GET', `/v1/weights/${name}`, undefined, { range: 'bytes=8-9' })
    expect([part.status, await part.text(), part.headers.get('cache-control')]).toEqual([
      206,
      'of',
      'public, max-age=31536000, immutable',
    ])
    expect((await caller.call('GET', `/v1/weights/${'0'.repeat(64)}`)).status).toBe(404)
  })

  it('quote how many runs of the node would wait before a new one, and nothing where nobody says', async () => {
    const { node } = fakeUpstream()
    const caller = await newTenant()
    const position = async (model = 'zt-test') => {
      const answer = await caller.call('POST', '/v1/videos/quote', { prompt: 'a fox', model })
      return ((await answer.json()) as { cloud: { queue_position: number | null } }).cloud.queue_position
    }
    for (const [busy, waiting, expected] of [
      [0, 0, 0],
      [1, 0, 0],
      [2, 0, 0],
      [2, 3, 3],
    ] as const) {
      node.occupancy = { slots: 2, busy, waiting }
      expect(await position()).toBe(expected)
    }
    node.occupancy = null
    expect([await position(), await position('wan-2.2-t2v-fast')]).toEqual([null, null])
  })

  it('embed a prompt once and remember it', async () => {
    const { node } = fakeUpstream()
    const caller = await newTenant()
    const ask = () => caller.call('POST', '/v1/embeddings/prompt', { prompt: 'a fox', dtype: 'f16' })
    const [first, second] = [await ask(), await ask()]
    for (const response of [first, second]) {
      expect([response.status, response.headers.get('zoetrope-tensor')]).toEqual([
        200,
        '{"shape":[1,2,4],"dtype":"f16"}',
      ])
      expect((await response.arrayBuffer()).byteLength).toBe(16)
    }
    expect(node.requests).toEqual(['POST /v1/embeddings/prompt'])
  })

  it('find embeddings near by where the store lost them, in the store where the cache forgot, for one tenant', async () => {
    const { node } = fakeUpstream()
    const [caller, other] = [await newTenant(), await newTenant()]
    const body = { prompt: 'a bear', dtype: 'f16' }
    const ask = async (who = caller) => {
      const response = await who.call('POST', '/v1/embeddings/prompt', body)
      expect([response.status, response.headers.get('zoetrope-tensor')]).toEqual([
        200,
        '{"shape":[1,2,4],"dtype":"f16"}',
      ])
      expect((await response.arrayBuffer()).byteLength).toBe(16)
      return node.requests.length
    }
    const stored = async () => (await bindings.BUCKET.list({ prefix: `t/${caller.tenant}/embeddings/` })).objects
    expect(await ask()).toBe(1)
    const forgetful = vi.spyOn(caches.default, 'match').mockResolvedValue(undefined)
    expect(await ask()).toBe(1)
    forgetful.mockRestore()
    await bindings.BUCKET.delete((await stored()).map(({ key }) => key))
    expect([await stored(), await ask()]).toEqual([[], 1])
    expect(await ask(other)).toBe(2)
  })

  it('name allowed origins exactly', async () => {
    const allowed = async (origin: string) =>
      (await knock('/v1/videos', { method: 'OPTIONS', headers: { origin } })).headers.get('access-control-allow-origin')
    expect(await allowed('https://app.test')).toBe('https://app.test')
    for (const origin of [
      'https://app.test.evil.com',
      'http://app.test',
      'https://APP.test',
      'null',
      'https://app.test:443',
      'https://xapp.test',
    ]) {
      expect([origin, await allowed(origin)]).toEqual([origin, null])
    }
  })

  it('let a revoked token in no more', async () => {
    const caller = await newTenant()
    const minted = (await (await caller.call('POST', '/v1/tokens', { subject: 's' })).json()) as {
      jti: string
      token: string
    }
    expect((await caller.call('DELETE', `/v1/tokens/${minted.jti}`)).status).toBe(204)
    const answer = await knock('/v1/videos', { headers: { authorization: `Bearer ${minted.token}` } })
    expect(answer.status).toBe(401)
  })
})
