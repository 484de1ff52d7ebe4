import fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { manualClock, settled } from '../../../test/manual-clock.ts'
import { type Change, change, log, type Prediction, type PredictionObject, webhookEvents } from './prediction.ts'
import { attempts, newWebhookSecret, requireAllowed, sendWebhooks, signatureHeaders } from './webhooks.ts'

describe('a signature', () => {
  it('is accepted by the reference verifier, and by it alone with the right secret', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.uuid(), (text, id) => {
        const [secret, body] = [newWebhookSecret(), JSON.stringify({ text })]
        const headers = signatureHeaders(secret, id, Date.now(), body)
        expect(new Webhook(secret).verify(body, headers)).toEqual({ text: JSON.parse(body).text })
        expect(() => new Webhook(newWebhookSecret()).verify(body, headers)).toThrow()
        expect(() => new Webhook(secret).verify(body, { ...headers, 'webhook-id': `${id}x` })).toThrow()
      }),
      { numRuns: 25 },
    )
  })
})

describe('an address', () => {
  const prefixes = ['https://example.org/hooks', 'http://127.0.0.1:8787']
  const allowed = ['https://example.org/hooks', 'https://example.org/hooks/1?x=1', 'http://127.0.0.1:8787/v1/hooks/a']
  const refused = [
    'https://example.org/hooksy',
    'https://example.org/',
    'https://example.org/hooks/../admin',
    'https://example.org.evil.example/hooks',
    'https://user@example.org/hooks',
    'http://127.0.0.1:8787@evil.example/',
    'http://127.0.0.1:8788/',
    'http://127.0.0.1/',
    'http://example.org/hooks',
    'file:///etc/passwd',
    'hooks',
    '',
  ]
  it('with an allowed beginning passes', () => {
    for (const address of allowed) expect(() => requireAllowed(address, prefixes)).not.toThrow()
  })

  it('with another is refused, also one that only looks like it', () => {
    for (const address of refused)
      expect(() => requireAllowed(address, prefixes), address).toThrow('allowed beginnings')
  })

  it('is refused where none is allowed', () => {
    expect(() => requireAllowed('http://127.0.0.1/', [])).toThrow('none; start the node with --webhooks PREFIX')
  })
})

/** A prediction with webhooks to a receiver that answers as it is told. */
function watched(events: readonly Change[] = webhookEvents, answers: readonly (number | 'reset' | 'redirect')[] = []) {
  const clock = manualClock()
  const order = {
    id: 'p',
    job: { model: { card: { id: 'zt-toy' }, version: 'v' } },
    webhook: { url: 'https://example.org/hooks', events },
    createdAt: clock.now(),
  }
  const prediction = { order, state: { status: 'starting', logs: '' }, watchers: new Set() } as unknown as Prediction
  const sent: { at: number; id: string; body: PredictionObject; redirect: string | undefined }[] = []
  const began = clock.now()
  const fetch = (async (_: string, init: RequestInit) => {
    const headers = init.headers as Record<string, string>
    const body = JSON.parse(init.body as string)
    sent.push({ at: clock.now() - began, id: headers['webhook-id'] as string, body, redirect: init.redirect })
    const answer = answers[sent.length - 1] ?? 204
    if (answer === 'reset') throw new TypeError('fetch failed')
    return new Response(null, answer === 'redirect' ? { status: 302, headers: { location: '/' } } : { status: answer })
  }) as typeof globalThis.fetch
  sendWebhooks(prediction, { clock, secret: newWebhookSecret(), fetch })
  const start = () => change(prediction, { status: 'processing' }, 'start')
  const complete = () => change(prediction, { status: 'succeeded', completedAt: clock.now() }, 'completed')
  return { clock, prediction, sent, start, complete }
}

describe('webhooks', () => {
  it('of a run come in order, at most one of the logs per half second, the last one last', async () => {
    const { clock, prediction, sent, start, complete } = watched()
    start()
    for (let step = 0; step < 100; step++) {
      log(prediction, `${step}\n`)
      await clock.advance(30)
    }
    complete()
    await clock.advance(1000)
    const times = sent.map(({ at }) => at)
    expect([sent[0]?.body.status, sent.at(-1)?.body.status]).toEqual(['processing', 'succeeded'])
    const gaps = times.slice(1, -1).map((at, index) => at - (times[index] as number))
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(500)
    expect(sent.length).toBe(8)
    expect(clock.pending()).toBe(0)
  })

  it('are filtered by the events asked for', async () => {
    for (const [events, statuses] of [
      [['completed'], ['succeeded']],
      [['start'], ['processing']],
      [['logs'], ['processing']],
      [[], []],
    ] as const) {
      const { clock, prediction, sent, start, complete } = watched(events)
      start()
      log(prediction, 'x\n')
      await clock.advance(600)
      complete()
      await clock.advance(600)
      expect([events, sent.map(({ body }) => body.status)]).toEqual([events, statuses])
    }
  })

  it('that end a prediction are repeated with one id until they are taken', async () => {
    const { clock, sent, complete } = watched(['completed'], [500, 'reset', 'redirect', 204])
    complete()
    await clock.advance(120_000)
    expect(sent.map(({ at }) => at)).toEqual([0, 1000, 3000, 7000])
    expect(new Set(sent.map(({ id }) => id)).size).toBe(1)
    expect(new Set(sent.map(({ redirect }) => redirect))).toEqual(new Set(['manual']))
  })

  it('are given up after about a minute, and at once where the receiver is gone for good', async () => {
    const dead = watched(
      ['completed'],
      attempts.map(() => 500),
    )
    dead.complete()
    await dead.clock.advance(600_000)
    expect(dead.sent.map(({ at }) => at)).toEqual([0, 1000, 3000, 7000, 15000, 31000, 63000])
    const gone = watched(['completed'], [410])
    gone.complete()
    await gone.clock.advance(600_000)
    expect(gone.sent).toHaveLength(1)
  })

  it('before the end are tried once', async () => {
    const { clock, sent, start } = watched(['start'], [500])
    start()
    await clock.advance(600_000)
    await settled()
    expect(sent).toHaveLength(1)
  })
})
