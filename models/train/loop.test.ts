import { describe, expect, it, vi } from 'vitest'
import { type LoopOptions, trainingLoop } from './loop.ts'
import type { Trainer } from './trainer.ts'

/** A loop whose steps cost nothing, and what it asked for. */
function loop(options: Partial<LoopOptions>, loss = 1) {
  const [batches, saves]: [number[], number[]] = [[], []]
  const learner: Trainer = {
    step: async () => ({ scalars: { loss }, applied: Number.isFinite(loss) }),
    state: () => ({}),
    parameters: [],
    [Symbol.asyncDispose]: async () => {},
  }
  const running = trainingLoop({
    learner,
    begin: 0,
    end: 10,
    rates: { peak: 1, warmup: 1, steps: 10, decay: 1 },
    emaDecay: 0.9,
    feedsOf: (step) => {
      batches.push(step)
      return {}
    },
    save: async (step) => {
      saves.push(step)
    },
    saveEvery: 4,
    pointEvery: 5,
    point: () => {},
    signal: new AbortController().signal,
    ...options,
  })
  return { running, batches, saves }
}

describe('the training loop', () => {
  it('asks for every batch once, and saves as often as told and at the end', async () => {
    const { running, batches, saves } = loop({})
    expect(await running).toBe(10)
    expect(batches).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(saves).toEqual([4, 8, 10])
  })

  it('asks for nothing where the run is done', async () => {
    const { running, batches, saves } = loop({ begin: 10 })
    expect(await running).toBe(10)
    expect([batches, saves]).toEqual([[], []])
  })

  it.each([
    ['makes the next batch while a step runs', false, ['batch 0', 'step', 'batch 1', 'learned', 'step', 'learned']],
    [
      'makes it of what has been learned, where it is told to',
      true,
      ['batch 0', 'step', 'learned', 'batch 1', 'step', 'learned'],
    ],
  ])('%s', async (_, inTurn, order) => {
    const events: string[] = []
    const learner: Trainer = {
      step: async () => {
        events.push('step')
        await Promise.resolve()
        events.push('learned')
        return { scalars: { loss: 1 }, applied: true }
      },
      state: () => ({}),
      parameters: [],
      [Symbol.asyncDispose]: async () => {},
    }
    const feedsOf = (step: number) => {
      events.push(`batch ${step}`)
      return {}
    }
    await loop({ learner, feedsOf, inTurn, end: 2 }).running
    expect(events).toEqual(order)
  })

  it.each([false, true])('counts the time of a batch to its step (in turn: %s)', async (inTurn) => {
    vi.useFakeTimers({ toFake: ['performance'] })
    try {
      const times: number[] = []
      const feedsOf = () => {
        vi.advanceTimersByTime(30)
        return {}
      }
      await loop({ feedsOf, inTurn, point: ({ ms }) => times.push(ms) }).running
      // A batch ahead of its step is made in the time of the step before: the last step has none.
      expect(times).toEqual([inTurn ? 30 : 36, inTurn ? 30 : 24])
    } finally {
      vi.useRealTimers()
    }
  })

  it('saves when stopped, and leaves no batch at work behind it', async () => {
    const stop = new AbortController()
    let made = 0
    const feedsOf = async (step: number) => {
      if (step === 3) stop.abort()
      await Promise.resolve()
      made = step
      return {}
    }
    const { running, saves } = loop({ feedsOf, signal: stop.signal })
    expect(await running).toBe(3)
    expect([made, saves]).toEqual([3, [3]])
  })

  it('gives up after twenty steps in a row that are not finite', async () => {
    const { running } = loop({ end: 100 }, Number.NaN)
    await expect(running).rejects.toThrow(/20 steps in a row were not finite/)
  })
})
