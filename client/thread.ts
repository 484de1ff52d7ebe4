/**
 * The engine's end of the line: a dedicated worker that answers calls with events.
 *
 * One message in begins or aborts a call, each event is a message out. Pixels are handed over, not copied. The page may
 * end this thread at any time; what must survive is in the origin's file system.
 */

import { GenerationError } from '../shared/errors.ts'
import { createEngine, type Engine } from './engine.ts'
import type { EngineOptions } from './house.ts'
import type { Answer, Call, FromPage } from './protocol.ts'

interface Running {
  readonly stop: AbortController
  readonly fail: (loss: GenerationError) => void
}

const running = new Map<number, Running>()
let engine: Engine | undefined
let lost: GenerationError | undefined

// Workers that wasm threads start are scripts too; a policy allows those of this origin and no others.
const policies = (globalThis as { trustedTypes?: { createPolicy(name: string, rules: object): unknown } }).trustedTypes
policies?.createPolicy('default', {
  createScriptURL: (url: string) => {
    if (new URL(url, location.href).origin === location.origin || url.startsWith('blob:')) return url
    throw new TypeError(`script ${url} is not of this origin`)
  },
})

addEventListener('message', ({ data }: MessageEvent<FromPage>) => {
  if (data.kind === 'open') open(data.options)
  else if (data.kind === 'abort')
    running.get(data.id)?.stop.abort(new GenerationError('aborted', 'the caller stopped it'))
  else void serve(data)
})

/** The loss is waited for once: each call that waited for it by itself would be held until it comes, so for ever. */
function open(options: EngineOptions): void {
  const opened = createEngine(options)
  engine = opened
  lost = undefined
  opened.lost.then((loss) => {
    if (engine !== opened) return
    lost = loss
    for (const { fail } of running.values()) fail(loss)
  })
}

async function serve(call: Call): Promise<void> {
  const stop = new AbortController()
  const failed = Promise.withResolvers<never>()
  running.set(call.id, { stop, fail: failed.reject })
  try {
    if (engine === undefined) throw new Error('thread: a call came before open')
    if (lost !== undefined) throw lost
    send({
      id: call.id,
      kind: 'result',
      value: await Promise.race([perform(engine, call, stop.signal), failed.promise]),
    })
  } catch (error) {
    send({ id: call.id, kind: 'failure', ...problemOf(error) })
  } finally {
    running.delete(call.id)
  }
}

async function perform(engine: Engine, call: Call, signal: AbortSignal): Promise<unknown> {
  switch (call.kind) {
    case 'generate':
      for await (const event of engine.generate(call.request, signal)) send({ id: call.id, kind: 'event', event })
      return undefined
    case 'prefetch':
      return engine.prefetch(call.model, signal, (received, total) =>
        send({ id: call.id, kind: 'received', received, total }),
      )
    case 'rehearse':
      return engine.rehearse(call.model, signal, () => send({ id: call.id, kind: 'alive' }))
    case 'models':
      return engine.models(signal)
    case 'remove':
      return engine.remove(call.model, signal)
    default:
      return call satisfies never
  }
}

/** Unknown failures keep their text: the page logs them whole. */
function problemOf(error: unknown): { code: GenerationError['code']; message: string } {
  if (error instanceof GenerationError) return { code: error.code, message: error.message }
  const message = error instanceof Error ? error.message : String(error)
  const memory = /out of memory|allocation failed|RangeError: Array buffer/i.test(message)
  return { code: memory ? 'out_of_memory' : 'internal', message }
}

function send(answer: Answer): void {
  postMessage(answer)
}
