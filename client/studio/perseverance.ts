/**
 * An answer that comes if it is asked for again: what failed for a moment, and what was never answered, is tried a few
 * times more. Knows nothing of what is asked.
 */

export interface Asked<T> {
  readonly attempt: () => Promise<T>
  /** Takes what came after another attempt had been answered, or after all were given up. */
  readonly discard: (late: T) => void
  /** Milliseconds in which an attempt is answered if it ever is. */
  readonly patience?: number
  /** Milliseconds between attempts, of which there is one more. */
  readonly pauses?: readonly number[]
}

/** The first answer. @throws what the last attempt failed with, or that nothing was answered. */
export async function perseverance<T>(asked: Asked<T>): Promise<T> {
  const { attempt, discard, patience = 3000, pauses = [100, 400] } = asked
  const { promise: first, resolve } = Promise.withResolvers<T>()
  let over = false
  let failure: unknown = new Error(`nothing was answered within ${patience} ms`)
  const begun = async () => {
    try {
      const answer = await attempt()
      if (over) return discard(answer)
      over = true
      resolve(answer)
    } catch (error) {
      failure = error
    }
  }
  for (const pause of [...pauses, undefined]) {
    // One that was not answered in time may be yet, and then counts no less.
    await Promise.race([begun(), first, after(patience)])
    if (!over && pause !== undefined) await Promise.race([first, after(pause)])
    if (over) return first
  }
  over = true
  throw failure
}

const after = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds))
