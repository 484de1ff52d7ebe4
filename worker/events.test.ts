import { describe, expect, it, vi } from 'vitest'
import type { Job } from '../shared/job.ts'
import { eventDecoder, type NumberedEvent } from '../shared/sse.ts'
import { sha256 as hashOf } from './bytes.ts'
import { bindings, type Caller, fakeUpstream, knock, newTenant } from './front-door.ts'

/** Reads events until a predicate is content or the stream ends; then lets go of the connection. */
async function listen(
  caller: Caller,
  id: string,
  headers: Record<string, string>,
  enough: (events: readonly NumberedEvent[]) => boolean = () => false,
): Promise<NumberedEvent[]> {
  const response = await caller.call('GET', `/v1/videos/${id}/events`, undefined, headers)
  expect(response.headers.get('content-type')).toContain('text/event-stream')
  const [decoder, text, events] = [eventDecoder(), new TextDecoder(), [] as NumberedEvent[]]
  for await (const piece of response.body as ReadableStream<Uint8Array>) {
    events.push(...decoder.push(text.decode(piece, { stream: true })))
    if (enough(events)) break
  }
  return events
}

const lasting = (events: readonly NumberedEvent[]) =>
  events.filter(({ event }) => event.type !== 'progress' && event.type !== 'preview').map(({ seq }) => seq)

describe('the events of a job', () => {
  it('come in order, end with the terminal status, and carry the output', async () => {
    const { node } = fakeUpstream()
    node.pollsNeeded = 3
    const caller = await newTenant()
    const job = await caller.create({ seed: 1 })
    const events = await listen(caller, job.id, {})
    const numbers = events.map(({ seq }) => seq)
    expect(numbers).toEqual([...new Set(numbers)].sort((one, other) => one - other))
    expect(events.map(({ event }) => event.type).filter((type) => type !== 'progress')).toEqual([
      'status',
      'status',
      'output',
      'status',
    ])
    expect(events.at(-1)?.event).toMatchObject({ type: 'status', job: { status: 'completed' } })
    expect(events.some(({ event }) => event.type === 'progress' && event.steps === 3)).toBe(true)
  })

  it('resume by Last-Event-ID after a dropped connection and lose nothing that lasts', async () => {
    const { node } = fakeUpstream()
    node.pollsNeeded = 4
    const caller = await newTenant()
    const job = await caller.create({ seed: 2 })
    const before = await listen(caller, job.id, {}, (events) => events.length >= 2)
    const rest = await listen(caller, job.id, { 'last-event-id': String(before.at(-1)?.seq) })
    const whole = await listen(caller, job.id, {})
    expect([...lasting(before), ...lasting(rest)]).toEqual(lasting(whole))
    expect(rest[0]?.seq).toBeGreaterThan(before.at(-1)?.seq as number)
  })

  it('replay from every number: later lasting events completely, none twice', async () => {
    fakeUpstream()
    const caller = await newTenant()
    const job = await caller.run({ seed: 3 })
    const whole = await listen(caller, job.id, {})
    for (const { seq } of whole) {
      const rest = await listen(caller, job.id, { 'last-event-id': String(seq) })
      expect(rest.map((each) => each.seq)).toEqual(whole.map((each) => each.seq).filter((each) => each > seq))
    }
  })

  it('beyond the log begin with the current status; a malformed number is refused', async () => {
    fakeUpstream()
    const caller = await newTenant()
    const job = await caller.run({ seed: 4 })
    const [only, ...none] = await listen(caller, job.id, { 'last-event-id': '9999' })
    expect([only?.event.type, none]).toEqual(['status', []])
    for (const bad of ['-1', 'x', '1.5', '0x1', '9'.repeat(20)]) {
      expect(
        (await caller.call('GET', `/v1/videos/${job.id}/events`, undefined, { 'last-event-id': bad })).status,
      ).toBe(400)
    }
  })
})

describe('a run that waits for its turn', () => {
  it('says how many are before it, in its job and its events, until it begins', async () => {
    const { node } = fakeUpstream()
    node.ahead = 3
    const caller = await newTenant()
    const job = await caller.create({ seed: 50 })
    expect(job.queue_position).toBeNull()
    const told = (events: readonly NumberedEvent[]) =>
      events.flatMap(({ event }) => (event.type === 'status' ? [[event.job.status, event.job.queue_position]] : []))
    const waiting = await listen(caller, job.id, {}, (events) => told(events).length > 1)
    expect(told(waiting).at(-1)).toEqual(['queued', 2])
    const seen = (await (await caller.call('GET', `/v1/videos/${job.id}`)).json()) as Job
    expect([seen.status, typeof seen.queue_position]).toEqual(['queued', 'number'])
    const all = [
      ['queued', null],
      ['queued', 2],
      ['queued', 1],
      ['queued', 0],
      ['in_progress', null],
      ['completed', null],
    ]
    expect(told(await listen(caller, job.id, {}))).toEqual(all)
    // Once more when it is over, where the account alone remembers it.
    expect(told(await listen(caller, job.id, {}))).toEqual(all)
  })
})

describe('a run that is shown while it lasts', () => {
  const shown = async () => {
    const { node } = fakeUpstream()
    node.shows = true
    node.pollsNeeded = 6
    const caller = await newTenant()
    const job = await caller.create({ seed: 40, n: 2 })
    return { caller, job, events: await listen(caller, job.id, {}) }
  }

  it('tells pictures and outputs that are ready, each once, and the address of a part is its output’s', async () => {
    const { caller, job, events } = await shown()
    const previews = events.flatMap(({ event }) => (event.type === 'preview' ? [event] : []))
    expect(previews.length).toBeGreaterThan(1)
    expect(previews[0]).toMatchObject({ content_type: 'image/jpeg', data_base64: '/9j/', frame_index: 2 })
    const parts = events.flatMap(({ event }) => (event.type === 'part' ? [event] : []))
    expect(parts).toEqual([{ type: 'part', block: 0, part: expect.objectContaining({ kind: 'segment' }) }])
    const ended = events.findIndex(({ event }) => event.type === 'output')
    expect(events.findIndex(({ event }) => event.type === 'part')).toBeLessThan(ended)
    const { url = '', sha256 } = parts[0]?.part ?? {}
    const bytes = await (await knock(url.replace('https://edge.test', ''))).arrayBuffer()
    expect(await hashOf(new Uint8Array(bytes))).toBe(sha256)
    const done = (await (await caller.call('GET', `/v1/videos/${job.id}`)).json()) as Job
    expect(done.outputs[0]?.sha256).toBe(sha256)
  })

  it('keeps its parts for who comes back, its pictures no longer than the run', async () => {
    const { caller, job } = await shown()
    const again = await listen(caller, job.id, {})
    const types = again.map(({ event }) => event.type)
    expect([types.includes('part'), types.includes('preview')]).toEqual([true, false])
  })

  it('that fails takes its parts along', async () => {
    const { node } = fakeUpstream()
    Object.assign(node, { shows: true, pollsNeeded: 6, life: 'fails' })
    const caller = await newTenant()
    const job = await caller.create({ seed: 41, n: 2 })
    const [part] = (await listen(caller, job.id, {})).flatMap(({ event }) =>
      event.type === 'part' ? [event.part] : [],
    )
    expect(part?.sha256).toMatch(/^[0-9a-f]{64}$/)
    await vi.waitFor(
      async () => expect(await bindings.BUCKET.head(`t/${caller.tenant}/${part?.sha256}`)).toBeNull(),
      10_000,
    )
  })
})

describe('cancelling', () => {
  it('in mid-run stops the executor and ends as cancelled, for nothing', async () => {
    const { node } = fakeUpstream()
    node.life = 'stuck'
    const caller = await newTenant()
    const job = await caller.create({ seed: 1 })
    await vi.waitFor(async () => expect((await read(caller, job.id)).status).toBe('in_progress'), { timeout: 120_000 })
    const answer = await caller.call('POST', `/v1/videos/${job.id}/cancel`)
    expect([answer.status, ((await answer.json()) as { status: string }).status]).toEqual([202, 'cancelling'])
    const events = await listen(caller, job.id, {})
    expect(events.at(-1)?.event).toMatchObject({
      job: { status: 'cancelled', warnings: [], usage: { cost_usd: '0.000000' } },
    })
    expect([...node.predictions.values()].map(({ status }) => status)).toEqual(['canceled'])
    const again = await caller.call('POST', `/v1/videos/${job.id}/cancel`)
    expect(again.status).toBe(200)
  })
})

const read = async (caller: Caller, id: string) =>
  (await caller.call('GET', `/v1/videos/${id}`)).json() as Promise<{ status: string }>
