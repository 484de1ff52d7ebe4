/**
 * Time as the node sees it: what is now, and what happens later. Passed in, so that tests own it.
 */

export interface Clock {
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Calls `action` once after some milliseconds; the function returned calls it off. */
  readonly after: (milliseconds: number, action: () => void) => () => void
}

// setTimeout takes at most 2^31 − 1 and fires at once beyond it.
const longest = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  after: (milliseconds, action) => {
    const timer = setTimeout(action, Math.min(longest, Math.max(0, milliseconds)))
    // A deadline of half an hour must not keep a stopped node alive.
    timer.unref()
    return () => clearTimeout(timer)
  },
}

/** RFC 3339 in UTC. */
export const timestamp = (milliseconds: number): string => new Date(milliseconds).toISOString()
