/**
 * The SDK against the real Worker and the real node, as `npm start` starts them: toy model, loopback.
 */

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import sharp from 'sharp'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { freePort } from '../models/node/start/ports.ts'
import type { PartReference } from '../shared/events.ts'
import { developmentKey } from '../test/development-key.ts'
import { root } from '../test/sources.ts'
import { ended, launch, ready, type Started } from '../test/started.ts'
import { toyFolder } from '../test/toy-folder.ts'
import { type ClientEvent, createClient, type Job, type VideoRequest } from './index.ts'

let models: string
let port: number
let stack: Started

beforeAll(async () => {
  models = await mkdtemp(join(tmpdir(), 'zoetrope-sdk-'))
  await toyFolder(models)
  port = await freePort(21_400)
  const nodePort = await freePort(21_405)
  stack = await ready(launch({ port, nodePort, models, environment: { DEVELOPMENT_KEY: developmentKey } }))
}, 240_000)

afterAll(async () => {
  await ended(stack, port)
  await rm(models, { recursive: true, force: true })
}, 60_000)

afterEach(() => vi.unstubAllGlobals())

const clientFor = (credential = developmentKey, baseUrl = stack.address) =>
  createClient({ baseUrl, tokenProvider: async () => credential })

/** Breaks the connection of the first stream of events once it has brought the text. */
function breakFirst(text: string): () => number {
  const whole = globalThis.fetch
  let broken = 0
  vi.stubGlobal('fetch', async (url: URL, init: RequestInit = {}) => {
    if (broken > 0 || !url.pathname.endsWith('/events')) return whole(url, init)
    const line = new AbortController()
    const answer = await whole(url, { ...init, signal: line.signal })
    const cut = new TransformStream<Uint8Array, Uint8Array>({
      transform: (bytes, controller) => {
        controller.enqueue(bytes)
        if (!new TextDecoder().decode(bytes).includes(text)) return
        broken += 1
        line.abort(new TypeError('the connection broke'))
      },
    })
    return new Response(answer.body?.pipeThrough(cut) ?? null, answer)
  })
  return () => broken
}

async function eventsOf(job: Job): Promise<ClientEvent[]> {
  const events: ClientEvent[] = []
  for await (const event of job.events()) events.push(event)
  return events
}

async function bytesOf(url: string): Promise<Uint8Array> {
  const answer = await fetch(url)
  expect(answer.status).toBe(200)
  return new Uint8Array(await answer.arrayBuffer())
}

const request: VideoRequest = { prompt: 'a blue bird flies left over the sea', seed: 5 }
/** Long enough to be heard, and to be stopped, on its way. */
const long: VideoRequest = { ...request, numInferenceSteps: 64, numFrames: 17, size: '64x64', n: 2 }

describe('the SDK with a service', { timeout: 240_000 }, () => {
  it('creates, hears it to the end and hands out the file the receipt names', async () => {
    using zoetrope = clientFor()
    using job = await zoetrope.videos.create(request)
    const events = await eventsOf(job)
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1))
    const state = await job.result()
    expect(state).toMatchObject({ status: 'completed', seed: 5, inferenceSource: 'in_cloud', error: null })
    const [output] = state.outputs
    const bytes = await bytesOf(output?.url ?? '')
    expect(String.fromCharCode(...bytes.subarray(4, 8))).toBe('ftyp')
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(output?.sha256)
    expect(state.receipt?.outputs_sha256).toEqual([output?.sha256])
  })

  it('takes a dropped stream up after the last event it heard', async () => {
    using zoetrope = clientFor()
    const broken = breakFirst('event: progress')
    using job = await zoetrope.videos.create({ ...long, seed: 6 })
    const events = await eventsOf(job)
    expect(broken()).toBe(1)
    expect((await job.result()).status).toBe('completed')
    // After the answer to create, nothing is told twice.
    const [, ...statuses] = events.flatMap((event) => (event.type === 'status' ? [event.job.status] : []))
    expect(statuses.filter((status, index) => status === statuses[index - 1])).toEqual([])
    const outputs = events.flatMap((event) => (event.type === 'output' ? [event.output.index] : []))
    expect(outputs).toEqual([0, 1])
    const values = events.flatMap((event) => (event.type === 'progress' ? [event.value] : []))
    expect(values).toEqual([...values].sort((a, b) => a - b))
  })

  it('shows a batch while it is made: pictures on the way, the first output before the second', async () => {
    using zoetrope = clientFor()
    using job = await zoetrope.videos.create({ ...long, seed: 12 })
    const events = await eventsOf(job)
    const previews = events.flatMap((event) => (event.type === 'preview' ? [event] : []))
    expect(previews.length).toBeGreaterThan(0)
    const picture = await sharp(Buffer.from(previews[0]?.dataBase64 ?? '', 'base64')).metadata()
    expect([previews[0]?.contentType, picture.format, picture.width]).toEqual(['image/jpeg', 'jpeg', 64])
    expect(previews[0]).toMatchObject({ frameIndex: 8 })
    const [part] = events.flatMap((event) => (event.type === 'part' ? [event] : []))
    const reference = part?.part as PartReference
    expect([part?.block, reference.kind]).toEqual([0, 'segment'])
    expect(events.findIndex(({ type }) => type === 'part')).toBeLessThan(
      events.findIndex(({ type }) => type === 'output'),
    )
    const { outputs } = await job.result()
    expect(reference.sha256).toBe(outputs[0]?.sha256)
    const bytes = await bytesOf(reference.url)
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(reference.sha256)
  })

  it('runs what comes in under another name for this place, as through a forwarded port', async () => {
    const { port: real } = new URL(stack.address)
    const headers = {
      host: 'localhost:9',
      authorization: `Bearer ${developmentKey}`,
      'content-type': 'application/json',
    }
    const answer = await new Promise<string>((resolve, reject) => {
      const sent = httpRequest(
        { host: '127.0.0.1', port: real, path: '/v1/videos', method: 'POST', headers },
        (response) => {
          let text = ''
          response.on('data', (piece) => (text += piece)).on('end', () => resolve(text))
        },
      )
      sent.on('error', reject).end(JSON.stringify({ prompt: 'a green frog jumps', seed: 3 }))
    })
    const { id } = JSON.parse(answer) as { id: string }
    // A node that refuses the address of the hook refuses the run.
    await vi.waitFor(async () => {
      const job = await fetch(`${stack.address}/v1/videos/${id}`, {
        headers: { authorization: `Bearer ${developmentKey}` },
      })
      expect(await job.json()).toMatchObject({ status: 'completed', error: null })
    }, 60_000)
  })

  it('is one job for one key, however often it is sent', async () => {
    using zoetrope = clientFor()
    const idempotencyKey = crypto.randomUUID()
    const jobs = [
      await zoetrope.videos.create({ prompt: 'a green frog spins' }, { idempotencyKey }),
      await zoetrope.videos.create({ prompt: 'a green frog spins' }, { idempotencyKey }),
    ]
    const [one, two] = await Promise.all(jobs.map((job) => job.result()))
    // The seed was drawn once, so it says that there was one draw.
    expect([two?.id, two?.seed]).toEqual([one?.id, one?.seed])
    const other = zoetrope.videos.create({ prompt: 'a red frog spins' }, { idempotencyKey })
    await expect(other).rejects.toMatchObject({ code: 'idempotency_key_reuse' })
  })

  it('keeps seed 0, a batch and a negative prompt', async () => {
    using zoetrope = clientFor()
    const asked = { prompt: 'a fox jumps', negativePrompt: 'snow', seed: 0, n: 2 }
    using job = await zoetrope.videos.create(asked)
    const { outputs, seed, effective, receipt } = await job.result()
    expect(seed).toBe(0)
    expect(effective).toMatchObject({ negativePrompt: 'snow', n: 2, seed: 0 })
    expect(receipt?.effective).toMatchObject({ negative_prompt: 'snow', n: 2, seed: 0 })
    expect(outputs.map(({ index }) => index)).toEqual([0, 1])
    // The second of a batch has the next seed.
    using single = await zoetrope.videos.create({ prompt: 'a fox jumps', negativePrompt: 'snow', seed: 1 })
    expect((await single.result()).outputs[0]?.sha256).toBe(outputs[1]?.sha256)
    expect(outputs[0]?.sha256).not.toBe(outputs[1]?.sha256)
  })

  it('attaches to a job that is over, and quotes one that is not', async () => {
    using zoetrope = clientFor()
    using job = await zoetrope.videos.create(request)
    const { id, outputs } = await job.result()
    using again = await zoetrope.videos.attach(id)
    expect((await again.result()).outputs[0]?.sha256).toBe(outputs[0]?.sha256)
    expect(await zoetrope.videos.quote({ ...request, numFrames: 6 })).toMatchObject({
      cloud: { eligible: true },
      effective: { numFrames: 5 },
    })
  })

  it.each([
    ['an unknown key', 'unauthenticated', () => clientFor('zoe_test_none').videos.create(request)],
    [
      'a model that is not there',
      'invalid_parameter',
      () => clientFor().videos.create({ ...request, model: 'nobody' }),
    ],
    [
      'strict, a size that would be changed',
      'strict_mismatch',
      () => clientFor().videos.create({ ...request, size: '65x64', strict: true }),
    ],
    ['a job of nobody', 'not_found', () => clientFor().videos.attach(`vid_${'a'.repeat(26)}`)],
    [
      'a service that is not there',
      'offline',
      () => clientFor(developmentKey, 'http://127.0.0.1:9').videos.create(request),
    ],
  ])('says %s as %s', async (_what, code, ask) => {
    const outcome = ask().then((job) => job.result())
    await expect(outcome).rejects.toMatchObject({ name: 'GenerationError', code })
  })

  it('is what examples/service.ts says: a prompt on the command line becomes a file', async () => {
    const words = [join(root, 'examples', 'service.ts'), 'a fox jumps']
    const env = { ...process.env, ZOETROPE_URL: stack.address, ZOETROPE_KEY: developmentKey }
    const { stdout } = await promisify(execFile)(process.execPath, words, { cwd: models, env })
    expect(stdout).toMatch(/^video\.mp4, seed \d+$/m)
    expect((await readFile(join(models, 'video.mp4'))).subarray(4, 8).toString()).toBe('ftyp')
  })

  it('cancels at the service', async () => {
    using zoetrope = clientFor()
    const stop = new AbortController()
    const job = await zoetrope.videos.create({ ...long, seed: 8 }, { signal: stop.signal })
    for await (const event of job.events()) if (event.type === 'progress') break
    const { id } = job.state()
    stop.abort()
    await expect(job.result()).rejects.toMatchObject({ code: 'aborted' })
    const again = await zoetrope.videos.attach(id)
    await expect(again.result()).rejects.toMatchObject({ code: 'aborted' })
    expect(again.state().status).toBe('cancelled')
  })
})
