import { request as rawRequest } from 'node:http'
import { connect } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { GenerationError } from '../../../shared/errors.ts'
import { type StagedNode, stagedNode } from '../../../test/stage.ts'
import type { PredictionObject } from './prediction.ts'
import type { NodeOptions } from './serve.ts'

async function staged(options: Partial<NodeOptions> = {}): Promise<StagedNode> {
  const all = await stagedNode(options)
  onTestFinished(() => all.node.close())
  return all
}

const body = { model: 'zt-toy', input: { prompt: 'a red ball', seed: 1 } }
const read = async (response: Response | Promise<Response>) => (await (await response).json()) as PredictionObject
const detail = async (response: Response) => ((await response.json()) as { detail: string }).detail

describe('who may ask', () => {
  const paths = ['/v1/predictions', '/v1/account', '/v1/files', '/v1/models', '/v1/webhooks/default/secret', '/nowhere']

  it('must know the token, on every route that carries none in its address', async () => {
    const { node } = await staged()
    for (const path of paths) {
      for (const authorization of ['', 'Bearer ', 'Bearer wrong', 'a-token-for-tests', 'bearer a-token-for-tests']) {
        const response = await fetch(`${node.url}${path}`, { headers: { authorization } })
        expect([path, authorization, response.status]).toEqual([path, authorization, 401])
      }
    }
    expect((await fetch(`${node.url}/healthz`)).status).toBe(200)
  })

  /** A request with a Host of its own, which fetch does not let through. */
  const withHost = (port: number, host: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const headers = { host, authorization: 'Bearer a-token-for-tests', 'content-type': 'application/json' }
      const request = rawRequest({ host: '127.0.0.1', port, path: '/v1/predictions', method: 'POST', headers })
      request.on('response', (response) => resolve(response.resume().statusCode ?? 0)).on('error', reject)
      request.end(JSON.stringify(body))
    })

  it('must call the node by a name of its own, so a rebound name runs nothing', async () => {
    const { node } = await staged({ hosts: ['gpu.internal'] })
    const foreign = ['evil.example', `evil.example:${node.port}`, '127.0.0.1.evil.example', 'localhost.', '0.0.0.0']
    for (const host of foreign) expect([host, await withHost(node.port, host)]).toEqual([host, 403])
    for (const host of ['a@127.0.0.1', '127.0.0.1/x', 'a b']) {
      expect([host, await withHost(node.port, host)]).toEqual([host, 400])
    }
    expect(node.predictions.list(undefined, 10).results).toEqual([])
    for (const host of ['localhost', '127.0.0.1:1', '[::1]:80', 'GPU.internal']) {
      expect([host, await withHost(node.port, host)]).toEqual([host, 201])
    }
  })

  it('must send JSON, so a form of a web page runs nothing', async () => {
    const { node, call } = await staged()
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data', '']) {
      const init = { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': type } }
      expect([type, (await call('/v1/predictions', init)).status]).toEqual([type, 415])
    }
    expect(node.predictions.list(undefined, 10).results).toEqual([])
  })

  it('gets no permission for other origins, asked or not', async () => {
    const { call } = await staged()
    const headers = { origin: 'https://evil.example', 'access-control-request-method': 'POST' }
    for (const method of ['OPTIONS', 'GET']) {
      const response = await call('/v1/predictions', { method, headers })
      expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
    }
  })
})

describe('a body', () => {
  const refused: Readonly<Record<string, readonly [body: string, status: number, message: string]>> = {
    'that is no JSON': ['{', 400, 'is no JSON object'],
    'that is a list': ['[]', 400, 'is no JSON object'],
    'of more than a mebibyte': [JSON.stringify({ input: 'x'.repeat(2 ** 20) }), 413, 'longer than 1048576 bytes'],
    'without a model': ['{"input":{}}', 422, 'name a version or a model'],
    'with an unknown model': ['{"model":"huge","input":{}}', 404, 'this node has zoetrope/zt-toy'],
    'with an unknown field': ['{"model":"zt-toy","input":{},"speed":1}', 422, 'speed: is not a field here'],
    'without an input': ['{"model":"zt-toy"}', 422, 'input: is missing'],
    'with an unknown input': ['{"model":"zt-toy","input":{"prompt":"a","speed":1}}', 422, 'speed: is not a field'],
    'with an empty prompt': ['{"model":"zt-toy","input":{"prompt":""}}', 422, 'prompt: got an empty text'],
    'with a seed that is none': ['{"model":"zt-toy","input":{"prompt":"a","seed":-1}}', 422, 'seed: got -1'],
    'with half a size': ['{"model":"zt-toy","input":{"prompt":"a","width":32}}', 422, 'width and height together'],
    'with a format not made here': [
      '{"model":"zt-toy","input":{"prompt":"a","output_format":"webm"}}',
      422,
      'mp4, gif, webp, png, frames, latents',
    ],
    'with a webhook to anywhere': [
      '{"model":"zt-toy","input":{"prompt":"a"},"webhook":"http://a.example"}',
      422,
      'webhook',
    ],
  }
  for (const [name, [text, status, message]] of Object.entries(refused)) {
    it(`${name} is refused in one sentence`, async () => {
      const { call, node } = await staged()
      const response = await call('/v1/predictions', { method: 'POST', body: text })
      expect([response.status, await detail(response)]).toEqual([status, expect.stringContaining(message)])
      expect(node.predictions.list(undefined, 10).results).toEqual([])
    })
  }
})

describe('PUT', () => {
  it('runs once for 100 equal ones at once', async () => {
    const { node, put, stage } = await staged()
    const answers = await Promise.all(Array.from({ length: 100 }, () => put('attempt', body)))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(99)
    const { succeed } = await stage.run('attempt')
    succeed()
    expect((await read(put('attempt', body, { prefer: 'wait' }))).status).toBe('succeeded')
    expect(node.predictions.executions()).toBe(1)
  })

  it('takes another order of the same fields for the same, and anything else for another', async () => {
    const { put } = await staged()
    await put('attempt', body)
    const { model, input } = body
    expect((await put('attempt', { input: { seed: 1, prompt: input.prompt }, model })).status).toBe(200)
    for (const other of [{ ...body, input: { ...input, seed: 2 } }, { ...body, webhook: 'http://a.example' }, {}]) {
      expect((await put('attempt', other)).status).toBe(422)
    }
  })

  it('remembers for a day after the end and not longer', async () => {
    const { put, stage, clock, call, node } = await staged()
    await put('attempt', body)
    ;(await stage.run('attempt')).succeed()
    await put('attempt', body, { prefer: 'wait' })
    await clock.advance(24 * 3_600_000 - 1)
    expect((await put('attempt', body)).status).toBe(200)
    await clock.advance(1)
    expect((await call('/v1/predictions/attempt')).status).toBe(404)
    expect((await put('attempt', body)).status).toBe(201)
    await stage.run('attempt')
    expect(node.predictions.executions()).toBe(2)
  })

  it('of a refused body does not use the id up', async () => {
    const { put } = await staged()
    expect((await put('attempt', { ...body, input: {} })).status).toBe(422)
    expect((await put('attempt', body)).status).toBe(201)
    expect((await put('a%2Fb', body)).status).toBe(422)
    expect((await put('x'.repeat(129), body)).status).toBe(422)
  })
})

describe('slots and the queue', () => {
  it('answer 409 when all are taken, and go on in order', async () => {
    const { put, stage, node } = await staged({ slots: 1, queue: 1 })
    expect((await put('first', body)).status).toBe(201)
    const first = await stage.run('first')
    expect((await put('second', body)).status).toBe(201)
    const full = await put('third', body)
    expect([full.status, full.headers.get('retry-after')]).toEqual([409, '5'])
    expect(await detail(full)).toContain('all 1 are busy')
    first.succeed()
    await stage.run('second')
    expect((await put('third', body)).status).toBe(201)
    expect(stage.runs.map(({ prediction }) => prediction.order.id)).toEqual(['first', 'second'])
    expect(node.predictions.executions()).toBe(2)
  })

  it('tell each that waits how many are before it, and those that run or are over nothing', async () => {
    const { put, call, stage } = await staged({ slots: 1, queue: 2 })
    for (const id of ['first', 'second', 'third']) await put(id, body)
    const first = await stage.run('first')
    const positions = async () => {
      const all = ['first', 'second', 'third'].map((id) => read(call(`/v1/predictions/${id}`)))
      return (await Promise.all(all)).map(({ queue_position: position }) => position)
    }
    expect(await positions()).toEqual([null, 0, 1])
    await call('/v1/predictions/second/cancel', { method: 'POST' })
    expect(await positions()).toEqual([null, null, 0])
    first.succeed()
    await stage.run('third')
    expect(await positions()).toEqual([null, null, null])
  })

  it('of two run two at once', async () => {
    const { put, stage } = await staged({ slots: 2, queue: 0 })
    await Promise.all([put('a', body), put('b', body)])
    await Promise.all([stage.run('a'), stage.run('b')])
    expect((await put('c', body)).status).toBe(409)
  })

  it('free a slot when a run fails, whose cause stays in the log of the node', async () => {
    const complaints: unknown[] = []
    const { put, stage } = await staged({ slots: 1, queue: 0, complain: (error) => complaints.push(error) })
    await put('a', body)
    ;(await stage.run('a')).fail(new Error('secret path /home/x'))
    expect(await read(put('a', body, { prefer: 'wait' }))).toMatchObject({
      status: 'failed',
      error: 'internal: the node failed; its log says why',
      error_code: 'internal',
    })
    expect(complaints).toHaveLength(1)
    expect((await put('b', body)).status).toBe(201)
  })
})

describe('cancel', () => {
  it('of one that waits takes effect at once and gives its place free', async () => {
    const { put, post, stage, node } = await staged({ slots: 1, queue: 1 })
    await put('first', body)
    await stage.run('first')
    await put('second', body)
    const canceled = await read(post('/v1/predictions/second/cancel', {}))
    expect(canceled).toMatchObject({ status: 'canceled', logs: '' })
    expect(canceled).not.toHaveProperty('started_at')
    expect((await put('third', body)).status).toBe(201)
    expect(node.predictions.executions()).toBe(1)
  })

  it('of one that runs is confirmed when it has stopped; of one that has ended changes nothing', async () => {
    const { put, post, stage } = await staged()
    await put('a', body)
    await stage.run('a')
    expect((await read(post('/v1/predictions/a/cancel', {}))).status).toBe('canceled')
    await put('b', body)
    ;(await stage.run('b')).succeed()
    const done = await read(put('b', body, { prefer: 'wait' }))
    expect(await read(post('/v1/predictions/b/cancel', {}))).toEqual(done)
    expect((await post('/v1/predictions/none/cancel', {})).status).toBe(404)
  })
})

describe('Prefer: wait', () => {
  it('holds the answer until the end', async () => {
    const { put, stage } = await staged()
    const answer = put('a', body, { prefer: 'respond-async, wait=5' })
    ;(await stage.run('a')).succeed()
    const response = await answer
    expect([response.status, response.headers.get('preference-applied')]).toEqual([201, 'wait=5'])
    expect((await read(response)).status).toBe('succeeded')
  })

  it('that runs out reports starting, even of one that runs', async () => {
    const { put, stage, clock, call } = await staged()
    const answer = put('a', body, { prefer: 'wait=5' })
    await stage.run('a')
    await clock.advance(5000)
    const response = await answer
    expect([response.status, (await read(response)).status]).toEqual([202, 'starting'])
    expect((await read(call('/v1/predictions/a'))).status).toBe('processing')
  })

  it('that the caller leaves neither stops the run nor leaves a watcher', async () => {
    const { node, put, stage } = await staged()
    const leaving = new AbortController()
    const gone = fetch(`${node.url}/v1/predictions/a`, {
      method: 'PUT',
      body: JSON.stringify(body),
      signal: leaving.signal,
      headers: { authorization: 'Bearer a-token-for-tests', 'content-type': 'application/json', prefer: 'wait' },
    }).catch(() => 'gone')
    const { prediction, succeed, signal } = await stage.run('a')
    const left = new Promise<void>((resolve) => {
      const { watchers } = prediction
      const remove = watchers.delete.bind(watchers)
      watchers.delete = (watcher) => {
        resolve()
        return remove(watcher)
      }
    })
    leaving.abort()
    expect(await gone).toBe('gone')
    await left
    expect([prediction.watchers.size, signal.aborted]).toEqual([0, false])
    succeed()
    expect((await read(put('a', body, { prefer: 'wait' }))).status).toBe('succeeded')
  })
})

describe('Cancel-After', () => {
  it('before the start reports canceled', async () => {
    const { put, stage, clock, call, node } = await staged({ slots: 1 })
    await put('first', body)
    await stage.run('first')
    const queued = await read(put('second', body, { 'cancel-after': '1m' }))
    expect(queued).toMatchObject({ deadline: new Date(clock.now() + 60_000).toISOString() })
    await clock.advance(60_000)
    expect((await read(call('/v1/predictions/second'))).status).toBe('canceled')
    expect(node.predictions.executions()).toBe(1)
  })

  it('during the run stops it, and after the end does nothing', async () => {
    const { put, stage, clock, call } = await staged({ slots: 2 })
    await put('slow', body, { 'cancel-after': '30s' })
    await put('fast', body, { 'cancel-after': '30s' })
    await stage.run('slow')
    ;(await stage.run('fast')).succeed()
    await clock.advance(30_000)
    expect((await read(call('/v1/predictions/slow'))).status).toBe('canceled')
    expect((await read(call('/v1/predictions/fast'))).status).toBe('succeeded')
    expect(clock.pending()).toBe(0)
  })

  it('that cannot be read is refused', async () => {
    const { put } = await staged()
    for (const header of ['soon', '5', '1s', '25h', '-5m', '']) {
      expect([header, (await put('a', body, { 'cancel-after': header })).status]).toEqual([header, 400])
    }
  })
})

describe('the journal', () => {
  it('says how each prediction ends and at which step, and nothing of what was asked', async () => {
    const lines: string[] = []
    const { put, post, stage } = await staged({ slots: 2, queue: 1, journal: (line) => lines.push(line) })
    for (const id of ['a', 'b', 'c']) await put(id, body)
    const [a, b] = [await stage.run('a'), await stage.run('b')]
    a.report.step(3, 64)
    await post('/v1/predictions/c/cancel', {})
    await post('/v1/predictions/a/cancel', {})
    b.fail(new GenerationError('numerics_failed', 'a red ball is flat'))
    await put('b', body, { prefer: 'wait' })
    expect(lines).toEqual([
      'a  zt-toy  started',
      'b  zt-toy  started',
      'c  zt-toy  canceled before it started  (0.0 s)',
      'a  zt-toy  canceled after step 3/64  (0.0 s)',
      'b  zt-toy  failed: numerics_failed  (0.0 s)',
    ])
  })
})

describe('the list', () => {
  it('gives pages by absolute addresses, newest first, each prediction once', async () => {
    const { put, call, node } = await staged({ slots: 1, queue: 1000 })
    for (let index = 0; index < 205; index++) await put(`p${index}`, body)
    const seen: string[] = []
    let next: string | null = `${node.url}/v1/predictions`
    let pages = 0
    while (next !== null) {
      const page = (await (await call(new URL(next).pathname + new URL(next).search)).json()) as {
        next: string | null
        results: PredictionObject[]
      }
      seen.push(...page.results.map(({ id }) => id))
      expect(page.next === null || page.next.startsWith(`${node.url}/v1/predictions?cursor=`)).toBe(true)
      next = page.next
      pages++
    }
    expect(pages).toBe(3)
    expect(seen).toEqual(Array.from({ length: 205 }, (_, index) => `p${204 - index}`))
    expect((await call('/v1/predictions?cursor=none')).status).toBe(422)
  })
})

describe('the stream', () => {
  it('opens by its address alone, replays, and ends with the reason', async () => {
    const { put, post, stage, node } = await staged()
    const { urls } = await read(put('a', body))
    const { report } = await stage.run('a')
    report.step(1, 4)
    await post('/v1/predictions/a/cancel', {})
    const text = await (await fetch(urls.stream)).text()
    expect(text).toContain('event: logs\ndata:  25%|##        | 1/4 [00:00<00:00]\n')
    expect(text.endsWith('event: done\ndata: {"reason":"canceled"}\n\n')).toBe(true)
    expect((await fetch(`${node.url}/v1/streams/a?key=guess`)).status).toBe(404)
  })

  it('beats while nothing happens and lets go of a reader who leaves', async () => {
    const { put, stage, clock } = await staged()
    const { urls } = await read(put('a', body))
    const { prediction } = await stage.run('a')
    const leaving = new AbortController()
    const response = await fetch(urls.stream, { signal: leaving.signal })
    const reader = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader.read()).value).toContain('retry: 2000')
    await clock.advance(15_000)
    expect((await reader.read()).value).toContain(': hb')
    const timers = clock.pending()
    const left = new Promise((resolve) => {
      const remove = prediction.watchers.delete.bind(prediction.watchers)
      prediction.watchers.delete = (watcher) => {
        resolve(undefined)
        return remove(watcher)
      }
    })
    leaving.abort()
    await left
    expect([prediction.watchers.size, clock.pending()]).toEqual([0, timers - 1])
  })
})

describe('a connection', () => {
  it('that breaks off in the middle of a body makes nothing', async () => {
    const { node, call } = await staged()
    const socket = connect(node.port, '127.0.0.1')
    const head = [
      'PUT /v1/predictions/a HTTP/1.1',
      'host: 127.0.0.1',
      'authorization: Bearer a-token-for-tests',
      'content-type: application/json',
      'content-length: 1000',
      '',
      '{"model":',
    ]
    await new Promise<void>((resolve) => socket.write(head.join('\r\n'), () => resolve()))
    socket.destroy()
    expect((await call('/healthz')).status).toBe(200)
    expect(node.predictions.list(undefined, 10).results).toEqual([])
  })
})

describe('closing', () => {
  it('cancels what runs and what waits, and answers those who wait for it', async () => {
    const { node, put, stage } = await stagedNode({ slots: 1 })
    const [first, second] = [put('a', body, { prefer: 'wait' }), put('b', body, { prefer: 'wait' })]
    await stage.run('a')
    await expect.poll(() => node.predictions.list(undefined, 10).results.length, { timeout: 30_000 }).toBe(2)
    const closed = node.close()
    expect([(await read(first)).status, (await read(second)).status]).toEqual(['canceled', 'canceled'])
    await closed
    await expect(fetch(`${node.url}/healthz`)).rejects.toThrow()
  })

  it('leaves the port free, and a taken port is said', async () => {
    const { node } = await stagedNode()
    await expect(stagedNode({ port: node.port })).rejects.toThrow(`127.0.0.1:${node.port} cannot be used (EADDRINUSE)`)
    await node.close()
    const again = await stagedNode({ port: node.port })
    await again.node.close()
  })
})
