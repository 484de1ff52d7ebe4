/**
 * The account: one Durable Object per tenant, arbiter of everything that must not happen twice.
 *
 * Its rules are in submissions.ts and ledger.ts; here they get storage, a clock and an alarm. A job whose opening got
 * lost between two machines is opened again from here, so an acknowledged job is never only a row.
 */

import { DurableObject } from 'cloudflare:workers'
import type { JobStatus } from '../../shared/job.ts'
import { type Env, settingsOf } from '../env.ts'
import { assetOf, assetTables, beginUpload, finishUpload, keepAsset } from './assets.ts'
import {
  type AccountObject,
  type AssetRow,
  type Balance,
  type Created,
  directoryOf,
  type EndpointRow,
  type EndpointSecrets,
  type Found,
  generationOf,
  type Idempotency,
  type JobRow,
  type ListQuery,
  type NeighbourQuery,
  type NewEndpoint,
  type Outcome,
  type Refused,
  type Settled,
  type Settlement,
  type SimilarStart,
  type StoredResult,
  type SubmitCommand,
  type Ticket,
  type TokenRow,
  type Viewer,
} from './contract.ts'
import { endpointsOf, endpointTable, keepEndpoint, secretsOf } from './endpoints.ts'
import { idempotencyTable, recall, remember } from './idempotency.ts'
import { balanceOf, credit, ledgerTables } from './ledger.ts'
import { nearest, neighbourTable } from './neighbours.ts'
import * as records from './records.ts'
import { seatOf, seatTables } from './seats.ts'
import * as submissions from './submissions.ts'
import { upgrade } from './upgrade.ts'

const tables = `${ledgerTables}${submissions.submissionTables}${idempotencyTable}${records.recordTables}
  ${seatTables}${assetTables}${endpointTable}${neighbourTable}
  CREATE TABLE IF NOT EXISTS tokens (jti TEXT PRIMARY KEY, subject TEXT NOT NULL, expires_at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS known (name TEXT PRIMARY KEY, value TEXT NOT NULL);`

/** Until then the Worker that submitted has opened the job itself, if it lives. */
const openingMs = 10_000
const sweepBatch = 100
/** From one batch of what is due to the next. */
const restMs = 100
/** A job nobody heard of for this long is asked. */
const silenceMs = 60_000

const refusedBy = (provider: string, retryAfterMs: number): Refused => ({
  kind: 'refused',
  code: 'provider_unavailable',
  message: `${provider}: refuses us for now`,
  retryAfterMs,
})

export class Account extends DurableObject<Env> implements AccountObject {
  readonly #sql: SqlStorage
  #announced = false
  /** When the alarm is to ring; undefined before it was looked up, infinite where it is not set. */
  #alarmAt: number | undefined
  readonly #asking = new Map<string, Promise<number>>()

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = ctx.storage.sql
    ctx.storage.transactionSync(() => {
      upgrade(this.#sql)
      this.#sql.exec(tables)
    })
    credit(this.#sql, 'start', settingsOf(env).startingCredit, Date.now())
  }

  async submit(command: SubmitCommand) {
    await this.#announce(command.record.tenant)
    this.#alarmAt ??= (await this.ctx.storage.getAlarm()) ?? Number.POSITIVE_INFINITY
    const served = this.ctx.storage.transactionSync(() => submissions.serve(this.#sql, command))
    // What runs or ran already needs no provider; anything new waits while it refuses us.
    const resting = served === undefined ? await this.#restMs(command) : 0
    if (resting > 0) return refusedBy(command.record.provider, resting)
    const answer = served ?? this.ctx.storage.transactionSync(() => submissions.submit(this.#sql, command))
    // In the same write as the row: either both survive or the caller never got an answer.
    if (answer.kind !== 'refused' && answer.ticket !== null) await this.#ringBy(command.now + openingMs)
    return answer
  }

  /** Sets the alarm, unless it rings earlier anyway. Writes without a pause where that is known. */
  async #ringBy(at: number): Promise<void> {
    this.#alarmAt ??= (await this.ctx.storage.getAlarm()) ?? Number.POSITIVE_INFINITY
    if (this.#alarmAt <= at) return
    this.#alarmAt = at
    await this.ctx.storage.setAlarm(at)
  }

  /** A crowd that arrives together asks once. */
  async #restMs({ record: { provider }, now }: SubmitCommand): Promise<number> {
    const asking =
      this.#asking.get(provider) ??
      directoryOf(this.env)
        .restingUntil(provider)
        .finally(() => this.#asking.delete(provider))
    this.#asking.set(provider, asking)
    return (await asking) - now
  }

  /** Tells the sweeper that this tenant exists, once, before the first job is accepted. */
  async #announce(tenant: string): Promise<void> {
    if (this.#announced) return
    await directoryOf(this.env).active(tenant)
    this.#sql.exec("INSERT OR REPLACE INTO known VALUES ('tenant', ?)", tenant)
    this.#announced = true
  }

  async isUnopened(job: string): Promise<boolean> {
    return this.#sql.exec('SELECT 1 FROM jobs WHERE id = ? AND ticket IS NOT NULL', job).toArray().length > 0
  }

  async settle(execution: string, settlement: Settlement) {
    const settled = this.ctx.storage.transactionSync(() => submissions.settle(this.#sql, execution, settlement))
    await this.#ringBy(settlement.result.expiresAt)
    return settled
  }

  async release(execution: string, outcome: Outcome): Promise<Settled | null> {
    const now = Date.now()
    const settled = this.ctx.storage.transactionSync(() => submissions.release(this.#sql, execution, outcome, now))
    await this.#ringBy(submissions.nextDue(this.#sql, openingMs) ?? Number.POSITIVE_INFINITY)
    return settled
  }

  async outcome(execution: string): Promise<Outcome | null> {
    return records.outcomeOf(this.#sql, execution)
  }

  async claim(execution: string, key: string): Promise<void> {
    submissions.claim(this.#sql, execution, key)
  }

  async note(job: string, status: JobStatus): Promise<void> {
    submissions.note(this.#sql, job, status, Date.now())
  }

  async archive(job: string, status: JobStatus, row: Uint8Array<ArrayBuffer>): Promise<void> {
    this.ctx.storage.transactionSync(() => submissions.archive(this.#sql, job, status, row, Date.now()))
  }

  async find(viewer: Viewer, job: string): Promise<Found | null> {
    return submissions.isSeen(this.#sql, viewer, job) ? submissions.find(this.#sql, job) : null
  }

  async seat(job: string): Promise<number | null> {
    return seatOf(this.#sql, job)
  }

  async eraseFinished(viewer: Viewer, job: string): Promise<boolean> {
    if ((await this.find(viewer, job))?.finished == null) return false
    const orphans = await this.forget(job)
    if (orphans.length > 0) await this.env.BUCKET.delete(orphans)
    return true
  }

  async lookup(contentKey: string, now: number): Promise<StoredResult | null> {
    const [row] = this.#sql
      .exec("SELECT id FROM executions WHERE content_key = ? AND state <> 'ended' AND expires_at > ?", contentKey, now)
      .toArray()
    return row === undefined ? null : records.resultOf(this.#sql, String(row.id))
  }

  async neighbour(query: NeighbourQuery): Promise<SimilarStart | null> {
    return nearest(this.#sql, query)
  }

  async list(viewer: Viewer, query: ListQuery): Promise<JobRow[]> {
    const rows = submissions.list(this.#sql, viewer, query)
    return rows.map((row) => ({ ...row, finished: records.finished(this.#sql, row.id) }))
  }

  async forget(job: string): Promise<string[]> {
    return this.ctx.storage.transactionSync(() => submissions.forget(this.#sql, job))
  }

  /** Wakes jobs that were silent too long; gives how many are open. */
  async sweep(now: number): Promise<number> {
    await this.#openTickets()
    await this.#giveUpBytes()
    const silent = this.#sql
      .exec(
        `SELECT id, number FROM jobs JOIN seats ON seats.job = jobs.id
         WHERE open = 1 AND checked_at <= ? ORDER BY checked_at LIMIT ?`,
        now - silenceMs,
        sweepBatch,
      )
      .toArray()
    for (const { id } of silent) this.#sql.exec('UPDATE jobs SET checked_at = ? WHERE id = ?', now, String(id))
    const [known] = this.#sql.exec("SELECT value FROM known WHERE name = 'tenant'").toArray()
    const tenant = String(known?.value ?? '')
    await Promise.allSettled(silent.map(({ number }) => generationOf(this.env, tenant, Number(number)).wake()))
    const open = Number(this.#sql.exec('SELECT COUNT(*) AS value FROM jobs WHERE open = 1').one().value)
    if (open === 0 && known !== undefined) {
      this.#announced = false
      await directoryOf(this.env).idle(tenant)
    }
    return open
  }

  override async alarm(): Promise<void> {
    // Armed before anything can fail: an alarm that throws seven times is gone for good.
    this.#alarmAt = Date.now() + 60_000
    await this.ctx.storage.setAlarm(this.#alarmAt)
    try {
      await this.#openTickets()
      await this.#giveUpBytes()
    } catch (error) {
      console.error('account: what was due stays so', error)
      return
    }
    const due = submissions.nextDue(this.#sql, openingMs)
    this.#alarmAt = due === undefined ? Number.POSITIVE_INFINITY : Math.max(due, Date.now() + restMs)
    if (due === undefined) await this.ctx.storage.deleteAlarm()
    else await this.ctx.storage.setAlarm(this.#alarmAt)
  }

  /** Opens what was accepted but never opened. */
  async #openTickets(): Promise<void> {
    const rows = this.#sql
      .exec(
        'SELECT id, ticket, caller FROM jobs WHERE ticket IS NOT NULL AND created_at <= ? LIMIT ?',
        Date.now() - openingMs / 2,
        sweepBatch,
      )
      .toArray()
    for (const row of rows) {
      const ticket = JSON.parse(String(row.ticket)) as Ticket
      const generation = generationOf(this.env, ticket.record.tenant, ticket.seat)
      // Where it began before, its first note took the ticket away already; without a job the ticket stays.
      const job = await generation.open(ticket, String(row.caller))
      if (job !== null) this.#sql.exec('UPDATE jobs SET ticket = NULL WHERE id = ?', ticket.record.id)
    }
  }

  /** Deletes stored bytes whose time is over. Bytes first: what dies in between is done again. */
  async #giveUpBytes(): Promise<void> {
    for (const execution of submissions.outdated(this.#sql, Date.now(), sweepBatch)) {
      const orphans = submissions.objectsOf(this.#sql, execution)
      if (orphans.length > 0) await this.env.BUCKET.delete(orphans)
      this.ctx.storage.transactionSync(() => submissions.outdate(this.#sql, execution))
    }
  }

  async deposit(id: string, amount: number): Promise<Balance> {
    credit(this.#sql, id, amount, Date.now())
    return balanceOf(this.#sql)
  }

  async balance(): Promise<Balance> {
    return balanceOf(this.#sql)
  }

  /** Makes something once for each key; `again` finds what was made, and undefined gives the key back. */
  #once<Value>(
    idempotency: Idempotency | null,
    now: number,
    again: (answer: string) => Value | undefined,
    make: () => { readonly value: Value; readonly answer: string },
  ): Created<Value> {
    return this.ctx.storage.transactionSync(() => {
      const known = recall(this.#sql, idempotency, now)
      if (known !== null && 'kind' in known) return known
      const before = known === null ? undefined : again(known.answer)
      if (before !== undefined) return { kind: 'replayed', value: before }
      const { value, answer } = make()
      remember(this.#sql, idempotency, answer, now)
      return { kind: 'created', value }
    })
  }

  async mintToken(row: TokenRow, idempotency: Idempotency | null) {
    const now = Date.now()
    const gone = now - 120_000
    return this.#once<TokenRow>(
      idempotency,
      now,
      (answer) => JSON.parse(answer) as TokenRow,
      () => {
        this.#sql.exec('DELETE FROM token_use WHERE jti IN (SELECT jti FROM tokens WHERE expires_at < ?)', gone)
        this.#sql.exec('DELETE FROM tokens WHERE expires_at < ?', gone)
        this.#sql.exec('INSERT INTO tokens VALUES (?, ?, ?)', row.jti, row.subject, row.expiresAt)
        return { value: row, answer: JSON.stringify(row) }
      },
    )
  }

  async revokeToken(jti: string): Promise<boolean> {
    return this.#sql.exec('DELETE FROM tokens WHERE jti = ?', jti).rowsWritten > 0
  }

  async isTokenGood(jti: string): Promise<boolean> {
    return this.#sql.exec('SELECT 1 FROM tokens WHERE jti = ?', jti).toArray().length === 1
  }

  async createAsset(viewer: Viewer, row: AssetRow, idempotency: Idempotency | null) {
    await this.#announce(viewer.tenant)
    return this.#once<AssetRow>(
      idempotency,
      row.created_at,
      // Bytes that were refused are sent again under the same key.
      (id) => {
        const known = assetOf(this.#sql, viewer, id)
        return known === null || known.status === 'rejected' ? undefined : known
      },
      () => {
        const value = keepAsset(this.#sql, viewer, row)
        return { value, answer: value.id }
      },
    )
  }

  async asset(viewer: Viewer, id: string): Promise<AssetRow | null> {
    return assetOf(this.#sql, viewer, id)
  }

  async beginUpload(id: string, now: number): Promise<boolean> {
    return beginUpload(this.#sql, id, now)
  }

  async finishAsset(id: string, status: 'ready' | 'rejected'): Promise<void> {
    finishUpload(this.#sql, id, status)
  }

  /** The stored bytes' name where nothing else of the tenant needs them; null where there is no such asset. */
  async deleteAsset(viewer: Viewer, id: string): Promise<{ readonly key: string | null } | null> {
    const row = assetOf(this.#sql, viewer, id)
    if (row === null) return null
    this.#sql.exec('DELETE FROM assets WHERE id = ?', id)
    const key = `t/${viewer.tenant}/${row.sha256}`
    return { key: submissions.isUsed(this.#sql, key) ? null : key }
  }

  async createEndpoint(endpoint: NewEndpoint, idempotency: Idempotency | null) {
    return this.#once<NewEndpoint>(
      idempotency,
      endpoint.row.created_at,
      (answer) => {
        const { id, sealedSecret } = JSON.parse(answer) as { readonly id: string; readonly sealedSecret: string }
        const row = endpointsOf(this.#sql).find((known) => known.id === id)
        return row === undefined ? undefined : { row, sealedSecret }
      },
      () => {
        const { sealedSecret } = endpoint
        const row = keepEndpoint(this.#sql, endpoint)
        return { value: { row, sealedSecret }, answer: JSON.stringify({ id: row.id, sealedSecret }) }
      },
    )
  }

  async endpoints(): Promise<EndpointRow[]> {
    return endpointsOf(this.#sql)
  }

  async endpointSecrets(id: string, now: number): Promise<EndpointSecrets | null> {
    return secretsOf(this.#sql, id, now)
  }

  async disableEndpoint(id: string): Promise<void> {
    this.#sql.exec('UPDATE endpoints SET disabled = 1 WHERE id = ?', id)
  }

  async deleteEndpoint(id: string): Promise<boolean> {
    return this.#sql.exec('DELETE FROM endpoints WHERE id = ?', id).rowsWritten > 0
  }
}
