/**
 * The generation: one Durable Object for a job, from its acceptance to the last webhook; then for another.
 *
 * It owns the job's state, its story (story.ts), its alarm and its execution, or follows the execution of an equal job.
 * How an execution proceeds is execution.ts's business; money is the account's. When nothing is left to do it hands the
 * job over to the account and deletes all it stored, and its seat may be given to another job. So every question names
 * its job, and what was awaited in between is followed by a look whether the job is still the one that sits here.
 */

import { DurableObject } from 'cloudflare:workers'
import { isTerminal, type Job } from '../../shared/job.ts'
import { jobError } from '../../shared/problem.ts'
import type { Env } from '../env.ts'
import { type Services, servicesOf } from '../services.ts'
import { withTimeLimit } from '../time-limit.ts'
import { compactLog, logLifeMs, packJob } from './archive.ts'
import {
  accountOf,
  type ExecutionState,
  type GenerationObject,
  generationOf,
  type JobFacts,
  type JobRecord,
  type Outcome,
  type OutputAnswer,
  type OutputSelection,
  type Ticket,
  type Viewer,
} from './contract.ts'
import { deliver, deliveryTable, nextDelivery } from './deliveries.ts'
import { logTable, replay } from './event-log.ts'
import { adoptFromHook, advance, type ExecutionPorts, type Run, requestCancel } from './execution.ts'
import {
  findOutput,
  isOver,
  newState,
  nextDueOf,
  presented,
  restsAt,
  type State,
  signedEvent,
} from './generation-state.ts'
import { heardTable, isNews } from './heard.ts'
import { addFollower, followerCount, followers, interestTables, join, leave, removeFollower } from './interests.ts'
import { deliveryPorts, executionPorts } from './ports.ts'
import { type Story, storyOf } from './story.ts'
import { note, shortenLog } from './upkeep.ts'

const tables = `${logTable}${deliveryTable}${interestTables}${heardTable}
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);`

const never = Number.MAX_SAFE_INTEGER
/** How soon a step is taken again where the machine died in it. */
const rearmMs = 10_000
const orphanMs = 30_000
/** Until a shared execution is looked at again, where it tells us of its end itself; and where it is not there yet. */
const lookAgainMs = 5_000
const lookSoonMs = 250
/** A shared execution that says nothing this long after the deadline is lost. */
const lostMs = 60_000
const maxSteps = 16
const maxReaders = 64
const maxRemembered = 256

export class Generation extends DurableObject<Env> implements GenerationObject {
  readonly #sql: SqlStorage
  readonly #services: Services
  #state: State | null = null
  #story: Story | null = null
  /** Jobs that had their time here: late openings find nothing to begin. */
  readonly #over = new Set<string>()
  readonly #asking = new Map<string, Promise<boolean>>()
  #advancing = false
  #delivering = false

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = ctx.storage.sql
    this.#services = servicesOf(env)
    const state = this.#load()
    if (state !== null) this.#seat(state)
  }

  /** Gives a job its seat. */
  #seat(state: State): Story {
    const { record } = state.ticket
    this.#state = state
    this.#story = storyOf(state, this.#sql, async (event) => signedEvent(event, record, await this.#urlKey()))
    return this.#story
  }

  /** Nothing is written for an id that is only asked about. */
  #load(): State | null {
    const known = this.#sql.exec("SELECT name FROM sqlite_master WHERE name = 'meta'").toArray()
    if (known.length === 0) return null
    const [row] = this.#sql.exec("SELECT value FROM meta WHERE name = 'state'").toArray()
    return row === undefined ? null : (JSON.parse(String(row.value)) as State)
  }

  #save(): void {
    if (this.#state !== null)
      this.#sql.exec("INSERT OR REPLACE INTO meta VALUES ('state', ?)", JSON.stringify(this.#state))
  }

  /** The state of a job, where it is the one that sits here. */
  #of(job: string): State | null {
    return this.#state?.ticket.record.id === job ? this.#state : null
  }

  /** The same, for those who may see it. A foreign job and none are one answer. */
  #seen(viewer: Viewer, job: string): State | null {
    const state = this.#of(job)
    if (state === null || state.ticket.record.tenant !== viewer.tenant) return null
    return viewer.subject === null || viewer.subject === state.ticket.record.subject ? state : null
  }

  async open(ticket: Ticket, caller: string): Promise<Job | null> {
    const { id } = ticket.record
    if (this.#of(id) === null && !(await this.#isBeginning(ticket.record))) return null
    if (this.#over.has(id)) return null
    const before = this.#state
    if (before !== null && before.ticket.record.id !== id) {
      // The account has it already, or it would not have given its seat away: only its farewell was cut short.
      if (!isOver(before)) return null
      await this.#leaveNothing()
    }
    const begun = this.#of(id)
    if (begun === null && this.#state !== null) return null
    const state = begun ?? this.#begin(ticket)
    if (!isTerminal(state.status)) join(this.#sql, caller)
    if (begun === null) await this.#arm(Date.now())
    if (begun === null && ticket.execution !== id && ticket.result === null) await this.#follow(state)
    return this.#present(state)
  }

  /** Makes itself known to the execution it shares. Gives its object, where that has one and can be followed. */
  async #follow({ ticket: { record, execution, seat } }: State): Promise<GenerationObject | null> {
    const at = await accountOf(this.env, record.tenant).seat(execution)
    if (at === null) return null
    const executor = generationOf(this.env, record.tenant, at)
    return (await executor.follow(execution, record.id, seat)) ? executor : null
  }

  /** The account knows whether this is the job's beginning, or an opening that comes after its end. A crowd asks once. */
  #isBeginning({ tenant, id }: JobRecord): Promise<boolean> {
    const asking =
      this.#asking.get(id) ??
      accountOf(this.env, tenant)
        .isUnopened(id)
        .finally(() => this.#asking.delete(id))
    this.#asking.set(id, asking)
    return asking
  }

  async attach(job: string, caller: string): Promise<Job | null> {
    const state = this.#of(job)
    if (state === null) return null
    if (!isTerminal(state.status)) join(this.#sql, caller)
    return this.#present(state)
  }

  #begin(ticket: Ticket): State {
    this.#sql.exec(tables)
    const state = newState(ticket, Date.now())
    this.#seat(state).begin()
    this.#save()
    return state
  }

  async read(viewer: Viewer, job: string): Promise<Job | null> {
    const state = this.#seen(viewer, job)
    return state === null ? null : this.#present(state)
  }

  async record(viewer: Viewer, job: string): Promise<JobRecord | null> {
    return this.#seen(viewer, job)?.ticket.record ?? null
  }

  async wait(viewer: Viewer, job: string, milliseconds: number): Promise<Job | null> {
    const state = this.#seen(viewer, job)
    if (state === null) return null
    await this.#story?.ended(milliseconds)
    return this.read(viewer, job)
  }

  async cancel(viewer: Viewer, job: string, caller: string): Promise<Job | null> {
    const state = this.#seen(viewer, job)
    if (state === null) return null
    if (!isTerminal(state.status) && leave(this.#sql, caller, viewer.subject === null)) {
      await this.#stop(state)
      this.#save()
      await this.#arm(Date.now())
    }
    return this.#present(state)
  }

  async #stop(state: State): Promise<void> {
    const { run, ticket } = state
    if (run === null) {
      const { id, tenant } = ticket.record
      const seat = await accountOf(this.env, tenant).seat(ticket.execution)
      if (seat !== null) await generationOf(this.env, tenant, seat).unfollow(ticket.execution, id)
      // It may have come to its end meanwhile.
      if (this.#state === state) this.#story?.leave()
      return
    }
    // Others share the execution: only this job ends.
    if (followerCount(this.#sql) > 0) return this.#story?.leave()
    const undispatched = run.phase === 'reserved'
    if (!requestCancel(run, Date.now())) return
    if (undispatched) await this.#step()
    else this.#story?.become('cancelling')
  }

  async follow(job: string, follower: string, seat: number): Promise<boolean> {
    if (this.#of(job) === null) return false
    addFollower(this.#sql, follower, seat)
    return true
  }

  async unfollow(job: string, follower: string): Promise<void> {
    const state = this.#of(job)
    if (state === null) return
    removeFollower(this.#sql, follower)
    // This job's own callers left before; the last follower takes the execution along.
    const abandoned = followerCount(this.#sql) === 0 && isTerminal(state.status)
    if (abandoned && state.run !== null && requestCancel(state.run, Date.now())) {
      this.#save()
      await this.#arm(Date.now())
    }
  }

  async execution(job: string): Promise<ExecutionState | null> {
    const state = this.#of(job)
    if (state === null) return null
    const outcome = state.run?.outcome ?? null
    const started = state.run?.started ?? state.startedAt !== null
    return { started, queuePosition: state.queuePosition ?? null, progress: state.progress, outcome }
  }

  async wake(): Promise<void> {
    const state = this.#state
    if (state === null) return
    const now = Date.now()
    // Only what a step will take is made due: any other time in the past would ring for ever.
    if (state.run === null) state.followAt = Math.min(state.followAt, now)
    else if (state.run.phase !== 'done') state.run.dueAt = now
    this.#save()
    await this.ctx.storage.setAlarm(now)
  }

  async hook(job: string, attempt: number, delivery: string, operation: string): Promise<boolean> {
    const state = this.#of(job)
    const run = state?.run
    if (state === null || run === null || run === undefined || attempt > run.attempts) return false
    const now = Date.now()
    if (!isNews(this.#sql, delivery, now)) return false
    const named = { provider: state.ticket.record.provider, ref: operation }
    const current = run.attempt?.number === attempt && run.outcome === null
    if (current) adoptFromHook(run, named, now)
    const orphan = run.operation === null ? !current : run.operation.ref !== operation
    if (orphan) this.ctx.waitUntil(this.#cancelOrphan(named))
    await this.wake()
    return true
  }

  /** A run that was given up turned out to live: it is stopped, and said so. */
  async #cancelOrphan(operation: { readonly provider: string; readonly ref: string }): Promise<void> {
    console.warn('orphan: cancelled a late run', operation.provider)
    const provider = this.#services.provider(operation.provider)
    await withTimeLimit(orphanMs, async (signal) => provider?.cancel(operation, signal))
  }

  async output(viewer: Viewer, job: string, selection: OutputSelection): Promise<OutputAnswer | null> {
    const state = this.#seen(viewer, job)
    return state === null ? null : findOutput(state, selection, Date.now())
  }

  async erase(viewer: Viewer, job: string): Promise<'erased' | 'active' | null> {
    const state = this.#seen(viewer, job)
    if (state === null) return null
    if (!isTerminal(state.status) || (state.run !== null && state.run.phase !== 'done')) return 'active'
    const { tenant, id } = state.ticket.record
    if (await note(this.env, state)) this.#save()
    const orphans = await accountOf(this.env, tenant).forget(id)
    if (orphans.length > 0) await this.env.BUCKET.delete(orphans)
    if (this.#state === state) await this.#leaveNothing()
    return 'erased'
  }

  override async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url)
    const viewer = JSON.parse(request.headers.get('x-viewer') ?? '{}') as Viewer
    const [state, story] = [this.#seen(viewer, url.pathname.split('/')[1] ?? ''), this.#story]
    if (state === null || story === null) return new Response(null, { status: 404 })
    if (story.events.size() >= maxReaders) return new Response(null, { status: 429 })
    const after = Number(url.searchParams.get('after') ?? 0)
    const ended = () => isTerminal(state.status)
    return new Response(story.events.open(after, ended), { headers: { 'content-type': 'text/event-stream' } })
  }

  async #present(facts: JobFacts): Promise<Job> {
    return presented(facts, () => this.#urlKey())
  }

  async #urlKey(): Promise<CryptoKey> {
    return (await this.#services.secrets()).urls[0] as CryptoKey
  }

  override async alarm(): Promise<void> {
    if (this.#state === null) return
    // Armed before anything can fail: an alarm that throws seven times is gone for good.
    await this.ctx.storage.setAlarm(Date.now() + rearmMs)
    // A long step is still being taken: whoever takes it arms what comes after.
    if (this.#advancing) return
    try {
      await this.#step()
    } catch (error) {
      console.error('generation: a step failed and will be taken again', error)
      return
    }
    await this.#arm(this.#nextDue())
  }

  async #step(): Promise<void> {
    const state = this.#state
    // Two alarms at once, which the platform may send, are one.
    if (state === null || this.#advancing) return
    this.#advancing = true
    try {
      if (state.run !== null) await this.#advance(state, state.run)
      else if (!isTerminal(state.status)) await this.#lookAtShared(state)
      if (this.#state !== state) return
      if (this.#finishedAt(state) <= Date.now()) await this.#handOver(state)
      else await this.#tidy(state)
    } finally {
      this.#advancing = false
    }
    // Not awaited: an endpoint that hangs must not hold up the job.
    const due = this.#state === state && !this.#delivering && nextDelivery(this.#sql) <= Date.now()
    if (due) this.ctx.waitUntil(this.#deliver(state))
  }

  /** When nothing is left to do here: over, everybody told, no run that could still turn up. */
  #finishedAt(state: State): number {
    return this.#delivering || nextDelivery(this.#sql) < never ? never : restsAt(state)
  }

  /** Gives the job to the account. What dies before the account has it is done again, after that the row is the job. */
  async #handOver(state: State): Promise<void> {
    const log = compactLog(replay(this.#sql, 0), state)
    const { tenant, id } = state.ticket.record
    await accountOf(this.env, tenant).archive(id, state.status, packJob({ facts: state, log }))
    // Erased meanwhile, which the account knows too, or the next job was quicker.
    if (this.#state === state) await this.#leaveNothing()
  }

  async #leaveNothing(): Promise<void> {
    if (this.#state !== null) this.#remember(this.#state.ticket.record.id)
    this.#state = null
    this.#story = null
    // Asked for in one breath, so that nothing of a next job comes between them.
    await Promise.all([this.ctx.storage.deleteAlarm(), this.ctx.storage.deleteAll()])
  }

  /** The account is asked besides, so only openings that were on their way already need this memory. */
  #remember(job: string): void {
    const [oldest] = this.#over
    if (this.#over.size >= maxRemembered && oldest !== undefined) this.#over.delete(oldest)
    this.#over.add(job)
  }

  async #tidy(state: State): Promise<void> {
    if (await note(this.env, state)) this.#save()
    if (shortenLog(this.#sql, state, Date.now())) this.#save()
  }

  async #deliver(state: State): Promise<void> {
    this.#delivering = true
    try {
      await deliver(this.#sql, deliveryPorts(this.env, state.ticket.record))
    } catch (error) {
      console.error('webhooks: will be tried again', error)
    } finally {
      this.#delivering = false
    }
    await this.#arm(this.#nextDue())
  }

  async #advance(state: State, run: Run): Promise<void> {
    const ports = this.#ports(state)
    for (let step = 0; step < maxSteps && run.phase !== 'done' && run.dueAt <= Date.now(); step++)
      await advance(run, ports)
  }

  #ports(state: State): ExecutionPorts {
    const story = this.#story as Story
    return executionPorts(this.env, state.ticket.record, {
      save: () => this.#save(),
      onStarted: () => {
        story.become('in_progress')
        this.#wakeFollowers()
      },
      onQueued: (position) => {
        if (story.queued(position)) this.#wakeFollowers()
      },
      onProgress: story.progress,
      onPreview: story.preview,
      isTold: (index) => state.parts?.some((part) => part.index === index) ?? false,
      onPart: (output) => {
        story.part(output)
        this.#save()
      },
      onWarnings: story.warn,
      onOutcome: (outcome) => {
        story.conclude(outcome)
        this.#wakeFollowers()
      },
    })
  }

  #wakeFollowers(): void {
    const { tenant } = (this.#state as State).ticket.record
    for (const seat of followers(this.#sql)) {
      this.ctx.waitUntil(
        generationOf(this.env, tenant, seat)
          .wake()
          .catch(() => undefined),
      )
    }
  }

  /** A job that shares another's execution asks how far it is: its object first, then the account, where it is over. */
  async #lookAtShared(state: State): Promise<void> {
    const { record, execution } = state.ticket
    const executor = await this.#follow(state)
    const shared = (await executor?.execution(execution)) ?? null
    const outcome = shared?.outcome ?? (await accountOf(this.env, record.tenant).outcome(execution))
    // Cancelled and erased meanwhile.
    if (this.#state !== state) return
    const story = this.#story as Story
    if (shared?.started) story.become('in_progress')
    if (shared !== null) {
      story.queued(shared.queuePosition)
      story.progress(shared.progress)
    }
    if (outcome !== null) story.conclude(outcome)
    else if (Date.now() > record.deadlineAt + lostMs)
      story.conclude(state.startedAt === null ? { kind: 'expired' } : lostOutcome)
    state.followAt = isTerminal(state.status) ? never : Date.now() + (executor === null ? lookSoonMs : lookAgainMs)
    this.#save()
  }

  #nextDue(): number {
    if (this.#state === null) return never
    const deliveries = this.#delivering ? Date.now() + rearmMs : nextDelivery(this.#sql)
    return Math.min(deliveries, this.#finishedAt(this.#state), nextDueOf(this.#state, logLifeMs, Date.now()))
  }

  async #arm(at: number): Promise<void> {
    if (this.#state === null) return
    const due = Math.min(at, this.#nextDue())
    if (due >= never) await this.ctx.storage.deleteAlarm()
    else await this.ctx.storage.setAlarm(Math.max(due, Date.now()))
  }
}

const lostOutcome: Outcome = {
  kind: 'failed',
  error: jobError('deadline_exceeded', 'the shared execution did not end in time'),
}
