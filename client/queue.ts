/**
 * From callbacks to an async iterable: what is pushed is iterated, once, in order.
 */

export interface EventQueue<T> {
  readonly push: (event: T) => void
  /** Takes the place of what still waits: only the newest is worth hearing. */
  readonly replace: (event: T) => void
  /** No more events; the iteration ends when the waiting ones are heard. */
  readonly end: () => void
  /** The iteration throws, at once. */
  readonly fail: (error: unknown) => void
  readonly events: AsyncIterable<T>
}

export function eventQueue<T>(): EventQueue<T> {
  const waiting: T[] = []
  let state:
    | { readonly kind: 'open' }
    | { readonly kind: 'ended' }
    | { readonly kind: 'failed'; readonly error: unknown } = {
    kind: 'open',
  }
  let news = Promise.withResolvers<void>()
  const tell = () => {
    news.resolve()
    news = Promise.withResolvers()
  }
  async function* events(): AsyncGenerator<T> {
    for (;;) {
      if (state.kind === 'failed') throw state.error
      const [next] = waiting.splice(0, 1)
      if (next !== undefined) yield next
      else if (state.kind === 'ended') return
      else await news.promise
    }
  }
  return {
    push: (event) => {
      waiting.push(event)
      tell()
    },
    replace: (event) => {
      waiting.splice(0, waiting.length, event)
      tell()
    },
    end: () => {
      if (state.kind === 'open') state = { kind: 'ended' }
      tell()
    },
    fail: (error) => {
      if (state.kind === 'open') state = { kind: 'failed', error }
      tell()
    },
    events: events(),
  }
}
