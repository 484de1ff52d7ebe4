/**
 * A job's events as they happen: written to the log first, then told to whoever listens.
 *
 * Knows how events are numbered and read, not what they mean. Addresses in them are signed when they are told, never
 * when they are written.
 */

import type { WireEvent } from '../../shared/events.ts'
import { isTerminal } from '../../shared/job.ts'
import { encodeEvent, type NumberedEvent } from '../../shared/sse.ts'
import { append, forgetPreviews, lastSeq, replay } from './event-log.ts'
import { readers } from './readers.ts'

export interface EventStream {
  /** How many listen. */
  readonly size: () => number
  /** Writes an event down and tells it. */
  readonly append: (event: WireEvent) => void
  /** Takes pictures out of what is replayed. */
  readonly forgetPreviews: () => void
  /** A stream of what came after a number and, unless the job has ended, of all that follows. */
  readonly open: (after: number, ended: () => boolean) => ReadableStream<Uint8Array>
}

/** The events of one job. @param sign gives an event's addresses the right to be opened. */
export function eventStream(sql: SqlStorage, sign: (event: NumberedEvent) => Promise<NumberedEvent>): EventStream {
  const listening = readers()
  const encode = async (event: NumberedEvent) => encodeEvent(await sign(event))
  // Texts are signed in order, one after another.
  let telling = Promise.resolve()
  const tell = async (event: NumberedEvent) => {
    listening.tell(await encode(event), event.seq)
    if (event.event.type === 'status' && isTerminal(event.event.job.status)) listening.close()
  }
  return {
    size: () => listening.size(),
    forgetPreviews: () => forgetPreviews(sql),
    append: (event) => {
      const numbered = append(sql, event)
      if (listening.size() === 0) return
      telling = telling
        .then(() => tell(numbered))
        .catch((error: unknown) => console.error('events: one was not told', error))
    },
    open: (after, ended) =>
      listening.open(async () => {
        const missed = replay(sql, after)
        const lastSeen = Math.min(after, lastSeq(sql))
        const texts = await Promise.all(missed.map(encode))
        return { texts, last: Math.max(lastSeen, missed.at(-1)?.seq ?? 0), ended: ended() }
      }),
  }
}
