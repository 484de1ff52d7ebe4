/**
 * The service begins while weights come in; the device takes over when it has them, and whoever ends first is used.
 *
 * There is one job at the service, so there is at most one debit; the loser is stopped, and a stopped job costs nothing.
 * A download that loses goes on, for the next request is to run here. Progress never goes back, whoever reports it.
 */

import type { GenerationError } from '../shared/errors.ts'
import type { ClientEvent, JobState } from './events.ts'
import type { Service } from './http.ts'
import { generateLocally, type LocalRun, prefetchLocally, type Threads } from './local.ts'
import { eventQueue } from './queue.ts'
import { followRemotely } from './remote.ts'

export interface Speculation {
  readonly threads: Threads
  readonly service: Service
  /** As the service accepted it. */
  readonly job: JobState
  /** Whose weights are missing. */
  readonly model: string
  readonly run: LocalRun
}

type Racer = 'device' | 'service'

/** Follows both to the first end. Throws where both fail, as the service did. */
export async function* generateSpeculatively(
  { threads, service, job, model, run }: Speculation,
  signal: AbortSignal,
): AsyncGenerator<ClientEvent> {
  const heard = eventQueue<readonly [Racer, ClientEvent]>()
  const stops = { device: new AbortController(), service: new AbortController() }
  const racing = async (racer: Racer, events: AsyncIterable<ClientEvent>) => {
    for await (const event of events) heard.push([racer, event])
  }
  const both = Promise.allSettled([
    racing('service', followRemotely(service, job, AbortSignal.any([signal, stops.service.signal]))),
    prefetchLocally(threads, model, new AbortController().signal, () => {}).then(() => {
      const stop = AbortSignal.any([signal, stops.device.signal])
      if (!stop.aborted) return racing('device', generateLocally(threads, run, stop))
    }),
  ])
  // Who fails leaves the other; when both have ended without a winner, the service's reason is told.
  both.then(([there]) => (there.status === 'rejected' ? heard.fail(there.reason) : heard.end()))
  const onAbort = () => heard.fail(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    yield* first(heard.events, job)
  } finally {
    signal.removeEventListener('abort', onAbort)
    const lost = new Error('the other was first') as GenerationError
    stops.device.abort(lost)
    stops.service.abort(lost)
  }
}

/** What is told of both: the service's events until somebody ends, the device's as a whole where it was first. */
async function* first(
  events: AsyncIterable<readonly [Racer, ClientEvent]>,
  job: JobState,
): AsyncGenerator<ClientEvent> {
  const kept: ClientEvent[] = []
  let reached = 0
  for await (const [racer, event] of events) {
    if (event.type === 'progress') {
      if (event.value <= reached) continue
      reached = event.value
      yield event
    } else if (racer === 'service') {
      yield event
      if (event.type === 'status' && event.job.status === 'completed') return
    } else {
      kept.push(event)
      if (event.type !== 'status' || event.job.status !== 'completed') continue
      for (const each of kept) yield each.type === 'status' ? { ...each, job: { ...each.job, id: job.id } } : each
      return
    }
  }
}
