/**
 * All predictions of a node: made, queued, run, cancelled, kept for a day, forgotten.
 *
 * Making one is a single synchronous step from the look-up of its id to its place in the queue, so equal PUTs run once
 * however many come at once. What running means is passed in. State lives in memory: after a crash the caller's
 * repeated PUT simply makes the prediction again.
 */

import { createHash, randomBytes } from 'node:crypto'
import { GenerationError } from '../../../shared/errors.ts'
import { canonicalJson } from './body.ts'
import type { Clock } from './clock.ts'
import { day } from './files.ts'
import {
  change,
  type Failure,
  log,
  type OutputFacts,
  type OutputMetadata,
  type Prediction,
  type PredictionOrder,
  terminal,
} from './prediction.ts'
import type { PreviewPicture } from './previews.ts'
import { progressLine } from './progress.ts'
import type { Slots, Ticket } from './slots.ts'

/** What a run may say while it lasts. */
export interface Report {
  /** A line without its newline. */
  readonly line: (text: string) => void
  readonly step: (step: number, steps: number) => void
  readonly preview: (picture: PreviewPicture) => void
  /** An output that is ready before the others. */
  readonly part: (output: OutputFacts) => void
}

/** Runs a prediction in a slot; checks the signal between steps and throws when it is aborted. */
export type Execute = (
  prediction: Prediction,
  slot: number,
  signal: AbortSignal,
  report: Report,
) => Promise<OutputMetadata>

export interface PredictionsOptions {
  readonly clock: Clock
  readonly slots: Slots
  readonly execute: Execute
  /** Called for each new prediction before anything happens to it. */
  readonly watch: (prediction: Prediction) => void
  /** Gets failures nobody foresaw, whole; the wire says only `internal`. */
  readonly complain: (error: unknown) => void
  /** Predictions kept at most; the oldest terminal ones go first. */
  readonly limit?: number
}

export interface NewPrediction extends Omit<PredictionOrder, 'id' | 'createdAt' | 'deadline' | 'streamKey'> {
  readonly cancelAfter?: number
}

export interface Page {
  readonly results: readonly Prediction[]
  readonly next: string | undefined
  readonly previous: string | undefined
}

export interface Predictions {
  /** @throws GenerationError queue_full. */
  readonly create: (order: NewPrediction) => Prediction
  /**
   * Makes the prediction of an id, or gives the one there is. `build` is called only where it must be made.
   * @param body what was asked; a known id with another body is refused.
   * @throws GenerationError idempotency_key_reuse or queue_full.
   */
  readonly put: (id: string, body: unknown, build: () => NewPrediction) => { prediction: Prediction; created: boolean }
  /** @throws GenerationError not_found. */
  readonly get: (id: string) => Prediction
  /** Newest first. */
  readonly list: (cursor: string | undefined, size: number) => Page
  /** Asks a prediction to stop: at once while it waits, between two steps while it runs. */
  readonly cancel: (prediction: Prediction) => void
  /** Resolves when the prediction is terminal, time is up or the signal aborts; never rejects. */
  readonly finished: (prediction: Prediction, milliseconds: number, signal?: AbortSignal) => Promise<void>
  /** How many runs have begun since the start. */
  readonly executions: () => number
  /** Cancels everything and waits for what runs. */
  readonly close: () => Promise<void>
}

interface Entry {
  readonly prediction: Prediction
  readonly fingerprint: string
  readonly controller: AbortController
  ticket?: Ticket
  cancelDeadline?: () => void
}

export function predictions({
  clock,
  slots,
  execute,
  watch,
  complain,
  limit = 10_000,
}: PredictionsOptions): Predictions {
  const entries = new Map<string, Entry>()
  let executions = 0

  const forget = () => {
    const old = clock.now() - day
    for (const [id, { prediction }] of entries) {
      const { completedAt } = prediction.state
      if (completedAt !== undefined && (completedAt <= old || entries.size > limit)) entries.delete(id)
    }
  }
  const add = (id: string, fingerprint: string, { cancelAfter, ...rest }: NewPrediction): Prediction => {
    forget()
    const createdAt = clock.now()
    const deadline = cancelAfter === undefined ? {} : { deadline: createdAt + cancelAfter }
    const streamKey = randomBytes(20).toString('base64url')
    const order = { ...rest, id, createdAt, ...deadline, streamKey }
    const prediction: Prediction = {
      order,
      state: { status: 'starting', logs: '' },
      watchers: new Set(),
      position: () => entry.ticket?.position(),
    }
    const entry: Entry = { prediction, fingerprint, controller: new AbortController() }
    // Throws where the queue is full, before anything is kept: a refused id stays free.
    entry.ticket = slots.enter((slot) => run(entry, slot))
    entries.set(id, entry)
    watch(prediction)
    if (cancelAfter !== undefined) entry.cancelDeadline = clock.after(cancelAfter, () => stop(entry))
    return prediction
  }
  const stop = (entry: Entry) => {
    if (entry.ticket?.leave()) finish(entry, { status: 'canceled' })
    else entry.controller.abort(new GenerationError('aborted', 'the prediction was canceled'))
  }
  const finish = (entry: Entry, end: { status: 'succeeded' | 'failed' | 'canceled' } & Partial<Ending>) => {
    entry.cancelDeadline?.()
    change(entry.prediction, { ...end, completedAt: clock.now() }, 'completed')
  }
  const run = async (entry: Entry, slot: number) => {
    const { prediction, controller } = entry
    executions++
    change(prediction, { status: 'processing', startedAt: clock.now() }, 'start')
    try {
      const outputs = await execute(prediction, slot, controller.signal, reportTo(prediction, clock))
      controller.signal.throwIfAborted()
      finish(entry, { status: 'succeeded', outputs })
    } catch (error) {
      if (controller.signal.aborted) finish(entry, { status: 'canceled' })
      else finish(entry, { status: 'failed', failure: failureOf(error, complain) })
    }
  }
  const entryOf = (id: string): Entry => {
    forget()
    const entry = entries.get(id)
    if (entry === undefined) throw new GenerationError('not_found', `prediction: there is no ${id}, or not any more`)
    return entry
  }
  const finished: Predictions['finished'] = (prediction, milliseconds, signal) =>
    new Promise((resolve) => {
      if (terminal(prediction) || signal?.aborted) return resolve()
      const end = () => {
        cancelTimer()
        prediction.watchers.delete(watcher)
        signal?.removeEventListener('abort', end)
        resolve()
      }
      const watcher = () => terminal(prediction) && end()
      const cancelTimer = clock.after(milliseconds, end)
      signal?.addEventListener('abort', end)
      prediction.watchers.add(watcher)
    })
  return {
    create: (order) => add(randomBytes(16).toString('base64url'), '', order),
    put: (id, body, build) => {
      forget()
      const fingerprint = createHash('sha256').update(canonicalJson(body)).digest('hex')
      const known = entries.get(id)
      if (known === undefined) return { prediction: add(id, fingerprint, build()), created: true }
      if (known.fingerprint === fingerprint) return { prediction: known.prediction, created: false }
      throw new GenerationError(
        'idempotency_key_reuse',
        `prediction: ${id} was made from another body; send that one again, or use a new id`,
      )
    },
    get: (id) => entryOf(id).prediction,
    list: (cursor, size) => pageOf([...entries.values()].map(({ prediction }) => prediction).reverse(), cursor, size),
    cancel: ({ order }) => stop(entryOf(order.id)),
    finished,
    executions: () => executions,
    close: async () => {
      const open = [...entries.values()].filter(({ prediction }) => !terminal(prediction))
      for (const entry of open) stop(entry)
      await Promise.all(open.map(({ prediction }) => finished(prediction, 60_000)))
    },
  }
}

interface Ending {
  readonly outputs: OutputMetadata
  readonly failure: Failure
}

function reportTo(prediction: Prediction, clock: Clock): Report {
  const began = clock.now()
  return {
    line: (text) => log(prediction, `${text}\n`),
    step: (step, steps) => log(prediction, progressLine(step, steps, clock.now() - began)),
    preview: (preview) => change(prediction, { preview }, 'logs'),
    part: (output) => change(prediction, { parts: [...(prediction.state.parts ?? []), output] }, 'output'),
  }
}

function failureOf(error: unknown, complain: (error: unknown) => void): Failure {
  if (error instanceof GenerationError) return { code: error.code, message: error.message }
  complain(error)
  return { code: 'internal', message: 'the node failed; its log says why' }
}

/** A page of a list, newest first. The cursor names the prediction that the page begins with. */
function pageOf(all: readonly Prediction[], cursor: string | undefined, size: number): Page {
  const at = cursor === undefined ? 0 : all.findIndex(({ order }) => order.id === cursor)
  if (at < 0) {
    throw new GenerationError(
      'invalid_parameter',
      `cursor: got ${cursor}, which is not one, or not any more; start again`,
    )
  }
  const idAt = (index: number) => all[index]?.order.id
  return {
    results: all.slice(at, at + size),
    next: idAt(at + size),
    previous: at === 0 ? undefined : idAt(Math.max(0, at - size)),
  }
}
