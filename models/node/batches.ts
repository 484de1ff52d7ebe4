/**
 * A queue of batches that a worker thread keeps filled, so that drawing never starves the step.
 */

import { Worker } from 'node:worker_threads'
import type { FrameBatch } from '../train/batches.ts'
import type { BatchRequest } from './batch-worker.ts'

export interface BatchQueue extends AsyncDisposable {
  readonly next: () => Promise<FrameBatch>
}

/** Asks for `requestOf(0)`, `requestOf(1)`, … in order, `ahead` of them at a time. */
export function batchQueue(requestOf: (step: number) => BatchRequest, ahead = 4): BatchQueue {
  const worker = new Worker(new URL('./batch-worker.ts', import.meta.url))
  const ready: FrameBatch[] = []
  const waiting: { resolve: (batch: FrameBatch) => void; reject: (error: Error) => void }[] = []
  let asked = 0
  let failure: Error | undefined
  const ask = () => worker.postMessage(requestOf(asked++))
  worker.on('message', (batch: FrameBatch) => {
    const taker = waiting.shift()
    if (taker === undefined) ready.push(batch)
    else taker.resolve(batch)
  })
  worker.on('error', (error: Error) => {
    failure = error
    for (const taker of waiting.splice(0)) taker.reject(error)
  })
  for (let n = 0; n < ahead; n++) ask()
  return {
    next: () => {
      if (failure !== undefined) return Promise.reject(failure)
      ask()
      const batch = ready.shift()
      if (batch !== undefined) return Promise.resolve(batch)
      return new Promise((resolve, reject) => {
        waiting.push({ resolve, reject })
      })
    },
    [Symbol.asyncDispose]: async () => {
      await worker.terminate()
    },
  }
}
