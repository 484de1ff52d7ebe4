/**
 * A queue of films that worker threads keep filled, so that rendering never starves the step; and a set of films in a
 * file, rendered once.
 */

import { createHash } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { at } from '../graph/ops.ts'
import { type Films, renderFilms } from '../train/batches.ts'
import type { FilmRequest } from './batch-worker.ts'
import { cacheFolder, writeAtomically } from './checkpoints.ts'

export interface FilmQueue extends AsyncDisposable {
  readonly next: () => Promise<Films>
}

/** Asks for `requestOf(0)`, `requestOf(1)`, … and gives them in order; every worker is asked four ahead. */
export function filmQueue(requestOf: (step: number) => FilmRequest): FilmQueue {
  // Rendering a film takes longer than encoding it, so that one worker alone would starve its encoder.
  const workers = Array.from({ length: Math.min(4, availableParallelism()) }, renderer)
  let [asked, given] = [0, 0]
  const ask = () => {
    at(workers, asked % workers.length).ask(requestOf(asked))
    asked++
  }
  for (let n = 0; n < 4 * workers.length; n++) ask()
  return {
    next: () => {
      ask()
      return at(workers, given++ % workers.length).next()
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(workers.map((worker) => worker[Symbol.asyncDispose]()))
    },
  }
}

/** One worker, which answers in the order in which it is asked. */
function renderer(): FilmQueue & { readonly ask: (request: FilmRequest) => void } {
  const worker = new Worker(new URL('./batch-worker.ts', import.meta.url))
  const ready: Films[] = []
  const waiting: { resolve: (films: Films) => void; reject: (error: Error) => void }[] = []
  let failure: Error | undefined
  worker.on('message', (films: Films) => {
    const taker = waiting.shift()
    if (taker === undefined) ready.push(films)
    else taker.resolve(films)
  })
  worker.on('error', (error: Error) => {
    failure = error
    for (const taker of waiting.splice(0)) taker.reject(error)
  })
  return {
    ask: (request) => worker.postMessage(request),
    next: () => {
      if (failure !== undefined) return Promise.reject(failure)
      const films = ready.shift()
      if (films !== undefined) return Promise.resolve(films)
      return new Promise((resolve, reject) => {
        waiting.push({ resolve, reject })
      })
    },
    [Symbol.asyncDispose]: async () => {
      await worker.terminate()
    },
  }
}

export interface FilmSetOptions {
  readonly first: number
  readonly count: number
  readonly frames: number
  readonly side: number
  readonly signal: AbortSignal
  readonly progress: (done: number) => void
}

const atOnce = 16

/** Films with coverage, from their file or rendered into it. The name holds a hash of how the first one looks. */
export async function filmSet({ first, count, frames, side, signal, progress }: FilmSetOptions): Promise<Films> {
  const sample = renderFilms(first, 1, frames, side, 4)
  const look = createHash('sha256').update(sample.bytes).digest('hex').slice(0, 12)
  const path = join(cacheFolder(), `films-${look}-${count}x${frames}x${side}.rgbm`)
  const size = sample.bytes.length
  const known = await readFile(path).catch(() => undefined)
  if (known?.length === count * size) return { ...sample, count, bytes: known }
  const bytes = new Uint8Array(count * size)
  const batches = Math.ceil(count / atOnce)
  await using queue = filmQueue((n) => [first + n * atOnce, atOnce, frames, side, 4])
  for (let batch = 0; batch < batches; batch++) {
    signal.throwIfAborted()
    const films = await queue.next()
    bytes.set(
      films.bytes.subarray(0, (Math.min(count, (batch + 1) * atOnce) - batch * atOnce) * size),
      batch * atOnce * size,
    )
    progress(Math.min(count, (batch + 1) * atOnce))
  }
  await mkdir(cacheFolder(), { recursive: true })
  await writeAtomically(path, bytes)
  return { ...sample, count, bytes }
}
