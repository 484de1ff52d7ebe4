import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { WireEvent } from './events.ts'
import { encodeEvent, eventDecoder, heartbeat, type NumberedEvent, retryField } from './sse.ts'

const event = (value: number, text: string): WireEvent => ({
  type: 'warning',
  warning: { code: text, effective: value },
})

describe('events on the wire', () => {
  it('come back the same, whatever the cuts and whatever they say', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(), fc.string())),
        fc.array(fc.nat(40)),
        fc.boolean(),
        (values, cuts, crlf) => {
          const sent: NumberedEvent[] = values.map(([value, text], index) => ({
            seq: index + 1,
            event: event(value, text),
          }))
          const stream = retryField + sent.map((each) => encodeEvent(each) + heartbeat).join('')
          const text = crlf ? stream.replaceAll('\n', '\r\n') : stream
          const decoder = eventDecoder()
          const got: NumberedEvent[] = []
          let rest = text
          for (const cut of cuts) {
            got.push(...decoder.push(rest.slice(0, cut)))
            rest = rest.slice(cut)
          }
          got.push(...decoder.push(rest))
          // A carriage return at the very end may be half of a line end: the decoder waits for the other half.
          got.push(...decoder.push('\n'))
          expect(got).toEqual(JSON.parse(JSON.stringify(sent)))
        },
      ),
      { numRuns: 1_000 },
    )
  })

  it('that are no JSON are passed over, and the stream goes on', () => {
    const decoder = eventDecoder()
    const good = encodeEvent({ seq: 2, event: event(1, 'x') })
    expect(decoder.push(`id: 1\ndata: {broken\n\n${good}`).map(({ seq }) => seq)).toEqual([2])
  })
})
