/**
 * A prediction as server-sent events, the way the stock client reads them: `logs`, `output`, `error`, `done`.
 *
 * Whoever comes late gets what has been so far. Ids count the events of a connection; a reconnection starts again,
 * since everything is replayed anyway.
 */

import type { Clock } from './clock.ts'
import { type Prediction, terminal } from './prediction.ts'

const heartbeat = 15_000

/** The stream's answer; it ends after `done`, or when the reader leaves. */
export function streamResponse(prediction: Prediction, clock: Clock): Response {
  let release = () => {}
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      release = follow(prediction, clock, controller)
    },
    cancel: () => release(),
  })
  const headers = { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' }
  return new Response(body, { headers })
}

function follow(
  prediction: Prediction,
  clock: Clock,
  controller: ReadableStreamDefaultController<Uint8Array>,
): () => void {
  const encoder = new TextEncoder()
  const write = (text: string) => controller.enqueue(encoder.encode(text))
  let [id, logged] = [0, 0]
  const event = (name: string, data: string) => {
    const lines = data.split('\n').map((line) => `data: ${line}\n`)
    write(`id: ${id++}\nevent: ${name}\n${lines.join('')}\n`)
  }
  let cancelBeat = () => {}
  const beat = () => {
    write(': hb\n\n')
    cancelBeat = clock.after(heartbeat, beat)
  }
  const release = () => {
    cancelBeat()
    prediction.watchers.delete(watcher)
  }
  const watcher = () => {
    const { logs, outputs, failure, status } = prediction.state
    // Logs lose their beginning when long; then what is new cannot be told apart and all is sent.
    const fresh = logs.length >= logged ? logs.slice(logged) : logs
    logged = logs.length
    if (fresh !== '') event('logs', fresh)
    if (!terminal(prediction)) return
    for (const { url } of outputs?.outputs ?? []) event('output', url)
    if (failure !== undefined) event('error', failure.message)
    event(
      'done',
      JSON.stringify(status === 'succeeded' ? {} : { reason: status === 'canceled' ? 'canceled' : 'error' }),
    )
    release()
    controller.close()
  }
  write('retry: 2000\n\n')
  prediction.watchers.add(watcher)
  cancelBeat = clock.after(heartbeat, beat)
  watcher()
  return release
}
