/**
 * A worker thread that makes training batches ahead of the step that needs them.
 *
 * Spoken to by batches.ts of this folder: a request names a kind and its arguments, the answer transfers the arrays.
 */

import { parentPort } from 'node:worker_threads'
import { clipBatch, frameBatch } from '../train/batches.ts'

export interface BatchRequest {
  /** Weighted windows for training, or whole clips for encoding. */
  readonly kind: 'frames' | 'clips'
  readonly arguments: Parameters<typeof frameBatch>
}

parentPort?.on('message', (request: BatchRequest) => {
  const make = request.kind === 'frames' ? frameBatch : clipBatch
  const batch = make(...request.arguments)
  parentPort?.postMessage(batch, [batch.frames.buffer as ArrayBuffer, batch.weight.buffer as ArrayBuffer])
})
