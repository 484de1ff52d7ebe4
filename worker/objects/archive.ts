/**
 * A job that is over, as its account keeps it: a few hundred bytes in one row, and all its callers may still ask for.
 *
 * The record is deflated, for it is mostly names of fields. Its result is kept apart, once for all jobs that share it.
 * Events are kept as what tells them from the final job, so that a listener who comes back hears the same words.
 */

import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { isTerminal, type Job } from '../../shared/job.ts'
import type { NumberedEvent } from '../../shared/sse.ts'
import { utf8 } from '../bytes.ts'
import type { FinishedJob, JobFacts, LogEntry, StoredResult } from './contract.ts'
import { jobOf, newFacts } from './generation-state.ts'

/** How long the whole log is told; afterwards there is only the final status. */
export const logLifeMs = 86_400_000

/** A value in as few bytes as its names allow. */
export const packed = (value: unknown): Uint8Array<ArrayBuffer> => deflateRawSync(utf8(JSON.stringify(value)))

/** The value of some packed bytes. */
export const unpacked = (bytes: Uint8Array | ArrayBuffer): unknown =>
  JSON.parse(new TextDecoder().decode(inflateRawSync(bytes)))

interface Row {
  readonly v: 1
  readonly ticket: Omit<JobFacts['ticket'], 'result'>
  readonly hit: boolean
  readonly facts: Omit<JobFacts, 'ticket' | 'result'>
  readonly log: readonly LogEntry[]
}

/** A finished job as its row, without its result. */
export const packJob = (job: FinishedJob): Uint8Array<ArrayBuffer> => packed(rowOf(job))

/** The same as text: more to keep and nothing to deflate, for a job whose caller waits meanwhile. */
export const jobText = (job: FinishedJob): string => JSON.stringify(rowOf(job))

function rowOf({ facts, log }: FinishedJob): Row {
  const { ticket, status, startedAt, completedAt, progress, warnings, error, cost } = facts
  // Beside a result they say nothing new; without one, that what was told of is gone.
  const parts = facts.result === null && facts.parts !== undefined ? { parts: facts.parts } : {}
  return {
    v: 1,
    ticket: { record: ticket.record, execution: ticket.execution },
    hit: ticket.result !== null,
    facts: { status, startedAt, completedAt, progress, warnings, error, cost, ...parts },
    log,
  }
}

/** A finished job from its row, deflated or text. @param result of its execution, where that has one. */
export function unpackJob(data: Uint8Array | ArrayBuffer | string, result: StoredResult | null): FinishedJob {
  const { ticket, hit, facts, log } = (typeof data === 'string' ? JSON.parse(data) : unpacked(data)) as Row
  const own = facts.status === 'completed' ? result : null
  return { facts: { ...facts, ticket: { ...ticket, result: hit ? result : null }, result: own }, log }
}

/** The job of a request whose result was stored already: over as it begins, and told so. */
export function hitJob(ticket: JobFacts['ticket'], now: number): FinishedJob {
  const facts: JobFacts = { ...newFacts(ticket), status: 'completed', completedAt: now, result: ticket.result }
  const warnings = facts.warnings.length
  const outputs = ticket.result?.outputs ?? []
  const entries: ((seq: number) => LogEntry)[] = [
    (seq) => [seq, 'status', 'queued', null, warnings, null],
    ...facts.warnings.map(
      (_, index) =>
        (seq: number): LogEntry => [seq, 'warning', index],
    ),
    ...outputs.map(
      (_, index) =>
        (seq: number): LogEntry => [seq, 'output', index],
    ),
    (seq) => [seq, 'status', 'completed', null, warnings, null],
  ]
  return { facts, log: entries.map((entry, index) => entry(index + 1)) }
}

/** The short forms of a finished job's events. One that its short form would not give back is kept as it is. */
export function compactLog(events: readonly NumberedEvent[], facts: JobFacts): LogEntry[] {
  let [outputs, warnings] = [0, 0]
  return events.flatMap(({ seq, event }): LogEntry[] => {
    // A picture of what was to come is worth nothing beside what came.
    if (event.type === 'preview' && event.data_base64 !== undefined) return []
    const entry = shortened()
    const same = entry !== undefined && JSON.stringify(expanded(entry, facts).event) === JSON.stringify(event)
    return [same ? entry : [seq, 'event', event]]

    function shortened(): LogEntry | undefined {
      switch (event.type) {
        case 'status':
          return statusEntry(seq, event.job)
        case 'output':
          return [seq, 'output', outputs++]
        case 'warning': {
          const index = facts.warnings.findIndex((warning, at) => at >= warnings && isSame(warning, event.warning))
          warnings = Math.max(warnings, index + 1)
          return index < 0 ? undefined : [seq, 'warning', index]
        }
        case 'error':
          return [seq, 'error']
        default:
          return undefined
      }
    }
  })
}

type StatusEntry = Extract<LogEntry, readonly [number, 'status', ...unknown[]]>

const statusEntry = (seq: number, { status, progress, warnings, queue_position: position }: Job): StatusEntry => [
  seq,
  'status',
  status,
  progress,
  warnings.length,
  position,
]

const isSame = (one: object, other: object): boolean => JSON.stringify(one) === JSON.stringify(other)

/** An event as it was written down when it happened. */
function expanded(entry: LogEntry, facts: JobFacts): NumberedEvent {
  const [seq, kind] = entry
  switch (kind) {
    case 'status':
      return { seq, event: { type: 'status', job: jobOf(asItWas(facts, entry)) } }
    case 'output':
      return { seq, event: { type: 'output', output: jobOf(facts).outputs[entry[2]] as never } }
    case 'warning':
      return { seq, event: { type: 'warning', warning: facts.warnings[entry[2]] as never } }
    case 'error':
      return { seq, event: { type: 'error', error: facts.error as never } }
    case 'event':
      return { seq, event: entry[2] }
    default:
      return kind satisfies never
  }
}

/** The facts when a status was reached: what came later is taken away. */
function asItWas(facts: JobFacts, [, , status, progress, warnings, queuePosition]: StatusEntry): JobFacts {
  const earlier = { ...facts, status, progress, queuePosition, warnings: facts.warnings.slice(0, warnings) }
  if (isTerminal(status)) return earlier
  const startedAt = status === 'queued' ? null : facts.startedAt
  return { ...earlier, startedAt, completedAt: null, error: null, result: null, cost: 0 }
}

/** What came after a number, as the log of a job that still runs would tell it. */
export function replayFinished({ facts, log }: FinishedJob, after: number, now: number): NumberedEvent[] {
  const final = log.findLast((entry) => entry[1] === 'status')
  const last = log.at(-1)?.[0] ?? 0
  const over = now >= (facts.completedAt ?? 0) + logLifeMs
  const told = over || after > last ? log.filter((entry) => entry === final) : log
  return told.filter(([seq]) => after > last || seq > after).map((entry) => expanded(entry, facts))
}
