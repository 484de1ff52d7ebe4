import fc from 'fast-check'
import Replicate from 'replicate'
import { describe, expect, it } from 'vitest'
import { GenerationError } from '../../../shared/errors.ts'
import { type ManualClock, manualClock, settled } from '../../../test/manual-clock.ts'
import { type Stage, stage, stagedNode, stagedToken } from '../../../test/stage.ts'
import type { Status } from './prediction.ts'
import { type NewPrediction, type Predictions, predictions } from './predictions.ts'
import { slots } from './slots.ts'

const limits = { slots: 2, queue: 2 } as const

const order = (cancelAfter?: number): NewPrediction =>
  ({
    job: {},
    input: {},
    origin: '',
    ...(cancelAfter === undefined ? {} : { cancelAfter }),
  }) as unknown as NewPrediction

/** What a prediction is, told without queues, promises or timers. */
interface Expected {
  readonly body: number
  status: Status
  readonly deadline: number | undefined
}

class Reference {
  readonly known = new Map<string, Expected>()
  executions = 0

  of(status: Status): string[] {
    return [...this.known].filter(([, each]) => each.status === status).map(([id]) => id)
  }

  put(id: string, body: number, deadline: number | undefined): Outcome {
    const known = this.known.get(id)
    if (known !== undefined) return known.body === body ? 'known' : 'reused'
    if (this.of('starting').length + this.of('processing').length >= limits.slots + limits.queue) return 'full'
    this.known.set(id, { body, status: 'starting', deadline })
    this.schedule()
    return 'made'
  }

  end(id: string, status: Status, from: readonly Status[]): void {
    const each = this.known.get(id)
    if (each === undefined || !from.includes(each.status)) return
    each.status = status
    this.schedule()
  }

  /** Insertion order is the order of the queue. */
  schedule(): void {
    for (const id of this.of('starting')) {
      if (this.of('processing').length >= limits.slots) return
      ;(this.known.get(id) as Expected).status = 'processing'
      this.executions++
    }
  }

  pass(now: number): void {
    const due = [...this.known].filter(([, { deadline }]) => deadline !== undefined && deadline <= now)
    due.sort(([, a], [, b]) => (a.deadline as number) - (b.deadline as number))
    for (const [id] of due) this.end(id, 'canceled', ['starting', 'processing'])
  }
}

const id = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g')
const command = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('put' as const),
      id,
      body: fc.nat(1),
      cancelAfter: fc.option(fc.constantFrom(5000, 9000, 20_000), { nil: undefined }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('succeed' as const, 'fail' as const, 'cancel' as const), id }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('wait' as const), milliseconds: fc.constantFrom(1, 5000, 10_000) }),
  },
)
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never

/** The same predictions, reached in this process or through HTTP. */
interface Driver {
  readonly put: (id: string, body: number, cancelAfter: number | undefined) => Promise<Outcome>
  readonly cancel: (id: string) => Promise<void>
  readonly status: (id: string) => Promise<Status>
  readonly clock: ManualClock
  readonly stage: Stage
  /** How the service itself is looked at: what has run, what is final. */
  readonly all: Predictions
}

function inProcess(alter: (all: Predictions) => Predictions = (all) => all): Driver {
  const [clock, acts] = [manualClock(), stage()]
  const all = alter(
    predictions({
      clock,
      slots: slots(limits.slots, limits.queue),
      execute: acts.execute,
      watch: () => {},
      complain: () => {},
    }),
  )
  return {
    put: async (id, body, cancelAfter) => outcome(() => all.put(id, body, () => order(cancelAfter)).created),
    cancel: async (id) => all.cancel(all.get(id)),
    status: async (id) => all.get(id).state.status,
    clock,
    stage: acts,
    all,
  }
}

/** By the stock client, over a socket. */
async function byClient(): Promise<Driver> {
  const { node, clock, stage: acts } = await stagedNode(limits)
  const client = new Replicate({ auth: stagedToken, baseUrl: `${node.url}/v1` })
  const outcomes: Readonly<Record<number, Outcome>> = { 200: 'known', 201: 'made', 409: 'full', 422: 'reused' }
  return {
    put: async (id, body, cancelAfter) => {
      const headers = cancelAfter === undefined ? {} : { 'Cancel-After': `${cancelAfter / 1000}s` }
      const data = { model: 'zt-toy', input: { prompt: 'a red ball', seed: body } }
      const answer = await client
        .request(`/predictions/${id}`, { method: 'PUT', headers, data })
        .catch((error: { response: Response }) => error.response)
      return outcomes[answer.status] as Outcome
    },
    cancel: async (id) => {
      await client.predictions.cancel(id)
    },
    status: async (id) => (await client.predictions.get(id)).status as Status,
    clock,
    stage: acts,
    all: { ...node.predictions, close: node.close },
  }
}

/** Runs the commands on both and compares after each. */
async function agrees(commands: readonly Command[], driver: Driver): Promise<void> {
  const { clock, all } = driver
  const reference = new Reference()
  const ended = new Map<string, object>()
  for (const each of commands) {
    await perform(each, reference, driver)
    await settled()
    for (const [name, { status }] of reference.known) {
      expect([name, await driver.status(name)]).toEqual([name, status])
      const { state } = all.get(name)
      if (state.completedAt === undefined) continue
      // Terminal is for ever: the very object must stay.
      expect(ended.get(name) ?? state).toBe(state)
      ended.set(name, state)
    }
    expect(all.executions()).toBe(reference.executions)
  }
  await all.close()
  expect(clock.pending()).toBe(0)
  expect([...reference.known.keys()].filter((name) => all.get(name).state.completedAt === undefined)).toEqual([])
}

async function perform(
  each: Command,
  reference: Reference,
  { put, cancel, clock, stage: acts }: Driver,
): Promise<void> {
  if (each.do === 'put') {
    const deadline = each.cancelAfter === undefined ? undefined : clock.now() + each.cancelAfter
    const wanted = reference.put(each.id, each.body, deadline)
    expect(await put(each.id, each.body, each.cancelAfter)).toBe(wanted)
  } else if (each.do === 'wait') {
    await clock.advance(each.milliseconds)
    reference.pass(clock.now())
  } else if (each.do === 'cancel') {
    if (reference.known.has(each.id)) await cancel(each.id)
    reference.end(each.id, 'canceled', ['starting', 'processing'])
  } else {
    const run = acts.runs.find(({ prediction }) => prediction.order.id === each.id)
    if (each.do === 'succeed') run?.succeed()
    else run?.fail(new GenerationError('numerics_failed', 'flat'))
    reference.end(each.id, each.do === 'succeed' ? 'succeeded' : 'failed', ['processing'])
  }
}

type Outcome = 'made' | 'known' | 'reused' | 'full'

function outcome(put: () => boolean): Outcome {
  try {
    return put() ? 'made' : 'known'
  } catch (error) {
    if (error instanceof GenerationError && error.code === 'queue_full') return 'full'
    if (error instanceof GenerationError && error.code === 'idempotency_key_reuse') return 'reused'
    throw error
  }
}

const sequences = fc.array(command, { maxLength: 24 })

describe('predictions', { timeout: 600_000 }, () => {
  it('do what a queue of two places before two slots does, whatever comes in what order (5,000 sequences)', async () => {
    await fc.assert(
      fc.asyncProperty(sequences, (commands) => agrees(commands, inProcess())),
      { numRuns: 5000, seed: 33 },
    )
  })

  it('do the same when the stock client asks over a socket (12 sequences)', async () => {
    await fc.assert(
      fc.asyncProperty(sequences, async (commands) => agrees(commands, await byClient())),
      { numRuns: 12, seed: 34 },
    )
  })

  const planted: Readonly<Record<string, (all: Predictions) => Predictions>> = {
    'a PUT that always makes': (all) => ({
      ...all,
      put: (name, body, build) => {
        const known = outcome(() => all.put(name, body, build).created) === 'known'
        return known ? { prediction: all.create(build()), created: false } : all.put(name, body, build)
      },
    }),
    'a body that is not looked at': (all) => ({ ...all, put: (name, _, build) => all.put(name, 0, build) }),
    'a cancel that is forgotten': (all) => ({ ...all, cancel: () => {} }),
    'a deadline that is forgotten': (all) => ({
      ...all,
      put: (name, body, build) => all.put(name, body, () => ({ ...build(), cancelAfter: 10 ** 9 })),
    }),
  }
  for (const [name, alter] of Object.entries(planted)) {
    it(`are caught with ${name}`, async () => {
      const check = fc.check(
        fc.asyncProperty(sequences, (commands) => agrees(commands, inProcess(alter))),
        { numRuns: 2000, seed: 33 },
      )
      expect((await check).failed).toBe(true)
    })
  }
})
