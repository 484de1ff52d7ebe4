/**
 * The page's end of the engine's line: a worker that can be called, watched and thrown away.
 *
 * A call that says nothing for too long ends the thread: whatever hangs in it hangs with it. An aborted call gets a
 * second to stop between two steps, then the thread is ended too, so a stop takes at most that. The next call starts a
 * fresh thread; what must survive is on disk.
 */

import { GenerationError } from '../shared/errors.ts'
import type { EngineEvent, EngineRequest, ModelState } from './engine.ts'
import type { EngineOptions } from './house.ts'
import type { Answer, Call } from './protocol.ts'
import { type EventQueue, eventQueue } from './queue.ts'

export interface EngineThread extends Disposable {
  readonly generate: (request: EngineRequest, signal: AbortSignal) => AsyncIterable<EngineEvent>
  readonly prefetch: (
    model: string,
    signal: AbortSignal,
    onProgress: (received: number, total: number) => void,
  ) => Promise<boolean>
  readonly rehearse: (model: string, signal: AbortSignal) => Promise<void>
  readonly models: (signal: AbortSignal) => Promise<readonly ModelState[]>
  readonly remove: (model: string, signal: AbortSignal) => Promise<void>
}

/** Milliseconds. */
export interface Patience {
  /** Between two signs of life while compiling or downloading. */
  readonly start: number
  /** Between two steps. */
  readonly step: number
  /** For an aborted call to end by itself. */
  readonly stop: number
}

export const usualPatience: Patience = { start: 120_000, step: 30_000, stop: 1_000 }

type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never
type Heard = Exclude<Answer, { kind: 'failure' | 'result' }>

interface Open {
  readonly queue: EventQueue<Heard>
  value?: unknown
  timer?: ReturnType<typeof setTimeout>
  /** Given up by its caller: no news, of it or of others, gives it more time. */
  stopped?: boolean
}

export function engineThread(
  options: EngineOptions,
  spawn: () => Worker = spawnThread,
  patience: Patience = usualPatience,
): EngineThread {
  const open = new Map<number, Open>()
  let worker: Worker | undefined
  let calls = 0

  const end = (error: GenerationError) => {
    worker?.terminate()
    worker = undefined
    for (const { queue, timer } of open.values()) {
      clearTimeout(timer)
      queue.fail(error)
    }
    open.clear()
  }
  const watch = (call: Open, milliseconds: number) => {
    if (call.stopped === true) return
    clearTimeout(call.timer)
    call.timer = setTimeout(() => {
      end(
        new GenerationError(
          'device_lost',
          `engine: no sign of life for ${milliseconds / 1000} s; its thread was ended`,
        ),
      )
    }, milliseconds)
  }
  const begin = (): Worker => {
    const fresh = spawn()
    fresh.addEventListener('message', ({ data }: MessageEvent<Answer>) => hear(data))
    fresh.addEventListener('error', (event) => {
      end(new GenerationError('internal', `engine: its thread failed (${event.message || 'it could not be loaded'})`))
    })
    fresh.postMessage({ kind: 'open', options })
    return fresh
  }
  const hear = (answer: Answer) => {
    const call = open.get(answer.id)
    if (call === undefined) return
    if (answer.kind !== 'failure' && answer.kind !== 'result') {
      // A call that waits for its turn hears of it by another's news.
      for (const other of open.values()) watch(other, patience.start)
      watch(call, stepsOn(answer) ? patience.step : patience.start)
      call.queue.push(answer)
      return
    }
    clearTimeout(call.timer)
    if (answer.kind === 'failure') {
      const failure = new GenerationError(answer.code, answer.message)
      // A thread whose GPU is gone answers everything so from now on: the next call needs a fresh one.
      if (isLoss(failure)) return end(failure)
      open.delete(answer.id)
      return call.queue.fail(failure)
    }
    open.delete(answer.id)
    call.value = answer.value
    call.queue.end()
  }

  /** The events of a call, then its value. */
  async function* ask(words: WithoutId<Call>, signal: AbortSignal): AsyncGenerator<Heard, unknown> {
    signal.throwIfAborted()
    worker ??= begin()
    const id = calls++
    const call: Open = { queue: eventQueue() }
    open.set(id, call)
    watch(call, patience.start)
    worker.postMessage({ ...words, id })
    const stop = () => {
      worker?.postMessage({ kind: 'abort', id })
      call.queue.fail(signal.reason)
      call.stopped = true
      clearTimeout(call.timer)
      call.timer = setTimeout(() => end(aborted()), patience.stop)
    }
    signal.addEventListener('abort', stop, { once: true })
    try {
      yield* call.queue.events
      return call.value
    } finally {
      signal.removeEventListener('abort', stop)
      // A caller that walks away stops the work.
      if (open.has(id) && !signal.aborted) stop()
    }
  }

  return {
    async *generate(request, signal) {
      for await (const answer of ask({ kind: 'generate', request }, signal)) {
        if (answer.kind === 'event') yield answer.event
      }
    },
    prefetch: async (model, signal, onProgress) => {
      const kept = await answerTo(ask({ kind: 'prefetch', model }, signal), (answer) => {
        if (answer.kind === 'received') onProgress(answer.received, answer.total)
      })
      return kept === true
    },
    rehearse: async (model, signal) => void (await answerTo(ask({ kind: 'rehearse', model }, signal))),
    models: async (signal) => {
      const list = async () => (await answerTo(ask({ kind: 'models' }, signal))) as readonly ModelState[]
      // It reads alone and nothing stands behind it that would try again; what hung went with its thread.
      return list().catch((error: unknown) => {
        if (signal.aborted || !isLoss(error)) throw error
        return list()
      })
    },
    remove: async (model, signal) => void (await answerTo(ask({ kind: 'remove', model }, signal))),
    [Symbol.dispose]: () => end(aborted()),
  }
}

/** Whether another step comes next; after the last one a decoder is compiled, which may take as long as any start. */
function stepsOn(answer: Heard): boolean {
  if (answer.kind !== 'event' || answer.event.type !== 'progress' || answer.event.stage !== 'denoise') return false
  return answer.event.step !== answer.event.steps
}

const isLoss = (error: unknown): boolean => error instanceof GenerationError && error.code === 'device_lost'

const aborted = () => new GenerationError('aborted', 'engine: its thread was ended; begin again')

/** The value of a call, its events heard on the way. */
async function answerTo(
  call: AsyncGenerator<Heard, unknown>,
  hear: (answer: Heard) => void = () => {},
): Promise<unknown> {
  for (;;) {
    const { done, value } = await call.next()
    if (done === true) return value
    hear(value)
  }
}

// Bundlers know this very form.
const spawnThread = () => new Worker(new URL('./thread.ts', import.meta.url), { type: 'module', name: 'zoetrope' })
