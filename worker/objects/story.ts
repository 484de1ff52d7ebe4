/**
 * What happens to one job, written into its state and its log and told to whoever listens, waits or has a webhook.
 *
 * Bound to its job: what comes late, when another sits in the same seat, still reaches the listeners it was meant for.
 * Saves nothing; whoever makes things happen does.
 */

import type { Warning } from '../../shared/effective.ts'
import { isTerminal, type JobStatus, type Progress } from '../../shared/job.ts'
import type { NumberedEvent } from '../../shared/sse.ts'
import type { ProviderPreview } from '../providers/provider.ts'
import type { Outcome, StoredOutput } from './contract.ts'
import { enqueue } from './deliveries.ts'
import { type EventStream, eventStream } from './event-stream.ts'
import { jobOf, moveTo, partOf, type State } from './generation-state.ts'

export interface Story {
  readonly events: EventStream
  /** The first words; of a job whose result was there already also the last. */
  readonly begin: () => void
  /** Moves the status, and tells everyone who should know. */
  readonly become: (status: JobStatus) => void
  /** Ends this job alone; what it shared goes on. */
  readonly leave: () => void
  readonly warn: (warnings: readonly Warning[]) => void
  /** Tells how many wait before it; false where that is nothing new. */
  readonly queued: (position: number | null) => boolean
  readonly progress: (progress: Progress | null) => void
  readonly preview: (preview: ProviderPreview) => void
  readonly part: (output: StoredOutput) => void
  readonly conclude: (outcome: Outcome) => void
  /** Resolves at the job's end, or after a while. */
  readonly ended: (milliseconds: number) => Promise<void>
}

/** The story of a job. @param sign gives an event's addresses the right to be opened. */
export function storyOf(state: State, sql: SqlStorage, sign: (event: NumberedEvent) => Promise<NumberedEvent>): Story {
  const events = eventStream(sql, sign)
  const { record } = state.ticket
  const waiting = new Set<() => void>()
  let shownStep: number | null = null

  const become = (status: JobStatus): void => {
    if (!moveTo(state, status, Date.now())) return
    const job = jobOf(state)
    if (status === 'completed') for (const output of job.outputs) events.append({ type: 'output', output })
    if (state.error !== null) events.append({ type: 'error', error: state.error })
    if (isTerminal(status)) events.forgetPreviews()
    events.append({ type: 'status', job })
    enqueue(sql, record, status, Date.now())
    if (isTerminal(status)) for (const done of [...waiting]) done()
  }
  const leave = (): void => {
    if (state.status === 'in_progress') become('cancelling')
    become('cancelled')
  }
  const warn = (warnings: readonly Warning[]): void => {
    for (const warning of warnings) {
      state.warnings.push(warning)
      events.append({ type: 'warning', warning })
    }
  }
  const end = (outcome: Outcome): void => {
    if (outcome.kind === 'completed') {
      state.result = outcome.result
      state.cost = state.run === null ? 0 : outcome.cost
    }
    if (outcome.kind === 'failed') state.error = outcome.error
    become(outcome.kind)
  }
  return {
    events,
    become,
    leave,
    warn,
    begin: () => {
      events.append({ type: 'status', job: jobOf(state) })
      for (const warning of state.warnings) events.append({ type: 'warning', warning })
      enqueue(sql, record, 'queued', Date.now())
      if (state.ticket.result === null) return
      state.result = state.ticket.result
      become('completed')
    },
    queued: (position) => {
      if (position === null || state.status !== 'queued' || state.queuePosition === position) return false
      state.queuePosition = position
      events.append({ type: 'status', job: jobOf(state) })
      return true
    },
    progress: (progress) => {
      const known = JSON.stringify(progress) === JSON.stringify(state.progress)
      if (progress === null || known || isTerminal(state.status)) return
      state.progress = progress
      events.append({ type: 'progress', ...progress, inference_source: 'in_cloud' })
    },
    preview: (preview) => {
      if (isTerminal(state.status) || shownStep === preview.step) return
      // Two looks at one step are one; which, is not worth remembering beyond this machine.
      shownStep = preview.step
      events.append({ type: 'preview', ...preview })
    },
    part: (output) => {
      if (isTerminal(state.status)) return
      state.parts = [...(state.parts ?? []), output]
      events.append({ type: 'part', block: output.index, part: partOf(record, output) })
    },
    conclude: (outcome) => {
      if (isTerminal(state.status)) return
      // What was asked to stop and has ended, however it ended, is stopped.
      const stopped = state.status === 'cancelling' || outcome.kind === 'cancelled'
      if (outcome.kind === 'cancelled' && !outcome.confirmed) warn([{ code: 'executor_unconfirmed' }])
      if (stopped) leave()
      else end(outcome)
    },
    ended: (milliseconds) =>
      new Promise((resolve) => {
        if (isTerminal(state.status)) return resolve()
        const done = () => {
          clearTimeout(timer)
          waiting.delete(done)
          resolve()
        }
        const timer = setTimeout(done, milliseconds)
        waiting.add(done)
      }),
  }
}
