import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GenerationError } from '../shared/errors.ts'
import { createOutbox, type Delivery, type Letter, type LetterBox, letterLife, repeatable } from './outbox.ts'

const hour = 3_600_000
const lock = <T>(_name: string, body: () => Promise<T>) => body()

/** The end of a process: no code of it runs after. */
class Killed extends Error {}

function boxIn(letters: Map<string, Letter>): LetterBox {
  return {
    all: async () => [...letters.values()],
    put: async (letter) => void letters.set(letter.key, letter),
    remove: async (key) => void letters.delete(key),
  }
}

/** A world with a clock, a disk, a service that remembers keys for a day, and a network that may be down. */
function world() {
  const letters = new Map<string, Letter>()
  const started = new Map<string, number[]>()
  let [time, keys, online, calls, killAt] = [0, 0, true, 0, Number.POSITIVE_INFINITY]
  const mortal = () => {
    calls += 1
    if (calls >= killAt) throw new Killed()
  }
  /** Before and after each effect a kill may fall. */
  const step =
    <A extends unknown[], R>(effect: (...words: A) => Promise<R>) =>
    async (...words: A) => {
      mortal()
      const result = await effect(...words)
      mortal()
      return result
    }
  const receive = async ({ key }: Letter) => {
    if (!online) throw new GenerationError('offline', 'no network')
    const [last] = (started.get(key) ?? []).slice(-1)
    if (last === undefined || time - last > 24 * hour) started.set(key, [...(started.get(key) ?? []), time])
  }
  const disk = boxIn(letters)
  const outbox = () =>
    createOutbox({
      box: { all: step(disk.all), put: step(disk.put), remove: step(disk.remove) },
      send: step(receive),
      now: () => time,
      newKey: () => `key-${++keys}`,
      lock,
    })
  /** Runs a life of the process; true where it was killed. */
  const live = async (life: (box: ReturnType<typeof outbox>) => Promise<unknown>, steps = Number.POSITIVE_INFINITY) => {
    ;[calls, killAt] = [0, steps]
    try {
      await life(outbox())
      return false
    } catch (error) {
      if (error instanceof Killed) return true
      throw error
    }
  }
  return {
    letters,
    started,
    live,
    wait: (milliseconds: number) => {
      time += milliseconds
    },
    connect: (wanted: boolean) => {
      online = wanted
    },
    now: () => time,
  }
}

const deed = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), steps: fc.integer({ min: 1, max: 6 }) }),
  fc.record({ kind: fc.constant('flush' as const), steps: fc.integer({ min: 1, max: 40 }) }),
  fc.record({ kind: fc.constant('wait' as const), hours: fc.integer({ min: 0, max: 200 }) }),
  fc.record({ kind: fc.constant('connect' as const), online: fc.boolean() }),
)

describe('the outbox', () => {
  it('sends each letter exactly once, wherever its process is killed and however long it waits', async () => {
    const seen = { sent: 0, uncertain: 0, expired: 0, killed: 0 }
    await fc.assert(
      fc.asyncProperty(fc.array(deed, { maxLength: 40 }), async (deeds) => {
        const there = world()
        const written = new Set<string>()
        const told = new Map<string, Delivery['kind']>()
        const flush = async (steps?: number) => {
          const killed = await there.live(async (box) => {
            for (const { letter, kind } of await box.flush()) told.set(letter.key, kind)
          }, steps)
          seen.killed += Number(killed)
        }
        for (const each of deeds) {
          if (each.kind === 'wait') there.wait(each.hours * hour)
          if (each.kind === 'connect') there.connect(each.online)
          if (each.kind === 'flush') await flush(each.steps)
          if (each.kind === 'add') await there.live((box) => box.add({ prompt: 'a fox' }), each.steps)
          for (const key of there.letters.keys()) written.add(key)
        }
        there.connect(true)
        await flush()
        expect(there.letters.size).toBe(0)
        for (const key of written) {
          const times = there.started.get(key)?.length ?? 0
          const kind = told.get(key)
          expect(times).toBeLessThanOrEqual(1)
          // Where nothing began, the owner was told so, or that nobody can know; a kill may have kept the telling.
          if (kind === 'sent') expect(times).toBe(1)
          if (kind === 'expired') expect(times).toBe(0)
          if (kind !== undefined && kind !== 'refused') seen[kind] += 1
        }
      }),
      { seed: 11, numRuns: 20_000 },
    )
    // The runs did reach what they claim to have survived.
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(100)
  }, 300_000)

  it('loses none that is fresh: killed at every step once, then left in peace, all are sent once', async () => {
    for (let steps = 1; steps <= 40; steps++) {
      const there = world()
      for (let count = 0; count < 5; count++) {
        await there.live((box) => box.add({ prompt: 'a fox' }))
        there.wait(1)
      }
      await there.live((box) => box.flush(), steps)
      await there.live((box) => box.flush())
      expect([...there.started.values()].map(({ length }) => length)).toEqual([1, 1, 1, 1, 1])
    }
  })

  it('keeps the order, and stops at the first that cannot go', async () => {
    const letters = new Map<string, Letter>()
    const went: string[] = []
    let [time, keys] = [0, 0]
    const outbox = createOutbox({
      box: boxIn(letters),
      send: async ({ key }) => {
        if (key === 'k2') throw new GenerationError('offline', 'gone again')
        went.push(key)
      },
      now: () => ++time,
      newKey: () => `k${++keys}`,
      lock,
    })
    for (let count = 0; count < 3; count++) await outbox.add({ prompt: 'a fox' })
    expect((await outbox.flush()).map(({ letter }) => letter.key)).toEqual(['k1'])
    expect((await outbox.waiting()).map(({ key }) => key)).toEqual(['k2', 'k3'])
    expect(went).toEqual(['k1'])
  })

  it.each([
    ['a refusal of what is asked ends the letter', 'content_blocked', 'refused', 0],
    ['a refusal of who asks keeps it', 'unauthenticated', undefined, 1],
    ['a busy service keeps it', 'rate_limited', undefined, 1],
  ] as const)('%s', async (_claim, code, kind, left) => {
    const letters = new Map<string, Letter>()
    const refuse = async () => Promise.reject(new GenerationError(code, 'no'))
    const outbox = createOutbox({ box: boxIn(letters), send: refuse, lock, now: () => 0 })
    await outbox.add({ prompt: 'a fox' })
    expect((await outbox.flush()).map((each) => each.kind)).toEqual(kind === undefined ? [] : [kind])
    expect(letters.size).toBe(left)
  })

  it('gives up after a week, and after a day where nobody knows whether it arrived', async () => {
    const letters = new Map<string, Letter>()
    let [time, sent] = [0, 0]
    const send = async () => {
      sent += 1
      throw new TypeError('cut')
    }
    const outbox = createOutbox({ box: boxIn(letters), send, lock, now: () => time })
    await outbox.add({ prompt: 'a fox' })
    time = letterLife + 1
    expect((await outbox.flush()).map(({ kind }) => kind)).toEqual(['expired'])
    await outbox.add({ prompt: 'a cat' })
    await outbox.flush()
    time += repeatable
    await outbox.flush()
    expect(sent).toBe(2)
    time += 1
    expect((await outbox.flush()).map(({ kind }) => kind)).toEqual(['uncertain'])
    expect(sent).toBe(2)
  })
})
