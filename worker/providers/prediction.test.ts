import fc from 'fast-check'
import { parseProgressFromLogs } from 'replicate'
import { describe, expect, it } from 'vitest'
import { outputUrls, progressOf, readPage, readPrediction, statusOf } from './prediction.ts'

describe('a prediction', () => {
  it('of any shape is read or passed over, and never falls over', () => {
    const anything = fc.oneof(
      fc.jsonValue(),
      fc.record({
        id: fc.string(),
        status: fc.jsonValue(),
        output: fc.jsonValue(),
        logs: fc.jsonValue(),
        metrics: fc.jsonValue(),
        error: fc.jsonValue(),
      }),
    )
    fc.assert(
      fc.property(anything, (value) => {
        const prediction = readPrediction(JSON.stringify(value))
        if (prediction !== undefined) expect(typeof statusOf(prediction).state).toBe('string')
        readPage(JSON.stringify({ results: [value], next: value }))
      }),
      { numRuns: 3_000 },
    )
    for (const bad of ['', '<html>', 'null', '[]', '{"id":7}', '{"id":""}']) expect(readPrediction(bad)).toBeUndefined()
  })

  it('with a status nobody knows is simply not over', () => {
    const read = (status: unknown) => statusOf(readPrediction(JSON.stringify({ id: 'p', status })) as never).state
    expect(['starting', 'processing', 'pondering', 7, null].map(read)).toEqual([
      'queued',
      'in_progress',
      'in_progress',
      'in_progress',
      'in_progress',
    ])
    expect(['succeeded', 'failed', 'canceled', 'cancelled', 'aborted'].map(read)).toEqual([
      'succeeded',
      'failed',
      'canceled',
      'canceled',
      'aborted',
    ])
  })

  it('has its outputs in every shape they come in, empty ones left out', () => {
    const shapes: readonly (readonly [unknown, readonly string[]])[] = [
      ['https://a/x', ['https://a/x']],
      [
        ['https://a/x', 'https://a/y'],
        ['https://a/x', 'https://a/y'],
      ],
      [{ video: 'https://a/x', gif: 'https://a/z' }, ['https://a/x']],
      [{ url: 'https://a/x' }, ['https://a/x']],
      [{ output: [{ url: 'https://a/x' }, null] }, ['https://a/x']],
      [null, []],
      [undefined, []],
      [7, []],
    ]
    for (const [output, urls] of shapes) expect(outputUrls(output)).toEqual([...urls])
  })

  it('says in our node’s own words why it failed', () => {
    const failed = { id: 'p', status: 'failed', error: 'out_of_memory: too big', error_code: 'out_of_memory' }
    expect(statusOf(readPrediction(JSON.stringify(failed)) as never)).toMatchObject({
      error: { code: 'out_of_memory' },
    })
    const cloud = { id: 'p', status: 'failed', error: 'The output was flagged as sensitive' }
    expect(statusOf(readPrediction(JSON.stringify(cloud)) as never)).toMatchObject({
      error: { code: 'content_blocked' },
    })
  })
})

describe('progress in logs', () => {
  it('is the newest bar, as the official client reads it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.nat(100), (steps, done) => {
        const step = Math.min(done, steps)
        const percent = String(Math.floor((100 * step) / steps)).padStart(3)
        const logs = `loading\n  0%|          | 0/${steps} [00:00<?, ?it/s]\n${percent}%|#####     | ${step}/${steps} [00:03<00:04,  1.2it/s]\nmore\n`
        const ours = progressOf(logs)
        const theirs = parseProgressFromLogs(logs)
        expect([ours?.step, ours?.steps, ours?.eta_ms]).toEqual([step, steps, 4_000])
        expect(ours?.value).toBe(theirs?.percentage)
      }),
      { numRuns: 300 },
    )
    expect(progressOf('nothing here')).toBeNull()
    expect(progressOf(' 50%|#####     | 4/8 [00:03<00:03]\n')).toMatchObject({
      value: 0.5,
      step: 4,
      steps: 8,
      eta_ms: 3_000,
    })
  })
})
