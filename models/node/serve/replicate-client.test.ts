/**
 * The stock `replicate` client against the node, with a toy model behind it and nothing of the client's replaced.
 */

import { once } from 'node:events'
import { mkdtemp } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import Replicate, { type Prediction, parseProgressFromLogs } from 'replicate'
import { Webhook } from 'standardwebhooks'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { toyFolder } from '../../../test/toy-folder.ts'
import { nodeBackend } from '../backend.ts'
import { type RunningNode, startNode } from './serve.ts'

interface Received {
  readonly headers: Record<string, string>
  readonly body: string
}

/** A receiver of webhooks that hands them out in the order they came. */
async function receiver() {
  const received: Received[] = []
  const server = createServer(async (request, response) => {
    received.push({ headers: request.headers as Record<string, string>, body: await text(request) })
    response.writeHead(204).end()
    server.emit('hook')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`
  const until = async (enough: (all: readonly Received[]) => boolean) => {
    while (!enough(received)) await once(server, 'hook')
    return received
  }
  return { url, until, close: () => server.close() }
}

let node: RunningNode
let client: Replicate
let hooks: Awaited<ReturnType<typeof receiver>>
const model = 'zoetrope/zt-toy'
const input = { prompt: 'a red fox jumps in the snow', seed: 3 }

beforeAll(async () => {
  hooks = await receiver()
  node = await startNode({
    backend: nodeBackend({ threads: 1, optimization: 'basic' }),
    token: 'stock',
    folders: await toyFolder(await mkdtemp(join(tmpdir(), 'zoetrope-stock-'))),
    webhookPrefixes: [hooks.url],
    slots: 2,
  })
  client = new Replicate({ auth: 'stock', baseUrl: `${node.url}/v1` })
})

afterAll(async () => {
  hooks.close()
  await node.close()
})

const put = async (id: string, data: object): Promise<Prediction> => {
  const response = await client.request(`/predictions/${id}`, { method: 'PUT', data })
  return (await response.json()) as Prediction
}

describe('the stock client', () => {
  it('creates by model and by version, waits and gets', async () => {
    const { latest_version: version } = await client.models.get('zoetrope', 'zt-toy')
    for (const by of [{ model }, { version: version?.id as string }]) {
      const created = await client.predictions.create({ ...by, input })
      expect(created.status).toBe('starting')
      const done = await client.wait(created, { interval: 1 })
      expect(done.status).toBe('succeeded')
      expect(await client.predictions.get(created.id)).toEqual(done)
      expect((await (await fetch(done.output)).bytes()).length).toBeGreaterThan(500)
    }
  })

  it('runs: the output is the address of an MP4', async () => {
    const shown: Prediction[] = []
    const output = (await client.run(model, { input }, (prediction) => shown.push(prediction))) as unknown as string
    const response = await fetch(output)
    expect(response.headers.get('content-type')).toBe('video/mp4')
    expect(Buffer.from(await response.arrayBuffer()).toString('latin1', 4, 8)).toBe('ftyp')
    expect(shown.at(-1)?.status).toBe('succeeded')
  })

  it('runs by polling as well, and several outputs come as a list', async () => {
    const output = await client.run(model, { input: { ...input, n: 2 }, wait: { mode: 'poll', interval: 1 } })
    expect(output).toHaveLength(2)
  })

  it('finds a number in the logs', async () => {
    const done = await client.predictions.create({ model, input, wait: true })
    expect(parseProgressFromLogs(done)).toEqual({ percentage: 1, current: 4, total: 4 })
    expect(parseProgressFromLogs(done.logs?.split('\n').slice(0, 4).join('\n') ?? '')).toEqual({
      percentage: 0.5,
      current: 2,
      total: 4,
    })
  })

  it('streams the logs, the output and the end', async () => {
    const events: string[] = []
    let output = ''
    for await (const { event, data } of client.stream(model, { input })) {
      events.push(event)
      if (event === 'output') output = data
    }
    expect([...new Set(events)]).toEqual(['logs', 'output', 'done'])
    expect((await fetch(output)).status).toBe(200)
  })

  it('puts twice and gets the one prediction', async () => {
    const before = node.predictions.executions()
    const [first, second] = [await put('attempt-1', { model, input }), await put('attempt-1', { input, model })]
    expect([first.id, second.id, second.created_at]).toEqual(['attempt-1', 'attempt-1', first.created_at])
    await client.wait(first, { interval: 1 })
    expect((await put('attempt-1', { model, input })).status).toBe('succeeded')
    expect(node.predictions.executions() - before).toBe(1)
    await expect(put('attempt-1', { model, input: { ...input, seed: 4 } })).rejects.toMatchObject({
      response: { status: 422 },
    })
  })

  it('cancels between two steps', async () => {
    const created = await client.predictions.create({
      model,
      input: { ...input, num_inference_steps: 64, num_frames: 17, size: '64x64' },
    })
    const canceled = await client.predictions.cancel(created.id)
    expect([canceled.status, canceled.output]).toEqual(['canceled', null])
    expect(await client.predictions.cancel(created.id)).toEqual(canceled)
  })

  it('uploads a file, sees it and deletes it', async () => {
    const file = await client.files.create(new Blob(['latents'], { type: 'text/html' }), { for: 'a test' })
    expect(file).toMatchObject({ size: 7, metadata: { for: 'a test' } })
    expect(await client.files.get(file.id)).toMatchObject({ id: file.id })
    expect((await client.files.list()).results.map(({ id }) => id)).toContain(file.id)
    const { download } = (await client.files.get(file.id)).urls as unknown as { download: string }
    const response = await fetch(download)
    expect([await response.text(), response.headers.get('content-security-policy')]).toEqual([
      'latents',
      "sandbox; default-src 'none'",
    ])
    expect(await client.files.delete(file.id)).toBe(true)
    await expect(client.files.get(file.id)).rejects.toMatchObject({ response: { status: 404 } })
  })

  it('turns a Blob in the input into a file of the node', async () => {
    const shape = { num_frames: 1, output_format: 'latents' }
    const half = await client.predictions.create({ model, input: { ...input, ...shape, stop_step: 2 }, wait: true })
    const init = await (await fetch(half.output)).blob()
    const rest = { ...input, ...shape, init_latent: init, start_step: 2 }
    const [split, whole] = [
      await client.predictions.create({ model, input: rest, wait: true }),
      await client.predictions.create({ model, input: { ...input, ...shape }, wait: true }),
    ]
    const bytes = ({ output }: Prediction) => fetch(output).then((each) => each.bytes())
    expect(await bytes(split)).toEqual(await bytes(whole))
  })

  it('reads the models, their versions and the account', async () => {
    const [listed] = (await client.models.list()).results
    const [version] = (
      (await client.models.versions.list('zoetrope', 'zt-toy')) as unknown as { results: { id: string }[] }
    ).results
    const schema = (await client.models.versions.get('zoetrope', 'zt-toy', version?.id ?? '')).openapi_schema as {
      components: { schemas: { Input: { properties: Record<string, { default?: unknown }> } } }
    }
    expect(listed).toMatchObject({ owner: 'zoetrope', name: 'zt-toy' })
    expect(schema.components.schemas.Input.properties.num_frames?.default).toBe(5)
    expect(await client.accounts.current()).toMatchObject({ type: 'organization', username: 'zoetrope' })
  })

  it('is told by webhooks that the reference verifier accepts', async () => {
    const { key } = await client.webhooks.default.secret.get()
    const { id } = await client.predictions.create({ model, input, webhook: hooks.url })
    const bodies = (all: readonly Received[]) => all.map(({ body }) => JSON.parse(body) as Prediction)
    const received = await hooks.until((all) => bodies(all).some((each) => each.id === id && each.completed_at))
    const verifier = new Webhook(key)
    for (const { headers, body } of received) {
      verifier.verify(body, headers)
      expect(() => verifier.verify(`${body} `, headers)).toThrow('No matching signature')
    }
    const statuses = bodies(received).map(({ status }) => status)
    expect([statuses[0], statuses.at(-1)]).toEqual(['processing', 'succeeded'])
  })

  it('hears of a refusal in one sentence', async () => {
    await expect(client.predictions.create({ model, input: { prompt: '' } })).rejects.toThrow(
      'prompt: got an empty text',
    )
    await expect(client.predictions.create({ model, input, webhook: 'http://127.0.0.1:1/x' })).rejects.toThrow(
      'webhook: got http://127.0.0.1:1/x, allowed beginnings are',
    )
    await expect(client.predictions.create({ model: 'zoetrope/huge', input })).rejects.toThrow(
      'model: got zoetrope/huge, this node has zoetrope/zt-toy',
    )
  })
})
