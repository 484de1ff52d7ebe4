import { describe, expect, it } from 'vitest'
import { GenerationError } from '../../shared/errors.ts'
import type { Operation, Provider, ProviderStatus, StartResult } from '../providers/provider.ts'
import type { Outcome, StoredResult } from './contract.ts'
import { adoptFromHook, advance, type ExecutionPorts, newRun, type Run, requestCancel } from './execution.ts'

/** Mulberry32: small, seeded, the same everywhere. */
function chance(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

class Crash extends Error {}

interface Execution {
  readonly ref: string
  readonly attempt: number
  readonly begins: number
  readonly ends: number
  readonly end: ProviderStatus['state']
  cancelled: boolean
  visibleAt: number
}

interface Verdict {
  readonly outcome: Outcome | null
  readonly endedAt: number
  readonly deadlineAt: number
  readonly downtime: number
  readonly executions: readonly Execution[]
  readonly unknowns: number
  readonly debits: number
  readonly releases: number
  readonly trace: readonly string[]
  readonly succeeded: boolean
  readonly cancelled: boolean
}

const result: StoredResult = { outputs: [], receipt: {}, gpuMs: 1, expiresAt: 0 }

/** One job's life in virtual time, under faults drawn from a seed. */
async function simulate(seed: number, repeatable: boolean): Promise<Verdict> {
  const random = chance(seed)
  const rate = random() * 0.5
  const crashes = random() * 0.1
  const faulty = (share = 1) => random() < rate * share
  let now = 1_000_000
  const deadlineAt = now + 30_000 + random() * 1_000_000
  const executions: Execution[] = []
  const trace: string[] = []
  let [unknowns, debits, releases, downtime, settled] = [0, 0, 0, 0, false]
  const crash = () => {
    if (random() < crashes) throw new Crash()
  }
  const tell = (what: string) => trace.push(`${Math.round(now)} ${what}`)
  const visible = (attempt: number) => executions.find((each) => each.attempt === attempt && each.visibleAt <= now)
  const begin = (attempt: number): Execution => {
    const known = repeatable ? executions.find((each) => each.attempt === attempt) : undefined
    if (known !== undefined) return known
    const begins = now + random() * 20_000
    const ends = ['succeeded', 'succeeded', 'succeeded', 'failed', 'canceled', 'aborted', 'in_progress'] as const
    const end = ends[Math.floor(random() * ends.length)] as Execution['end']
    const fresh = {
      ref: `p${executions.length}`,
      attempt,
      begins,
      ends: begins + random() * 120_000,
      end,
      cancelled: false,
      visibleAt: now + random() * 20_000,
    }
    executions.push(fresh)
    return fresh
  }
  const operationOf = ({ ref }: Execution): Operation => ({ provider: 'p', ref })
  const provider: Provider = {
    name: 'p',
    repeatable,
    pollMs: (polls) => Math.min(30_000, 5_000 + 1_000 * polls),
    start: async (_, attempt): Promise<StartResult> => {
      tell(`start ${attempt.number}`)
      now += random() * 2_000
      if (faulty(0.5)) return { kind: 'refused', error: { code: 'rate_limited', detail: '' }, retryAfterMs: 5_000 }
      if (faulty(0.1)) return { kind: 'refused', error: { code: 'upstream_rejected', detail: '' } }
      if (faulty()) {
        unknowns += 1
        if (random() < 0.5) begin(attempt.number)
        return { kind: 'unknown', cause: 'reset' }
      }
      const execution = begin(attempt.number)
      return { kind: 'accepted', operation: operationOf(execution), warnings: [] }
    },
    status: async ({ ref }): Promise<ProviderStatus> => {
      now += random() * 500
      if (faulty(0.5)) return { state: 'unreachable', cause: 'x' }
      const execution = executions.find((each) => each.ref === ref)
      if (execution === undefined) return { state: 'missing' }
      if (execution.cancelled) return { state: 'canceled' }
      if (now < execution.begins) return { state: 'queued' }
      if (now < execution.ends || execution.end === 'in_progress') return { state: 'in_progress', progress: null }
      tell(`says ${execution.end}`)
      if (execution.end === 'succeeded') return { state: 'succeeded', outputs: ['u'], gpuMs: 1, receipt: null }
      if (execution.end === 'failed') return { state: 'failed', error: { code: 'upstream_error', detail: '' } }
      return { state: execution.end as 'canceled' }
    },
    cancel: async ({ ref }) => {
      const execution = executions.find((each) => each.ref === ref)
      if (execution !== undefined && now < execution.ends && !faulty(0.3)) execution.cancelled = true
    },
    find: async ({ number }) => {
      if (faulty(0.3)) return 'unreachable'
      const execution = visible(number)
      return execution === undefined ? 'absent' : operationOf(execution)
    },
    fetchOutput: () => Promise.reject(new Error('unused')),
    webhookSecret: () => Promise.reject(new Error('unused')),
  }
  let run: Run = newRun(now)
  let saved = structuredClone(run)
  const ports: ExecutionPorts = {
    now: () => now,
    deadlineAt,
    provider,
    job: async () => ({ id: 'j', model: {} as never, effective: {} as never, media: {} }),
    newAttempt: async (number) => ({
      jobId: 'j',
      number,
      nonce: `n${number}`,
      webhookUrl: null,
      storedAt: now,
      deadline: deadlineAt,
    }),
    save: () => {
      saved = structuredClone(run)
      crash()
    },
    store: async () => {
      now += random() * 5_000
      if (faulty(0.3)) throw new GenerationError('output_invalid', 'bad')
      if (faulty(0.3)) throw new Error('R2 is away')
      return result
    },
    settle: async (stored): Promise<Outcome> => {
      if (faulty(0.3)) throw new Error('the account is away')
      if (!settled) debits += 1
      settled = true
      crash()
      return { kind: 'completed', result: stored, cost: 1 }
    },
    release: async () => {
      if (faulty(0.3)) throw new Error('the account is away')
      if (settled) return { kind: 'completed', result, cost: 1 }
      releases += 1
      crash()
      return null
    },
    rest: async () => undefined,
    log: () => undefined,
    onStarted: () => tell('started'),
    onProgress: () => undefined,
    onWarnings: () => {
      // Between the answer and its being written down: the answer is lost.
      if (random() >= crashes) return
      unknowns += 1
      throw new Crash()
    },
    onOutcome: (outcome) => tell(`outcome ${outcome.kind}`),
  }
  const cancelAt = random() < 0.2 ? now + random() * 200_000 : Number.POSITIVE_INFINITY
  let cancelled = false
  for (let step = 0; step < 5_000 && run.phase !== 'done'; step++) {
    now = Math.max(now, Math.min(run.dueAt, now + 60_000))
    if (!cancelled && now >= cancelAt && requestCancel(run, now)) {
      cancelled = true
      saved = structuredClone(run)
    }
    const told = executions.find((each) => each.attempt === run.attempt?.number && each.visibleAt <= now)
    if (told !== undefined && random() < 0.1) adoptFromHook(run, operationOf(told), now)
    if (run.dueAt > now) continue
    try {
      await advance(run, ports)
    } catch (error) {
      if (!(error instanceof Crash)) throw error
      tell('crash')
      run = structuredClone(saved)
      // The alarm that was armed before the step comes again, when the machine is back.
      const away = random() < 0.5 ? 30_000 : random() * 600_000
      now += away
      downtime += away
    }
  }
  const succeeded = executions.some(({ end }) => end === 'succeeded')
  return {
    outcome: run.outcome,
    endedAt: now,
    deadlineAt,
    downtime,
    executions,
    unknowns,
    debits,
    releases,
    trace,
    succeeded,
    cancelled,
  }
}

/** What is wrong with a life; empty where nothing is. */
function violations(verdict: Verdict): string[] {
  const { outcome, endedAt, deadlineAt, downtime, executions, unknowns, debits, releases, succeeded, cancelled } =
    verdict
  const wrong: string[] = []
  if (outcome === null) wrong.push('I1: never ended')
  // The deadline, the grace for a finished result, a few calls that failed, and the time nobody was there.
  if (endedAt > deadlineAt + 60_000 + 120_000 + downtime)
    wrong.push(`I1: ended ${endedAt - deadlineAt} ms after the deadline`)
  if (debits > 1) wrong.push(`I2: ${debits} debits`)
  if (debits === 1 && releases > 0) wrong.push('I6: debited and released')
  if (outcome?.kind === 'completed' && debits !== 1) wrong.push('I2: completed without a debit')
  if (outcome !== null && outcome.kind !== 'completed' && debits > 0) wrong.push(`I2: ${outcome.kind} was charged`)
  if (outcome?.kind === 'expired' && verdict.trace.some((line) => line.endsWith('started')))
    wrong.push('I3: expired after its start')
  if (outcome?.kind === 'completed' && cancelled) wrong.push('I2: stopped in time, and charged')
  if (outcome?.kind === 'completed' && !succeeded) wrong.push('I5: completed without a success upstream')
  // The list lags less than we wait before we look, so every lost answer is found again: once is the limit.
  if (executions.length > 1) wrong.push(`I4: ${executions.length} executions, ${unknowns} answers lost`)
  return wrong
}

const seeds = 2_000

/** Ports around one provider; nothing is stored. */
function portsOf(provider: Pick<Provider, 'status'>): ExecutionPorts {
  const nothing = () => {}
  return {
    now: Date.now,
    deadlineAt: Date.now() + 600_000,
    provider: { ...provider, name: 'p', repeatable: true, pollMs: () => 5_000 } as unknown as Provider,
    ...({ save: nothing, log: nothing, onStarted: nothing, onProgress: nothing, onOutcome: nothing } as object),
  } as unknown as ExecutionPorts
}

describe('a wake-up', () => {
  it('that comes while the provider is being asked is not lost: it is asked again at once', async () => {
    const run: Run = { ...newRun(Date.now()), phase: 'running', operation: { provider: 'p', ref: 'r' } }
    const ports = portsOf({
      status: async () => {
        // The hook says that it is over; the answer on its way says that it runs.
        run.dueAt = Date.now()
        return { state: 'in_progress', progress: null }
      },
    })
    await advance(run, ports)
    expect(run.dueAt).toBeLessThanOrEqual(Date.now())
    await advance(run, portsOf({ status: async () => ({ state: 'in_progress', progress: null }) }))
    expect(run.dueAt).toBeGreaterThan(Date.now() + 4_000)
  })
})

describe('the dispatch protocol', () => {
  for (const repeatable of [true, false]) {
    const kind = repeatable ? 'the node' : 'a cloud'
    it(`keeps its promises with ${kind} over ${seeds} seeded lives of faults and crashes`, async () => {
      const bad: string[] = []
      const kinds = new Map<string, number>()
      for (let seed = 1; seed <= seeds; seed++) {
        const verdict = await simulate(seed, repeatable)
        const name = verdict.outcome?.kind ?? 'none'
        kinds.set(name, (kinds.get(name) ?? 0) + 1)
        const wrong = violations(verdict)
        if (wrong.length > 0) bad.push(`seed ${seed}: ${wrong.join('; ')} | ${verdict.trace.join(', ')}`)
      }
      expect(bad.slice(0, 3)).toEqual([])
      // A simulation in which nothing succeeds, or nothing fails, proves nothing.
      for (const name of ['completed', 'failed', 'expired', 'cancelled']) expect(kinds.get(name)).toBeGreaterThan(20)
    })

    it(`gives the same life to the same seed with ${kind}`, async () => {
      for (let seed = 1; seed <= 50; seed++)
        expect(await simulate(seed, repeatable)).toEqual(await simulate(seed, repeatable))
    })
  }
})
