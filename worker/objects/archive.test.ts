import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { WireEvent } from '../../shared/events.ts'
import { isTerminal, type JobStatus, jobStatuses } from '../../shared/job.ts'
import { jobError } from '../../shared/problem.ts'
import type { NumberedEvent } from '../../shared/sse.ts'
import { compactLog, jobText, logLifeMs, packJob, replayFinished, unpackJob } from './archive.ts'
import type { JobRecord, StoredOutput, StoredResult } from './contract.ts'
import { jobOf, moveTo, newState, partOf, type State } from './generation-state.ts'

const start = 1_900_000_000_000

const record = {
  schema_v: 1,
  id: 'vid_aaaaaaaaaaaaaaaaaaaaaaaaaa',
  tenant: 't',
  subject: '',
  baseUrl: 'https://edge.test',
  createdAt: start,
  deadlineAt: start + 1_800_000,
  provider: 'node',
  effective: { model: 'm', revision: 'r', seed: 3, n: 2 },
  warnings: [{ code: 'snapped', pointer: '/num_frames' }],
  contentKey: 'zt1_x',
  mode: 'only_in_cloud',
  routingReason: 'mode_forced',
  cacheMode: 'use',
  maxCost: 5,
  media: {},
  metadata: {},
  webhook: null,
  parentId: null,
  originalPrompt: null,
  policyVersion: '1',
} as unknown as JobRecord

const outputAt = (index: number): StoredOutput => ({
  index,
  variant: 'video',
  format: 'mp4',
  content_type: 'video/mp4',
  bytes: 10,
  sha256: String(index).repeat(64),
  width: 64,
  height: 64,
  fps: 8,
  num_frames: 17,
  key: `t/t/${index}`,
})

const result: StoredResult = {
  outputs: [outputAt(0), outputAt(1)],
  receipt: { model: 'm' },
  gpuMs: 9,
  expiresAt: start + 604_800_000,
}

/** What may happen to a job, as its object would write it down. */
type Step = JobStatus | 'progress' | 'warning' | 'same warning' | 'preview' | 'part'

/** A job's life: its last state and its log. */
function lived(steps: readonly Step[]): { readonly state: State; readonly log: NumberedEvent[] } {
  const state = newState({ record, execution: record.id, result: null }, start)
  const log: NumberedEvent[] = []
  let now = start
  const append = (event: WireEvent) => log.push({ seq: log.length + 1, event: structuredClone(event) })
  const warn = (code: string) => {
    state.warnings.push({ code })
    append({ type: 'warning', warning: { code } })
  }
  const become = (status: JobStatus) => {
    if (!moveTo(state, status, now)) return
    if (status === 'completed') Object.assign(state, { result, cost: 5 })
    if (status === 'failed') state.error = jobError('upstream_error', 'it broke')
    if (status === 'completed') for (const output of jobOf(state).outputs) append({ type: 'output', output })
    if (state.error !== null) append({ type: 'error', error: state.error })
    append({ type: 'status', job: jobOf(state) })
  }
  append({ type: 'status', job: jobOf(state) })
  for (const warning of state.warnings) append({ type: 'warning', warning })
  for (const step of [...steps, 'failed' as const, 'cancelled' as const]) {
    now += 1_000
    if (isTerminal(state.status)) break
    if (step === 'warning') warn(`w${now}`)
    else if (step === 'same warning') warn('again')
    else if (step === 'progress') {
      state.progress = { value: (now - start) / 1e6, stage: 'denoise' }
      append({ type: 'progress', ...state.progress, inference_source: 'in_cloud' })
    } else if (step === 'preview') {
      append({ type: 'preview', content_type: 'image/jpeg', data_base64: '/9j/', frame_index: 0, step: 1 })
    } else if (step === 'part') {
      const part = outputAt(state.parts?.length ?? 0)
      state.parts = [...(state.parts ?? []), part]
      append({ type: 'part', block: part.index, part: partOf(record, part) })
    } else become(step)
  }
  return { state, log }
}

const steps = fc.array(
  fc.constantFrom<Step>(...jobStatuses, 'progress', 'warning', 'same warning', 'preview', 'part'),
  { maxLength: 12 },
)
const forms = fc.constantFrom(packJob, jobText)
const archived = (state: State, log: readonly NumberedEvent[], form: typeof packJob | typeof jobText = packJob) =>
  unpackJob(form({ facts: state, log: compactLog(log, state) }), state.result)

describe('a job that is over', () => {
  it('is the same job after it was kept as bytes or as text, whatever its life was', () => {
    fc.assert(
      fc.property(steps, forms, (life, form) => {
        const { state, log } = lived(life)
        expect(jobOf(archived(state, log, form).facts)).toEqual(jobOf(state))
      }),
      { numRuns: 1_000 },
    )
  })

  it('tells its events word for word as they were, from every number, but for pictures', () => {
    fc.assert(
      fc.property(steps, fc.nat(16), forms, (life, after, form) => {
        const { state, log } = lived(life)
        const lasting = log.filter(({ event }) => event.type !== 'preview')
        const last = lasting.at(-1)?.seq ?? 0
        const told = replayFinished(archived(state, log, form), after, start)
        expect(told).toEqual(after > last ? lasting.slice(-1) : lasting.filter(({ seq }) => seq > after))
      }),
      { numRuns: 1_000 },
    )
  })

  it('tells a day later only how it ended', () => {
    const { state, log } = lived(['in_progress', 'progress', 'completed'])
    const told = replayFinished(archived(state, log), 0, (state.completedAt ?? 0) + logLifeMs)
    expect(told.map(({ event }) => event.type)).toEqual(['status'])
    expect(told[0]).toEqual(log.at(-1))
  })

  it('takes less than a kibibyte', () => {
    const { state, log } = lived(['in_progress', 'progress', 'completed'])
    expect(packJob({ facts: state, log: compactLog(log, state) }).length).toBeLessThan(1_024)
  })
})
