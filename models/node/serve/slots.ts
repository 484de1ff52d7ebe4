/**
 * Places to run, and a bounded queue before them; first come, first served.
 *
 * Knows nothing of what runs. A slot is given to one at a time, so what belongs to a slot needs no lock.
 */

import { GenerationError } from '../../../shared/errors.ts'

export interface Ticket {
  /** How many wait before this one; undefined once it runs. */
  readonly position: () => number | undefined
  /** Gives the place in the queue up; false where the run has begun and must be stopped instead. */
  readonly leave: () => boolean
}

export interface Slots {
  /**
   * Runs as soon as a slot is free; `run` gets the slot's number and must not reject.
   * @throws GenerationError queue_full.
   */
  readonly enter: (run: (slot: number) => Promise<void>) => Ticket
  readonly busy: () => number
  readonly waiting: () => number
}

type Run = (slot: number) => Promise<void>

export function slots(count: number, queueLimit: number): Slots {
  const free = Array.from({ length: count }, (_, index) => index)
  const queue: Run[] = []
  const next = () => {
    while (free.length > 0 && queue.length > 0) start(queue.shift() as Run, free.shift() as number)
  }
  const start = (run: Run, slot: number) => {
    const leave = () => {
      free.push(slot)
      next()
    }
    run(slot).then(leave, leave)
  }
  const enter = (run: Run): Ticket => {
    // Those at the head may be about to take the free ones.
    if (queue.length >= free.length + queueLimit) {
      throw new GenerationError(
        'queue_full',
        `slots: all ${count} are busy and ${queue.length} predictions wait, allowed are ${queueLimit}; try again when one has ended`,
      )
    }
    queue.push(run)
    // Not at once: whoever enters may still be writing down that it did.
    queueMicrotask(next)
    return {
      position: () => {
        const index = queue.indexOf(run)
        return index < 0 ? undefined : index
      },
      leave: () => {
        const index = queue.indexOf(run)
        if (index >= 0) queue.splice(index, 1)
        return index >= 0
      },
    }
  }
  return { enter, busy: () => count - free.length, waiting: () => queue.length }
}
