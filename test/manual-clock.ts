/**
 * A clock that moves when told to, for tests of deadlines, expiry and retries.
 */

import type { Clock } from '../models/node/serve/clock.ts'

export interface ManualClock extends Clock {
  /** Moves on; what is due happens in order, each at its own time, with promises settled in between. */
  readonly advance: (milliseconds: number) => Promise<void>
  /** How many timers wait. */
  readonly pending: () => number
}

interface Timer {
  readonly at: number
  readonly action: () => void
}

export function manualClock(start = Date.UTC(2026, 0, 1)): ManualClock {
  let now = start
  const timers = new Set<Timer>()
  const due = (until: number) => [...timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0]
  return {
    now: () => now,
    after: (milliseconds, action) => {
      const timer = { at: now + milliseconds, action }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    advance: async (milliseconds) => {
      // What was begun before must see the time it began at.
      await settled()
      const until = now + milliseconds
      for (let timer = due(until); timer !== undefined; timer = due(until)) {
        timers.delete(timer)
        now = Math.max(now, timer.at)
        timer.action()
        await settled()
      }
      now = until
      await settled()
    },
    pending: () => timers.size,
  }
}

/** Lets every promise that can settle do so. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
