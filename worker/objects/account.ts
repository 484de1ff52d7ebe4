/**
 * The account: one Durable Object per tenant, arbiter of everything that must not happen twice.
 *
 * Its rules are in submissions.ts and ledger.ts; here they get storage, a clock and an alarm. A job whose opening got
 * lost between two machines is opened again from here, so an acknowledged job is never only a row.
 */

import { DurableObject } from 'cloudflare:workers'
import type { JobStatus } from '../../shared/job.ts'
import { type Env, settingsOf } from '../env.ts'
import {
  type AccountObject,
  type AssetRow,
  type Balance,
  directoryOf,
  type EndpointRow,
  type EndpointSecrets,
  type FinishedJob,
  generationOf,
  type JobRow,
  type ListQuery,
  type Outcome,
  type Refused,
  type Settled,
  type Settlement,
  type StoredResult,
  type SubmitCommand,
  type Ticket,
  type TokenRow,
  type Viewer,
} from './contract.ts'
import { idempotencyTable } from './idempotency.ts'
import { balanceOf, credit, ledgerTables } from './ledger.ts'
import * as records from './records.ts'
import * as submissions from './submissions.ts'

const tables = `${ledgerTables}${submissions.submissionTables}${idempotencyTable}${records.recordTables}
  CREATE TABLE IF NOT EXISTS tokens (jti TEXT PRIMARY KEY, subject TEXT NOT NULL, expires_at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS assets (id TEXT PRIMARY KEY, kind TEXT NOT NULL, content_type TEXT NOT NULL,
    bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, status TEXT NOT NULL, created_at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS endpoints (id TEXT PRIMARY KEY, url TEXT NOT NULL, events TEXT NOT NULL,
    secret TEXT NOT NULL, disabled INTEGER NOT NULL, created_at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS known (name TEXT PRIMARY KEY, value TEXT NOT NULL);`

/** Until then the Worker that submitted has opened the job itself, if it lives. */
const openingMs = 10_000
const sweepBatch = 100
/** From one batch of what is due to the next. */
const restMs = 100
/** A job nobody heard of for this long is asked. */
const silenceMs = 60_000

interface HeldSecret {
  readonly secret: string
  /** null for the newest. */
  readonly until: number | null
}

const rotationMs = 86_400_000

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
    this.#sql.exec(tables)
    credit(this.#sql, 'start', settingsOf(env).startingCredit, Date.now())
  }

  async submit(command: SubmitCommand) {
    await this.#announce(command.record.tenant)
    // What runs or ran already needs no provider; anything new waits while it refuses us.
    const resting = submissions.isServed(this.#sql, command) ? 0 : await this.#restMs(command)
    if (resting > 0) return refusedBy(command.record.provider, resting)
    this.#alarmAt ??= (await this.ctx.storage.getAlarm()) ?? Number.POSITIVE_INFINITY
    const answer = this.ctx.storage.transactionSync(() => submissions.submit(this.#sql, command))
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

  async finished(viewer: Viewer, job: string): Promise<FinishedJob | null> {
    return submissions.isSeen(this.#sql, viewer, job) ? records.finished(this.#sql, job) : null
  }

  async eraseFinished(viewer: Viewer, job: string): Promise<boolean> {
    if ((await this.finished(viewer, job)) === null) return false
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
        'SELECT id FROM jobs WHERE open = 1 AND checked_at <= ? ORDER BY checked_at LIMIT ?',
        now - silenceMs,
        sweepBatch,
      )
      .toArray()
    for (const { id } of silent) this.#sql.exec('UPDATE jobs SET checked_at = ? WHERE id = ?', now, String(id))
    await Promise.allSettled(silent.map(({ id }) => generationOf(this.env, String(id)).wake()))
    const open = Number(this.#sql.exec('SELECT COUNT(*) AS value FROM jobs WHERE open = 1').one().value)
    const [tenant] = this.#sql.exec("SELECT value FROM known WHERE name = 'tenant'").toArray()
    if (open === 0 && tenant !== undefined) {
      this.#announced = false
      await directoryOf(this.env).idle(String(tenant.value))
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
      await generationOf(this.env, ticket.record.id).open(ticket, String(row.caller))
      this.#sql.exec('UPDATE jobs SET ticket = NULL WHERE id = ?', ticket.record.id)
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

  async mintToken({ jti, subject, expiresAt }: TokenRow): Promise<void> {
    this.#sql.exec(
      'DELETE FROM token_use WHERE jti IN (SELECT jti FROM tokens WHERE expires_at < ?)',
      Date.now() - 120_000,
    )
    this.#sql.exec('DELETE FROM tokens WHERE expires_at < ?', Date.now() - 120_000)
    this.#sql.exec('INSERT INTO tokens VALUES (?, ?, ?)', jti, subject, expiresAt)
  }

  async revokeToken(jti: string): Promise<boolean> {
    return this.#sql.exec('DELETE FROM tokens WHERE jti = ?', jti).rowsWritten > 0
  }

  async isTokenGood(jti: string): Promise<boolean> {
    return this.#sql.exec('SELECT 1 FROM tokens WHERE jti = ?', jti).toArray().length === 1
  }

  /** A row, or the ready one of the same bytes that the tenant has already. */
  async createAsset(tenant: string, row: AssetRow): Promise<AssetRow> {
    const [known] = this.#sql
      .exec("SELECT * FROM assets WHERE sha256 = ? AND kind = ? AND status = 'ready'", row.sha256, row.kind)
      .toArray()
    if (known !== undefined) return known as unknown as AssetRow
    const { id, kind, content_type, bytes, sha256, status, created_at } = row
    await this.#announce(tenant)
    this.#sql.exec(
      'INSERT INTO assets VALUES (?, ?, ?, ?, ?, ?, ?)',
      id,
      kind,
      content_type,
      bytes,
      sha256,
      status,
      created_at,
    )
    return row
  }

  async asset(id: string): Promise<AssetRow | null> {
    const [row] = this.#sql.exec('SELECT * FROM assets WHERE id = ?', id).toArray()
    return (row as unknown as AssetRow | undefined) ?? null
  }

  async finishAsset(id: string, status: 'ready' | 'rejected'): Promise<void> {
    this.#sql.exec("UPDATE assets SET status = ? WHERE id = ? AND status = 'pending'", status, id)
  }

  /** The stored bytes' name where nothing else of the tenant needs them; null where there is no such asset. */
  async deleteAsset(id: string): Promise<{ readonly key: string | null } | null> {
    const row = await this.asset(id)
    if (row === null) return null
    this.#sql.exec('DELETE FROM assets WHERE id = ?', id)
    const [tenant] = this.#sql.exec("SELECT value FROM known WHERE name = 'tenant'").toArray()
    const key = `t/${String(tenant?.value ?? '')}/${row.sha256}`
    return { key: submissions.isUsed(this.#sql, key) ? null : key }
  }

  /** A new endpoint; for an address that is known already, a new secret beside the old one, which goes in a day. */
  async createEndpoint(row: EndpointRow, secret: string): Promise<EndpointRow> {
    const { id, url, events, created_at } = row
    const until = created_at + rotationMs
    const [known] = this.#sql.exec('SELECT id, secret FROM endpoints WHERE url = ?', url).toArray()
    if (known === undefined) {
      const secrets = JSON.stringify([{ secret, until: null }])
      this.#sql.exec(
        'INSERT INTO endpoints VALUES (?, ?, ?, ?, 0, ?)',
        id,
        url,
        JSON.stringify(events),
        secrets,
        created_at,
      )
      return row
    }
    const [newest] = JSON.parse(String(known.secret)) as [HeldSecret]
    const secrets = JSON.stringify([
      { secret, until: null },
      { ...newest, until },
    ])
    this.#sql.exec(
      'UPDATE endpoints SET secret = ?, events = ?, disabled = 0 WHERE id = ?',
      secrets,
      JSON.stringify(events),
      String(known.id),
    )
    return { ...row, id: String(known.id) }
  }

  async endpoints(): Promise<EndpointRow[]> {
    const rows = this.#sql
      .exec('SELECT id, url, events, disabled, created_at FROM endpoints ORDER BY created_at')
      .toArray()
    return rows.map((row) => ({
      id: String(row.id),
      url: String(row.url),
      events: JSON.parse(String(row.events)) as string[],
      disabled: row.disabled === 1,
      created_at: Number(row.created_at),
    }))
  }

  async endpointSecrets(id: string, now: number): Promise<EndpointSecrets | null> {
    const [row] = this.#sql.exec('SELECT url, secret FROM endpoints WHERE id = ? AND disabled = 0', id).toArray()
    if (row === undefined) return null
    const held = JSON.parse(String(row.secret)) as HeldSecret[]
    const good = held.filter(({ until }) => until === null || until > now)
    return { url: String(row.url), secrets: good.map(({ secret }) => secret) }
  }

  async disableEndpoint(id: string): Promise<void> {
    this.#sql.exec('UPDATE endpoints SET disabled = 1 WHERE id = ?', id)
  }

  async deleteEndpoint(id: string): Promise<boolean> {
    return this.#sql.exec('DELETE FROM endpoints WHERE id = ?', id).rowsWritten > 0
  }
}
