/**
 * A job: one run of a request, whose events any number of readers may follow from the beginning.
 *
 * The run goes on whether anyone reads or not. Its log is kept with all but the newest previews and parts of frames, so
 * a late reader sees what an early one remembers.
 */

import { GenerationError } from '../shared/errors.ts'
import type { ClientEvent, JobState } from './events.ts'

export interface Job extends Disposable {
  /** As it was begun; a run that moves from the device to the cloud gets the service's id in `state()`. */
  readonly id: string
  /** As last heard. */
  readonly state: () => JobState
  /** From the first event on; ends with the run, throws its failure. */
  readonly events: () => AsyncIterable<ClientEvent>
  /** The finished job. @throws GenerationError as the run failed. */
  readonly result: () => Promise<JobState>
  /** Stops the run, here or at the service. */
  readonly cancel: () => void
}

/** Follows a run. Disposing a job frees the object URLs of its outputs. */
export function followed(
  id: string,
  run: (signal: AbortSignal) => AsyncIterable<ClientEvent>,
  signal?: AbortSignal,
): Job {
  const stop = new AbortController()
  const log: ClientEvent[] = []
  let news = Promise.withResolvers<void>()
  let latest: JobState | undefined
  let seq = 0
  /** Object URLs of its outputs. */
  const addresses = new Set<string>()
  const hear = (event: ClientEvent) => {
    if (event.type === 'status') latest = event.job
    if (event.type === 'output' && event.output.url.startsWith('blob:')) addresses.add(event.output.url)
    // Numbered anew: a run that moves from the device to the cloud brings two sequences.
    log.push({ ...event, seq: ++seq })
    forgetOlder(log)
    news.resolve()
    news = Promise.withResolvers()
  }
  const free = () => {
    for (const url of addresses) URL.revokeObjectURL(url)
    addresses.clear()
  }
  const cancel = () => stop.abort(new GenerationError('aborted', 'the caller stopped it'))
  signal?.addEventListener('abort', cancel, { once: true })
  if (signal?.aborted === true) cancel()

  const finished = (async () => {
    try {
      for await (const event of run(stop.signal)) hear(event)
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
    return stateOf(latest)
  })()
  let over = false
  // Also keeps a failure that nobody awaits from ending the page's script.
  finished
    .catch(() => {})
    .finally(() => {
      over = true
      news.resolve()
    })

  async function* events(): AsyncGenerator<ClientEvent> {
    let heard = 0
    for (;;) {
      const next = log.find(({ seq }) => seq > heard)
      if (next !== undefined) {
        heard = next.seq
        yield next
      } else if (over) {
        await finished
        return
      } else await news.promise
    }
  }
  return {
    id,
    state: () => stateOf(latest),
    events,
    result: () => finished,
    cancel,
    [Symbol.dispose]: () => {
      cancel()
      free()
      // One may still come while the run stops.
      finished.then(free, free)
    },
  }
}

function stateOf(latest: JobState | undefined): JobState {
  if (latest === undefined) throw new GenerationError('internal', 'job: nothing was heard of it yet')
  return latest
}

/** Of previews and progress only the newest is worth keeping. */
function forgetOlder(log: ClientEvent[]): void {
  const added = log.at(-1)
  if (added?.type !== 'preview' && added?.type !== 'progress') return
  const before = log.findLastIndex(({ type }, index) => index < log.length - 1 && type === added.type)
  if (before >= 0) log.splice(before, 1)
}
