/**
 * Events as server-sent events: one encoder for the edge, one incremental decoder for whoever reads.
 *
 * Source: WHATWG HTML, "Server-sent events". Fields we never send are skipped; a comment is a sign of life.
 */

import type { WireEvent } from './events.ts'

/** Sent first: how long a reader waits before it comes back. */
export const retryField = 'retry: 2000\n\n'
/** Sent each 15 s, so that nobody on the way takes the stream for dead. */
export const heartbeat = ': hb\n\n'

export interface NumberedEvent {
  readonly seq: number
  readonly event: WireEvent
}

/** One event with its number as id. JSON holds no raw line break, so one data line suffices. */
export const encodeEvent = ({ seq, event }: NumberedEvent): string =>
  `id: ${seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`

/** Feeds text in any cuts; gives the events that are complete. */
export interface EventDecoder {
  readonly push: (text: string) => NumberedEvent[]
}

/** A decoder that remembers unfinished lines. Data that is no JSON is dropped: a stream may outlive a version. */
export function eventDecoder(): EventDecoder {
  let rest = ''
  let [id, data] = ['', [] as string[]]
  const line = (text: string): NumberedEvent[] => {
    if (text === '') {
      const event = parsed(id, data.join('\n'))
      data = []
      return event
    }
    const colon = text.indexOf(':')
    const [field, value] = colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1).replace(/^ /, '')]
    if (field === 'data') data.push(value)
    if (field === 'id' && !value.includes('\0')) id = value
    return []
  }
  return {
    push: (text) => {
      rest += text
      // A lone CR at the end may be half of a CRLF: it waits.
      const end = /[\n\r](?!.*[\n\r])/s.exec(rest.endsWith('\r') ? rest.slice(0, -1) : rest)
      if (end === null) return []
      const complete = rest.slice(0, end.index + 1)
      rest = rest.slice(end.index + 1)
      const lines = complete.split(/\r\n|\n|\r/)
      lines.pop()
      return lines.flatMap(line)
    },
  }
}

function parsed(id: string, data: string): NumberedEvent[] {
  if (data === '') return []
  try {
    return [{ seq: Number(id), event: JSON.parse(data) as WireEvent }]
  } catch {
    return []
  }
}
