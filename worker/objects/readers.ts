/**
 * Readers of one job's events: each a stream that first catches up and then hears what happens.
 *
 * Knows no storage. A reader that falls too far behind is let go; it comes back by number and misses nothing.
 */

import { heartbeat, retryField } from '../../shared/sse.ts'
import { utf8 } from '../bytes.ts'

export interface Readers {
  readonly size: () => number
  /** A stream of what was missed and, unless it has ended, of all that follows. */
  readonly open: (catchUp: () => Promise<CaughtUp>) => ReadableStream<Uint8Array>
  /** @param seq the event's number; what a reader caught up with is not told again. */
  readonly tell: (text: string, seq: number) => void
  readonly close: () => void
}

export interface CaughtUp {
  readonly texts: readonly string[]
  /** The number of the last of them. */
  readonly last: number
  readonly ended: boolean
}

interface Reader {
  readonly controller: ReadableStreamDefaultController<Uint8Array>
  /** What happens while the reader still catches up; undefined afterwards. */
  waiting: { readonly text: string; readonly seq: number }[] | undefined
  last: number
  closing: boolean
}

const heartbeatMs = 15_000
const slackBytes = 1_048_576

/** An empty set of readers. */
export function readers(): Readers {
  const all = new Set<Reader>()
  let beat: ReturnType<typeof setInterval> | undefined
  const leave = (reader: Reader) => {
    all.delete(reader)
    if (all.size > 0) return
    clearInterval(beat ?? null)
    beat = undefined
  }
  const end = (reader: Reader) => {
    leave(reader)
    closeQuietly(reader.controller)
  }
  const send = (reader: Reader, text: string) => {
    if ((reader.controller.desiredSize ?? 0) <= 0) end(reader)
    else reader.controller.enqueue(utf8(text))
  }
  const tell = (text: string, seq: number) => {
    for (const reader of all) {
      if (reader.waiting !== undefined) reader.waiting.push({ text, seq })
      else if (seq > reader.last) send(reader, text)
    }
  }
  const catchUpWith = async (reader: Reader, catchUp: () => Promise<CaughtUp>) => {
    const { texts, last, ended } = await catchUp()
    for (const text of texts) reader.controller.enqueue(utf8(text))
    reader.last = last
    for (const { text, seq } of reader.waiting ?? []) if (seq > last) reader.controller.enqueue(utf8(text))
    reader.waiting = undefined
    if (ended || reader.closing) end(reader)
  }
  return {
    size: () => all.size,
    tell,
    close: () => {
      for (const reader of [...all]) {
        if (reader.waiting === undefined) end(reader)
        else reader.closing = true
      }
    },
    open: (catchUp) => {
      let reader: Reader | undefined
      const size = (piece: Uint8Array | undefined) => piece?.length ?? 0
      return new ReadableStream<Uint8Array>(
        {
          start: (controller) => {
            reader = { controller, waiting: [], last: 0, closing: false }
            all.add(reader)
            beat ??= setInterval(() => tell(heartbeat, Number.POSITIVE_INFINITY), heartbeatMs)
            controller.enqueue(utf8(retryField))
            return catchUpWith(reader, catchUp)
          },
          cancel: () => {
            if (reader !== undefined) leave(reader)
          },
        },
        { highWaterMark: slackBytes, size } as QueuingStrategy<Uint8Array>,
      )
    },
  }
}

function closeQuietly(controller: ReadableStreamDefaultController<Uint8Array>): void {
  try {
    controller.close()
  } catch {
    // Closed already, by the other side.
  }
}
