/**
 * Encoding in a thread of its own, started at the first use and kept for the next.
 *
 * A caller who is aborted is let go at once; the thread finishes what it has begun, and nobody takes the result.
 */

import { Worker } from 'node:worker_threads'
import type { PixelVideo } from '../video-file.ts'
import type { EncodeAnswer, EncodeRequest } from './encode-worker.ts'
import type { FrameFormat } from './outputs.ts'

export interface Encoder extends AsyncDisposable {
  /** Frames to a file; the pixels are given away. Rejects with the signal's reason when it is aborted. */
  readonly encode: (video: PixelVideo, format: FrameFormat, signal: AbortSignal) => Promise<Uint8Array>
}

interface Waiting {
  readonly resolve: (bytes: Uint8Array) => void
  readonly reject: (error: unknown) => void
}

// The build has no .ts files, and rewrites imports but not addresses.
const script = new URL(import.meta.url.endsWith('.ts') ? './encode-worker.ts' : './encode-worker.js', import.meta.url)

export function encoder(): Encoder {
  let worker: Worker | undefined
  const queue: Waiting[] = []
  const start = (): Worker => {
    const fresh = new Worker(script)
    // An idle thread must not keep a stopped node alive.
    fresh.unref()
    fresh.on('message', (answer: EncodeAnswer) => {
      const waiting = queue.shift()
      if ('bytes' in answer) waiting?.resolve(answer.bytes)
      else waiting?.reject(new Error(`encoding: ${answer.failure}`))
    })
    const lost = (error: unknown) => {
      worker = undefined
      for (const waiting of queue.splice(0)) waiting.reject(error)
    }
    fresh.on('error', lost)
    fresh.on('exit', () => lost(new Error('encoding: the thread has ended')))
    return fresh
  }
  const encode: Encoder['encode'] = (video, format, signal) =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const onAbort = () => reject(signal.reason)
      const free = () => signal.removeEventListener('abort', onAbort)
      signal.addEventListener('abort', onAbort)
      worker ??= start()
      queue.push({
        resolve: (bytes) => {
          free()
          resolve(bytes)
        },
        reject: (error) => {
          free()
          reject(error)
        },
      })
      worker.postMessage({ video, format } satisfies EncodeRequest, [video.pixels.buffer as ArrayBuffer])
    })
  return {
    encode,
    [Symbol.asyncDispose]: async () => {
      await worker?.terminate()
    },
  }
}
