/**
 * Calls that end in time. The timer ends with the call: one left behind keeps a Durable Object in memory until it rings.
 */

/** Makes a call with a signal that aborts after some milliseconds, or when the outer signal does. */
export async function withTimeLimit<Value>(
  milliseconds: number,
  call: (signal: AbortSignal) => Promise<Value>,
  outer?: AbortSignal,
): Promise<Value> {
  const controller = new AbortController()
  const timer = setTimeout(() => controller.abort(new Error(`no answer in ${milliseconds} ms`)), milliseconds)
  try {
    return await call(outer === undefined ? controller.signal : AbortSignal.any([outer, controller.signal]))
  } finally {
    clearTimeout(timer)
  }
}
