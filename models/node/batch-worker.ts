/**
 * A worker thread that renders films ahead of whoever needs them.
 *
 * Spoken to by batches.ts of this folder: a request is renderFilms' arguments, the answer transfers the bytes.
 */

import { parentPort } from 'node:worker_threads'
import { renderFilms } from '../train/batches.ts'

export type FilmRequest = Parameters<typeof renderFilms>

parentPort?.on('message', (request: FilmRequest) => {
  const films = renderFilms(...request)
  parentPort?.postMessage(films, [films.bytes.buffer as ArrayBuffer])
})
