/**
 * One execution of a request, from reserved to its outcome, a step at a time: the dispatch protocol.
 *
 *   reserved → dispatching → running → settling → done
 *                                    ↘ releasing ↗
 *
 * What is to be done is saved before it is done, and every step may be taken twice. A POST whose outcome nobody saw is
 * looked for, never repeated blindly; where the provider takes the same id twice it is simply repeated. Knows no
 * storage and no HTTP: both come in as ports.
 */

import type { Warning } from '../../shared/effective.ts'
import { type ErrorCode, GenerationError } from '../../shared/errors.ts'
import type { Progress } from '../../shared/job.ts'
import { jobError } from '../../shared/problem.ts'
import type {
  Attempt,
  Operation,
  Provider,
  ProviderJob,
  ProviderPart,
  ProviderPreview,
  ProviderStatus,
  StartResult,
} from '../providers/provider.ts'
import { withTimeLimit } from '../time-limit.ts'
import type { Outcome, StoredResult } from './contract.ts'

export type Phase = 'reserved' | 'dispatching' | 'running' | 'settling' | 'releasing' | 'done'

/** All that must survive a crash. Mutable; its owner saves it. */
export interface Run {
  phase: Phase
  attempts: number
  attempt: Attempt | null
  operation: Operation | null
  /** Unix milliseconds of the next step. */
  dueAt: number
  /** Since when the attempt's outcome is unknown. */
  unknownSince: number | null
  /** When the list last lacked the attempt. */
  absentAt: number | null
  polls: number
  failures: number
  started: boolean
  cancelRequestedAt: number | null
  cancelSentAt: number | null
  finished: Finished | null
  pending: Outcome | null
  outcome: Outcome | null
}

/** What a provider made, still with it. */
export type Finished = Pick<
  Extract<ProviderStatus, { state: 'succeeded' }>,
  'outputs' | 'gpuMs' | 'receipt' | 'envelopes' | 'kept'
>

export const newRun = (now: number): Run => ({
  phase: 'reserved',
  attempts: 0,
  attempt: null,
  operation: null,
  dueAt: now,
  unknownSince: null,
  absentAt: null,
  polls: 0,
  failures: 0,
  started: false,
  cancelRequestedAt: null,
  cancelSentAt: null,
  finished: null,
  pending: null,
  outcome: null,
})

export interface ExecutionPorts {
  readonly now: () => number
  readonly deadlineAt: number
  readonly provider: Provider
  readonly job: () => Promise<ProviderJob>
  readonly newAttempt: (number: number) => Promise<Attempt>
  /** Makes the run durable; what follows may leave the machine. */
  readonly save: () => void
  /** Fetches, validates and stores the outputs. Throws GenerationError output_invalid where they are none. */
  readonly store: (finished: Finished) => Promise<StoredResult>
  readonly settle: (result: StoredResult) => Promise<Outcome>
  /** Gives the hold back; the outcome where the result was settled already, by a step that a crash then hid. */
  readonly release: (pending: Outcome) => Promise<Outcome | null>
  /** The provider refuses our account: others need not try for a while. */
  readonly rest: () => Promise<void>
  readonly log: (what: string, error: unknown) => void
  readonly onStarted: () => void
  /** How many runs wait before this one. */
  readonly onQueued: (position: number) => void
  readonly onProgress: (progress: Progress) => void
  readonly onPreview: (preview: ProviderPreview) => void
  /** Brings in what is ready already. It is extra: what fails here is brought in with the rest. */
  readonly onParts: (parts: readonly ProviderPart[]) => Promise<void>
  readonly onWarnings: (warnings: readonly Warning[]) => void
  readonly onOutcome: (outcome: Outcome) => void
}

const startMs = 30_000
const callMs = 15_000
const storeMs = 120_000
/** How long a hook may take to tell of an attempt before we go looking. */
const hookGraceMs = 35_000
const betweenListsMs = 10_000
const maxAttempts = 3
const confirmMs = 60_000
/** After the deadline there is this much time to bring in what was finished before it. */
const graceMs = 60_000
const storeAttempts = 3

/** Takes the next step. The run says when it wants the one after. */
export function advance(run: Run, ports: ExecutionPorts): Promise<void> {
  switch (run.phase) {
    case 'reserved':
      return dispatch(run, ports)
    case 'dispatching':
      return resolve(run, ports)
    case 'running':
      return poll(run, ports)
    case 'settling':
      return bringIn(run, ports)
    case 'releasing':
      return giveBack(run, ports)
    case 'done':
      return Promise.resolve()
    default:
      return run.phase satisfies never
  }
}

/** Asks for a stop. False where it is too late for one. */
export function requestCancel(run: Run, now: number): boolean {
  if (run.phase === 'settling' || run.phase === 'releasing' || run.phase === 'done') return false
  run.cancelRequestedAt ??= now
  run.dueAt = now
  return true
}

async function dispatch(run: Run, ports: ExecutionPorts): Promise<void> {
  const now = ports.now()
  if (run.cancelRequestedAt !== null) return end(run, ports, { kind: 'cancelled', confirmed: true })
  if (now >= ports.deadlineAt) return end(run, ports, { kind: 'expired' })
  run.attempt = await ports.newAttempt(run.attempts + 1)
  run.attempts += 1
  run.phase = 'dispatching'
  // A crash after this line leaves an attempt of unknown outcome, which is what it is.
  run.unknownSince = now
  run.absentAt = null
  // After a crash: where asking again is safe nothing is waited for.
  run.dueAt = ports.provider.repeatable ? now : now + hookGraceMs
  ports.save()
  await startOnce(run, ports)
}

async function startOnce(run: Run, ports: ExecutionPorts): Promise<void> {
  const job = await ports.job()
  const result = await guarded<StartResult>(
    (signal) => ports.provider.start(job, run.attempt as Attempt, signal),
    startMs,
    (cause) => ({ kind: 'unknown', cause }),
  )
  // A hook may have told of the attempt while its answer was on the way.
  if (run.phase !== 'dispatching') return
  started(run, ports, result)
  ports.save()
}

function started(run: Run, ports: ExecutionPorts, result: StartResult): void {
  const now = ports.now()
  if (result.kind === 'accepted') {
    ports.onWarnings(result.warnings)
    adopt(run, result.operation, now + ports.provider.pollMs(0))
    return
  }
  if (result.kind === 'refused') {
    run.unknownSince = null
    if (result.retryAfterMs === undefined) {
      const resting = result.error.code === 'provider_unavailable'
      end(run, ports, failed(result.error.code, result.error.detail), resting)
      return
    }
    run.phase = 'reserved'
    // Refused is not tried: nothing ran, so nothing is counted.
    run.attempts -= 1
    run.dueAt = Math.min(now + result.retryAfterMs, ports.deadlineAt)
    return
  }
  run.failures += 1
  run.dueAt = ports.provider.repeatable
    ? Math.min(now + Math.min(30_000, 500 * 2 ** run.failures), ports.deadlineAt)
    : now + hookGraceMs
}

function adopt(run: Run, operation: Operation, dueAt: number): void {
  run.operation = operation
  run.phase = 'running'
  run.unknownSince = null
  run.failures = 0
  run.polls = 0
  run.dueAt = dueAt
}

/** A hook named the operation of an attempt nobody had an answer for, or that was given up too early. */
export function adoptFromHook(run: Run, operation: Operation, now: number): void {
  if (run.phase === 'dispatching' || run.phase === 'reserved') adopt(run, operation, now)
}

/** Finds out what became of an attempt. */
async function resolve(run: Run, ports: ExecutionPorts): Promise<void> {
  const now = ports.now()
  if (cancelOverdue(run, now)) return end(run, ports, { kind: 'cancelled', confirmed: false })
  if (now >= ports.deadlineAt) return end(run, ports, { kind: 'expired' })
  if (ports.provider.repeatable) return startOnce(run, ports)
  const wait = (run.unknownSince ?? now) + hookGraceMs
  if (now < wait) {
    run.dueAt = wait
    return ports.save()
  }
  const found = await guarded<Operation | 'absent' | 'unsupported' | 'unreachable'>(
    (signal) => ports.provider.find(run.attempt as Attempt, signal),
    startMs,
    () => 'unreachable',
  )
  if (run.phase !== 'dispatching') return
  foundOut(run, ports, found)
  ports.save()
}

function foundOut(run: Run, ports: ExecutionPorts, found: Operation | 'absent' | 'unsupported' | 'unreachable'): void {
  const now = ports.now()
  if (typeof found === 'object') {
    adopt(run, found, now)
    return
  }
  if (found === 'absent' && (run.absentAt === null || now - run.absentAt < betweenListsMs)) {
    run.absentAt ??= now
    run.dueAt = run.absentAt + betweenListsMs
    return
  }
  if (found === 'unreachable') {
    run.dueAt = now + betweenListsMs
    return
  }
  if (run.attempts >= maxAttempts) {
    end(run, ports, failed('upstream_error', `the provider answered none of ${maxAttempts} attempts`))
    return
  }
  run.phase = 'reserved'
  run.dueAt = now
}

async function poll(run: Run, ports: ExecutionPorts): Promise<void> {
  const operation = run.operation as Operation
  const [now, late] = [ports.now(), ports.now() >= ports.deadlineAt]
  const stopping = run.cancelRequestedAt !== null || late
  // Whoever wakes the run while it asks makes it due again: what is on its way may be older than the reason.
  const undisturbed = now + 2 * callMs
  run.dueAt = undisturbed
  if (stopping && (run.cancelSentAt === null || now - run.cancelSentAt >= callMs)) {
    run.cancelSentAt = now
    await guarded<void>(
      (signal) => ports.provider.cancel(operation, signal),
      callMs,
      () => undefined,
    )
  }
  const status = await guarded<ProviderStatus>(
    (signal) => ports.provider.status(operation, signal),
    callMs,
    (cause) => ({ state: 'unreachable', cause }),
  )
  if (run.phase !== 'running') return
  run.polls += 1
  if (run.dueAt >= undisturbed) run.dueAt = ports.now() + (stopping ? 1_000 : ports.provider.pollMs(run.polls))
  if (!late) run.dueAt = Math.min(run.dueAt, Math.max(ports.deadlineAt, ports.now()))
  learned(run, ports, status, late)
  ports.save()
  if (status.state === 'in_progress' && status.parts !== undefined && run.phase === 'running') {
    await ports.onParts(status.parts).catch((error: unknown) => ports.log('parts: will come with the rest', error))
  }
}

function learned(run: Run, ports: ExecutionPorts, status: ProviderStatus, late: boolean): void {
  const cancelling = run.cancelRequestedAt !== null
  run.failures = status.state === 'unreachable' || status.state === 'missing' ? run.failures + 1 : 0
  if (status.state === 'in_progress' || status.state === 'succeeded') markStarted(run, ports)
  if (status.state === 'succeeded' && !cancelling) {
    const { state: _, ...finished } = status
    run.finished = finished
    run.phase = 'settling'
    run.dueAt = ports.now()
    return
  }
  const ended = endedAs(status, cancelling, late, run)
  if (ended !== undefined) end(run, ports, ended)
  else if (cancelOverdue(run, ports.now())) end(run, ports, { kind: 'cancelled', confirmed: false })
  else if (status.state === 'queued' && status.position !== undefined) ports.onQueued(status.position)
  else if (status.state === 'in_progress') {
    if (status.progress !== null) ports.onProgress(status.progress)
    if (status.preview !== undefined) ports.onPreview(status.preview)
  }
}

function markStarted(run: Run, ports: ExecutionPorts): void {
  if (run.started) return
  run.started = true
  ports.onStarted()
}

/** What a status means for us; undefined where it is not the end. */
function endedAs(status: ProviderStatus, cancelling: boolean, late: boolean, run: Run): Outcome | undefined {
  const timedOut: Outcome = run.started ? failed('deadline_exceeded', 'the deadline passed') : { kind: 'expired' }
  switch (status.state) {
    case 'succeeded':
      return { kind: 'cancelled', confirmed: true }
    case 'failed':
      return cancelling ? { kind: 'cancelled', confirmed: true } : failed(status.error.code, status.error.detail)
    case 'canceled':
      if (cancelling) return { kind: 'cancelled', confirmed: true }
      return late ? timedOut : failed('upstream_cancelled', 'the provider stopped it, and not because we asked')
    case 'aborted':
      if (cancelling) return { kind: 'cancelled', confirmed: true }
      // It means stopped before its start; of a run we saw running it cannot be true.
      return run.started
        ? failed('upstream_cancelled', 'the provider aborted a run that had begun')
        : { kind: 'expired' }
    case 'missing':
      // A list or a replica may lag; one that stays away is gone.
      if (run.failures < 5) return late ? timedOut : undefined
      return cancelling ? { kind: 'cancelled', confirmed: true } : failed('upstream_error', 'the provider lost the run')
    default:
      return late && !cancelling ? timedOut : undefined
  }
}

const cancelOverdue = (run: Run, now: number): boolean =>
  run.cancelRequestedAt !== null && now - run.cancelRequestedAt >= confirmMs

async function bringIn(run: Run, ports: ExecutionPorts): Promise<void> {
  const late = ports.now() >= ports.deadlineAt + graceMs
  try {
    if (late) throw new GenerationError('deadline_exceeded', 'the result could not be stored in time')
    const result = await ports.store(run.finished as Finished)
    conclude(run, ports, await ports.settle(result))
  } catch (error) {
    run.failures += 1
    const known = error instanceof GenerationError
    if (late || (known && run.failures >= storeAttempts)) {
      const detail = known ? error.message : 'the result could not be stored'
      return end(run, ports, failed(known ? error.code : 'deadline_exceeded', detail))
    }
    // Storage that fails is no fault of the result: it is tried until the time is up.
    if (!known) ports.log('settle: will be tried again', error)
    run.dueAt = ports.now() + Math.min(30_000, 1_000 * 2 ** run.failures)
    ports.save()
  }
}

async function giveBack(run: Run, ports: ExecutionPorts): Promise<void> {
  try {
    const pending = run.pending as Outcome
    conclude(run, ports, (await ports.release(pending)) ?? pending)
  } catch (error) {
    ports.log('release: will be tried again', error)
    run.dueAt = ports.now() + 5_000
    ports.save()
  }
}

function conclude(run: Run, ports: ExecutionPorts, outcome: Outcome): void {
  run.phase = 'done'
  run.outcome = outcome
  run.dueAt = Number.MAX_SAFE_INTEGER
  ports.onOutcome(outcome)
  ports.save()
}

const failed = (code: ErrorCode, detail: string): Outcome => ({ kind: 'failed', error: jobError(code, detail) })

/** Ends without a result: the hold goes back first, the outcome is told after. */
function end(run: Run, ports: ExecutionPorts, outcome: Outcome, resting = false): void {
  run.pending = outcome
  run.phase = 'releasing'
  run.dueAt = ports.now()
  if (resting) ports.rest().catch((error: unknown) => ports.log('breaker: not told', error))
  ports.save()
}

/** A call that ends in time and never throws. */
async function guarded<Value>(
  call: (signal: AbortSignal) => Promise<Value>,
  milliseconds: number,
  otherwise: (cause: string) => Value,
): Promise<Value> {
  try {
    return await withTimeLimit(milliseconds, call)
  } catch (error) {
    return otherwise(error instanceof Error ? error.message : String(error))
  }
}

export const storeTimeoutMs = storeMs
