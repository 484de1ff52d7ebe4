/**
 * Generations at the service: one POST per logical call, then its events to the end, resumed wherever they are cut.
 *
 * The idempotency key is made once, outside every retry. A stream that breaks is taken up after the last event heard;
 * when it will not come back, or ends without an end, the job itself is asked, whose word is final.
 */

import { GenerationError } from '../shared/errors.ts'
import type { WireEvent } from '../shared/events.ts'
import { isTerminal, type Job as WireJob } from '../shared/job.ts'
import { eventDecoder, type NumberedEvent } from '../shared/sse.ts'
import type { ClientEvent, JobState, UnnumberedEvent, VideoRequest } from './events.ts'
import { request, type Sent, type Service } from './http.ts'
import { camelCase, snakeCase } from './names.ts'

/**
 * Posts a request. The same key gives the same job, however often it is sent. An abort while the answer is on its way
 * asks again under the key, to cancel what may have begun.
 */
export async function createRemotely(
  service: Service,
  body: VideoRequest,
  idempotencyKey: string,
  signal: AbortSignal,
): Promise<JobState> {
  const sent = { method: 'POST', body: snakeCase(body), headers: { 'Idempotency-Key': idempotencyKey } } as const
  signal.throwIfAborted()
  try {
    return await jobIn(await request(service, 'v1/videos', sent, signal))
  } catch (error) {
    if (signal.aborted) void withdraw(service, sent).catch(() => {})
    throw error
  }
}

async function withdraw(service: Service, sent: Sent): Promise<void> {
  const forever = new AbortController().signal
  const job = await jobIn(await request(service, 'v1/videos', sent, forever))
  await cancelRemotely(service, job)
}

const cancelRemotely = (service: Service, { urls }: JobState) =>
  request(service, urls.cancel, { method: 'POST', body: {} }, new AbortController().signal)

export async function jobAt(service: Service, url: string, signal: AbortSignal): Promise<JobState> {
  return jobIn(await request(service, url, {}, signal))
}

const jobIn = async (response: Response): Promise<JobState> => camelCase(await response.json()) as JobState

/** Runs a request at the service. */
export async function* generateRemotely(
  service: Service,
  body: VideoRequest,
  idempotencyKey: string,
  signal: AbortSignal,
): AsyncGenerator<ClientEvent> {
  const job = await createRemotely(service, body, idempotencyKey, signal)
  yield* followRemotely(service, job, signal)
}

/** A job's events to its end. An abort cancels the job. */
export async function* followRemotely(
  service: Service,
  job: JobState,
  signal: AbortSignal,
): AsyncGenerator<ClientEvent> {
  const cancel = () => {
    // The run's own signal is spent; the cancellation must still go out.
    cancelRemotely(service, job).catch(() => {})
  }
  signal.addEventListener('abort', cancel, { once: true })
  try {
    let seq = 0
    yield { seq, type: 'status', job }
    for await (const { seq: heard, event } of heardEvents(service, job, signal)) {
      seq = heard
      yield { seq, ...clientEvent(event) } as ClientEvent
      if (event.type === 'status' && isTerminal(event.job.status)) return settle(event.job)
    }
    const last = await jobAt(service, job.urls.self, signal)
    yield { seq: seq + 1, type: 'status', job: last }
    settle(snakeCase(last) as WireJob)
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

/** A job that did not complete is thrown as its error. */
function settle({ status, error, id }: WireJob): void {
  if (status === 'completed') return
  if (error !== null) throw new GenerationError(error.code, error.detail)
  const code = status === 'expired' ? 'deadline_exceeded' : 'aborted'
  throw new GenerationError(code, `${id}: the job ended as ${status}`)
}

/** Times in a row that a stream may bring nothing new. */
const patience = 5

async function* heardEvents(service: Service, job: JobState, signal: AbortSignal): AsyncGenerator<NumberedEvent> {
  let [last, fruitless] = [0, 0]
  while (fruitless < patience) {
    const before = last
    try {
      const headers: Record<string, string> = last > 0 ? { 'Last-Event-ID': String(last) } : {}
      const response = await request(
        service,
        job.urls.events,
        { headers: { Accept: 'text/event-stream', ...headers } },
        signal,
      )
      for await (const event of eventsIn(response)) {
        // A replay may overlap what was heard.
        if (event.seq <= last) continue
        last = event.seq
        yield event
      }
    } catch (cause) {
      signal.throwIfAborted()
      if (cause instanceof GenerationError && !cause.retryable) throw cause
    }
    fruitless = last > before ? 0 : fruitless + 1
    if (fruitless > 0) {
      const now = await jobAt(service, job.urls.self, signal)
      if (isTerminal(now.status)) return
    }
    await service.pause(2000, signal)
  }
  yield* polled(service, job, last, signal)
}

/** Where no stream will hold: the job every few seconds. */
async function* polled(
  service: Service,
  job: JobState,
  last: number,
  signal: AbortSignal,
): AsyncGenerator<NumberedEvent> {
  for (let seq = last + 1; ; seq++) {
    const now = await jobAt(service, job.urls.self, signal)
    yield { seq, event: { type: 'status', job: snakeCase(now) as WireJob } }
    if (isTerminal(now.status)) return
    await service.pause(5000, signal)
  }
}

/** Server-sent events of a body, whatever its cuts. */
export async function* eventsIn({ body }: Pick<Response, 'body'>): AsyncGenerator<NumberedEvent> {
  if (body === null) return
  const decoder = eventDecoder()
  const text = new TextDecoder()
  for await (const bytes of body) yield* decoder.push(text.decode(bytes, { stream: true }))
}

function clientEvent(event: WireEvent): UnnumberedEvent {
  switch (event.type) {
    case 'warning': {
      const { code, message = code } = event.warning
      return { type: 'warning', code, message }
    }
    case 'error':
      return { type: 'error', code: event.error.code, message: event.error.detail }
    default:
      return camelCase(event) as UnnumberedEvent
  }
}
