import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { WireEvent } from '../shared/events.ts'
import { encodeEvent, heartbeat, type NumberedEvent, retryField } from '../shared/sse.ts'
import type { Service } from './http.ts'
import { eventsIn, generateRemotely } from './remote.ts'

const progress = (value: number): WireEvent => ({
  type: 'progress',
  value,
  stage: 'denoise',
  step: 1,
  eta_ms: 5,
  inference_source: 'in_cloud',
})

/** A job as the service shows it, as far as a client reads it. */
const jobOf = (status: string, more: object = {}) => ({
  id: 'vid_1',
  object: 'video',
  status,
  routing_reason: 'mode_forced',
  outputs: [],
  error: null,
  urls: { self: '/v1/videos/vid_1', events: '/v1/videos/vid_1/events', cancel: '/v1/videos/vid_1/cancel', content: '' },
  ...more,
})
const ended = (status = 'completed', more: object = {}) =>
  ({ type: 'status', job: jobOf(status, more) }) as unknown as WireEvent

/** A stream of text, cut into pieces anywhere, ended without warning. */
function streamOf(text: string, sizes: readonly number[] = []): ReadableStream<Uint8Array<ArrayBuffer>> {
  const bytes = new TextEncoder().encode(text)
  let [at, turn] = [0, 0]
  return new ReadableStream({
    pull: (controller) => {
      if (at >= bytes.length) return controller.close()
      const end = at + Math.max(1, sizes[turn++ % Math.max(1, sizes.length)] ?? bytes.length)
      controller.enqueue(bytes.slice(at, end))
      at = end
    },
  })
}

interface Call {
  readonly method: string
  readonly path: string
  readonly headers: Headers
  readonly body: string
}

/** A service that answers by path, and remembers what it was asked. */
function serviceOf(answer: (call: Call, count: number) => Response | Error): Service & { readonly calls: Call[] } {
  const calls: Call[] = []
  return {
    calls,
    baseUrl: 'https://zoetrope.test',
    tokenProvider: async () => 'token',
    pause: async () => {},
    fetch: (async (url: URL, init: RequestInit) => {
      const call = {
        method: init.method ?? 'GET',
        path: url.pathname,
        headers: new Headers(init.headers),
        body: String(init.body ?? ''),
      }
      calls.push(call)
      const given = answer(
        call,
        calls.filter(({ path, method }) => path === call.path && method === call.method).length,
      )
      if (given instanceof Error) throw given
      return given
    }) as typeof globalThis.fetch,
  }
}

async function heard(service: Service, signal = new AbortController().signal) {
  const events = []
  for await (const event of generateRemotely(service, { prompt: 'a fox', seed: 0, numFrames: 5 }, 'key-1', signal))
    events.push(event)
  return events
}

describe('the event reader', () => {
  it('hears the same events whatever the cuts, letters of several bytes included', async () => {
    const events: NumberedEvent[] = [
      { seq: 1, event: progress(0.25) },
      { seq: 2, event: { type: 'warning', warning: { code: 'unknown_word', message: 'kein Wort „Füchsin“ 🦊' } } },
      { seq: 3, event: ended() },
    ]
    const text = retryField + events.map(encodeEvent).join(heartbeat)
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), async (sizes) => {
        const got: NumberedEvent[] = []
        for await (const event of eventsIn({ body: streamOf(text, sizes) })) got.push(event)
        expect(got).toEqual(events)
      }),
      { seed: 7, numRuns: 300 },
    )
  })
})

describe('a run at the service', () => {
  const events = [1, 2, 3, 4].map((seq): NumberedEvent => ({ seq, event: progress(seq / 5) }))
  const all = [...events, { seq: 5, event: ended() }]

  it('resumes a cut stream after the last event, sends its key once per call and keeps seed 0', async () => {
    const service = serviceOf(({ path, method, headers }) => {
      if (method === 'POST') return Response.json(jobOf('queued'), { status: 202 })
      if (path.endsWith('/vid_1')) return Response.json(jobOf('in_progress'))
      const after = Number(headers.get('Last-Event-ID') ?? 0)
      // Two events an answer, the first of them heard before.
      return new Response(
        streamOf(
          all
            .slice(Math.max(0, after - 1), after + 2)
            .map(encodeEvent)
            .join(''),
        ),
      )
    })
    const got = await heard(service)
    expect(got.map(({ seq }) => seq)).toEqual([0, 1, 2, 3, 4, 5])
    expect(got[1]).toMatchObject({ type: 'progress', etaMs: 5, inferenceSource: 'in_cloud' })
    const posts = service.calls.filter(({ method }) => method === 'POST')
    expect(posts.map(({ headers }) => headers.get('Idempotency-Key'))).toEqual(['key-1'])
    expect(JSON.parse(posts[0]?.body ?? '')).toEqual({ prompt: 'a fox', seed: 0, num_frames: 5 })
  })

  it('repeats an unanswered POST under the same key, and waits as it is told', async () => {
    const outcomes = [
      new TypeError('reset'),
      Response.json({ code: 'rate_limited' }, { status: 429, headers: { 'Retry-After': '3' } }),
    ]
    const waits: number[] = []
    const service = serviceOf(({ method }, count) =>
      method === 'POST'
        ? (outcomes[count - 1] ?? Response.json(jobOf('queued')))
        : new Response(streamOf(all.map(encodeEvent).join(''))),
    )
    await heard({ ...service, pause: async (wait) => void waits.push(wait) })
    const posts = service.calls.filter(({ method }) => method === 'POST')
    expect(posts.map(({ headers }) => headers.get('Idempotency-Key'))).toEqual(['key-1', 'key-1', 'key-1'])
    expect(waits.slice(0, 2)).toEqual([500, 3000])
  })

  it('asks for a new token once, and no more', async () => {
    const refusing = serviceOf(() => Response.json({ code: 'token_expired', detail: 'expired' }, { status: 401 }))
    await expect(heard(refusing)).rejects.toMatchObject({ code: 'token_expired' })
    expect(refusing.calls).toHaveLength(2)
  })

  it('throws what the service refuses, without another try', async () => {
    const service = serviceOf(() => Response.json({ code: 'content_blocked', detail: 'not this' }, { status: 422 }))
    await expect(heard(service)).rejects.toMatchObject({ code: 'content_blocked', message: 'not this' })
    expect(service.calls).toHaveLength(1)
  })

  it('takes the job itself for the truth when no stream will hold, and its failure for its own', async () => {
    const service = serviceOf(({ path, method }, count) => {
      if (method === 'POST') return Response.json(jobOf('queued'))
      if (path.endsWith('/events')) return new Response(streamOf(''))
      const failed = { code: 'numerics_failed', detail: 'black', retryable: false }
      return Response.json(count < 8 ? jobOf('in_progress') : jobOf('failed', { error: failed }))
    })
    await expect(heard(service)).rejects.toMatchObject({ code: 'numerics_failed', message: 'black' })
  })

  it('cancels the job when it is aborted', async () => {
    const stop = new AbortController()
    const service = serviceOf(({ path }) => {
      if (path.endsWith('/events')) stop.abort(new Error('enough'))
      return path.endsWith('/events') ? new TypeError('aborted') : Response.json(jobOf('queued'))
    })
    await expect(heard(service, stop.signal)).rejects.toThrow('enough')
    expect(service.calls.at(-1)).toMatchObject({ method: 'POST', path: '/v1/videos/vid_1/cancel' })
  })

  it('takes back a post whose answer it did not wait for: the same key again, then a cancellation', async () => {
    const stop = new AbortController()
    const service = serviceOf(({ path }, count) => {
      if (path === '/v1/videos' && count === 1) {
        stop.abort(new Error('enough'))
        return new TypeError('aborted')
      }
      return Response.json(jobOf('queued'))
    })
    await expect(heard(service, stop.signal)).rejects.toThrow('enough')
    await expect.poll(() => service.calls.length).toBe(3)
    const [first, again, last] = service.calls
    expect(again?.headers.get('Idempotency-Key')).toBe(first?.headers.get('Idempotency-Key'))
    expect(again?.body).toBe(first?.body)
    expect(last).toMatchObject({ method: 'POST', path: '/v1/videos/vid_1/cancel' })
  })

  it('posts nothing where it is stopped before it began', async () => {
    const service = serviceOf(() => Response.json(jobOf('queued')))
    await expect(heard(service, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
    expect(service.calls).toEqual([])
  })
})
