/**
 * Accepting a request, as one synchronous block: idempotency, single flight, caps, money, and the row that makes it so.
 *
 * Between the first line of `submit` and its last there is no await, and so no second request: that alone makes a
 * thousand equal submissions one execution. Knows no network and no clock.
 */

import { isTerminal, type JobStatus, jobStatuses } from '../../shared/job.ts'
import type {
  JobRecord,
  JobRow,
  ListQuery,
  Refused,
  Settled,
  Settlement,
  StoredResult,
  SubmitCommand,
  Submitted,
  Ticket,
  Viewer,
} from './contract.ts'
import { debit, hold, releaseHold } from './ledger.ts'

export const submissionTables = `
  CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, subject TEXT NOT NULL, status TEXT NOT NULL, model TEXT NOT NULL,
    created_at INTEGER NOT NULL, execution TEXT NOT NULL, open INTEGER NOT NULL, checked_at INTEGER NOT NULL,
    ticket TEXT, caller TEXT NOT NULL);
  CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (created_at DESC, id DESC);
  CREATE INDEX IF NOT EXISTS open_jobs ON jobs (open, checked_at);
  CREATE INDEX IF NOT EXISTS jobs_by_execution ON jobs (execution, subject);
  CREATE TABLE IF NOT EXISTS executions (id TEXT PRIMARY KEY, content_key TEXT NOT NULL, state TEXT NOT NULL,
    policy TEXT NOT NULL, shared INTEGER NOT NULL, cost INTEGER NOT NULL, result TEXT, expires_at INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS executions_by_key ON executions (content_key, state);
  CREATE TABLE IF NOT EXISTS idempotency (key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, job TEXT NOT NULL,
    expires_at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS objects (key TEXT NOT NULL, job TEXT NOT NULL, PRIMARY KEY (key, job));
  CREATE TABLE IF NOT EXISTS bucket (id INTEGER PRIMARY KEY, level REAL NOT NULL, at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS token_use (jti TEXT PRIMARY KEY, jobs INTEGER NOT NULL, cost INTEGER NOT NULL);`

const idempotencyMs = 86_400_000

const refused = (code: Refused['code'], message: string, retryAfterMs?: number): Refused => ({
  kind: 'refused',
  code,
  message,
  ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
})

/** Decides what becomes of a request and writes it down. Call it inside one transaction. */
export function submit(sql: SqlStorage, command: SubmitCommand): Submitted | Refused {
  const { now, idempotency, record } = command
  sql.exec('DELETE FROM idempotency WHERE expires_at <= ?', now)
  if (idempotency !== null) {
    const [known] = sql.exec('SELECT fingerprint, job FROM idempotency WHERE key = ?', idempotency.key).toArray()
    if (known !== undefined) return replay(sql, command, String(known.fingerprint), String(known.job))
  }
  const answer = record.cacheMode === 'use' ? (share(sql, command) ?? create(sql, command)) : create(sql, command)
  if (answer.kind !== 'refused' && idempotency !== null) {
    const { key, fingerprint } = idempotency
    const { id } = answer.ticket.record
    sql.exec('INSERT INTO idempotency VALUES (?, ?, ?, ?)', key, fingerprint, id, now + idempotencyMs)
  }
  return answer
}

/** Whether a request needs no run of its own: known under its idempotency key, or run or running under its content key. */
export function isServed(sql: SqlStorage, { now, idempotency, record }: SubmitCommand): boolean {
  const known =
    idempotency !== null && sql.exec('SELECT 1 FROM idempotency WHERE key = ?', idempotency.key).toArray().length > 0
  return known || (record.cacheMode === 'use' && shareable(sql, record, now) !== undefined)
}

const shareable = (sql: SqlStorage, { contentKey, policyVersion }: JobRecord, now: number) =>
  sql
    .exec(
      `SELECT id, state, result FROM executions WHERE content_key = ? AND policy = ? AND shared = 1
       AND (state = 'open' OR (state = 'stored' AND expires_at > ?)) ORDER BY state, expires_at DESC LIMIT 1`,
      contentKey,
      policyVersion,
      now,
    )
    .toArray()[0]

function replay(sql: SqlStorage, command: SubmitCommand, fingerprint: string, job: string): Submitted | Refused {
  if (fingerprint !== command.idempotency?.fingerprint) {
    return refused('idempotency_key_reuse', 'Idempotency-Key: was used with another body; mint a new key')
  }
  return { kind: 'replayed', ticket: ticketOf(sql, job, command), remaining: levelOf(sql, command) }
}

/** A ticket again; of a job opened long ago its id is all that is needed. */
function ticketOf(sql: SqlStorage, job: string, { record }: SubmitCommand): Ticket {
  const [row] = sql.exec('SELECT ticket, execution FROM jobs WHERE id = ?', job).toArray()
  if (typeof row?.ticket === 'string') return JSON.parse(row.ticket) as Ticket
  return { record: { ...record, id: job }, execution: String(row?.execution ?? job), result: null }
}

/** An equal request that runs or has run already. */
function share(sql: SqlStorage, command: SubmitCommand): Submitted | Refused | undefined {
  const { record, now } = command
  const row = shareable(sql, record, now)
  if (row === undefined) return undefined
  const execution = String(row.id)
  if (row.state === 'stored') return hit(sql, command, execution, JSON.parse(String(row.result)) as StoredResult)
  const [same] = sql
    .exec('SELECT id FROM jobs WHERE execution = ? AND subject = ? AND open = 1', execution, record.subject)
    .toArray()
  if (same !== undefined) {
    return { kind: 'joined', ticket: ticketOf(sql, String(same.id), command), remaining: levelOf(sql, command) }
  }
  const capped = countToken(sql, command, 0)
  if (capped !== undefined) return capped
  return insert(sql, command, { record, execution, result: null }, 'followed')
}

function hit(sql: SqlStorage, command: SubmitCommand, execution: string, result: StoredResult): Submitted | Refused {
  const capped = countToken(sql, command, 0)
  if (capped !== undefined) return capped
  for (const { key } of result.outputs) {
    sql.exec('INSERT OR IGNORE INTO objects VALUES (?, ?)', key, command.record.id)
  }
  return insert(sql, command, { record: command.record, execution, result }, 'hit')
}

function create(sql: SqlStorage, command: SubmitCommand): Submitted | Refused {
  const { record, limits, now } = command
  const open = (where: string, ...values: string[]): number =>
    Number(sql.exec(`SELECT COUNT(*) AS value FROM jobs WHERE open = 1 ${where}`, ...values).one().value)
  if (open('') >= limits.maxOpen) return refused('queue_full', `jobs: ${limits.maxOpen} are open, wait for one`, 2000)
  if (record.subject !== '' && open('AND subject = ?', record.subject) >= limits.maxOpenPerSubject) {
    return refused('concurrency_limited', `jobs: ${limits.maxOpenPerSubject} of this subject are open, wait`, 2000)
  }
  const { level } = refill(sql, command)
  if (level < 1) {
    const wait = limits.perSecond > 0 ? ((1 - level) / limits.perSecond) * 1000 : 60_000
    return refused('rate_limited', `jobs: got more than ${limits.burst} at once, slow down`, wait)
  }
  if (!hold(sql, record.id, record.maxCost)) {
    return refused('insufficient_quota', `credit: this may cost ${record.maxCost / 1e6} USD, more than is left; top up`)
  }
  const capped = countToken(sql, command, record.maxCost)
  if (capped !== undefined) {
    releaseHold(sql, record.id)
    return capped
  }
  sql.exec('INSERT OR REPLACE INTO bucket VALUES (1, ?, ?)', level - 1, now)
  const shared = record.cacheMode === 'use' ? 1 : 0
  sql.exec(
    "INSERT INTO executions VALUES (?, ?, 'open', ?, ?, 0, NULL, 0)",
    record.id,
    record.contentKey,
    record.policyVersion,
    shared,
  )
  return insert(sql, command, { record, execution: record.id, result: null }, 'created')
}

/** The caps a token carries; undefined where they leave room, which is then taken. */
function countToken(sql: SqlStorage, { token }: SubmitCommand, cost: number): Refused | undefined {
  if (token === null) return undefined
  const [row] = sql.exec('SELECT jobs, cost FROM token_use WHERE jti = ?', token.jti).toArray()
  const [jobs, spent] = [Number(row?.jobs ?? 0) + 1, Number(row?.cost ?? 0) + cost]
  if (jobs > token.maxJobs) return refused('insufficient_quota', `token: its ${token.maxJobs} jobs are used up`)
  if (spent > token.maxCost) return refused('insufficient_quota', `token: its ${token.maxCost / 1e6} USD are used up`)
  sql.exec('INSERT OR REPLACE INTO token_use VALUES (?, ?, ?)', token.jti, jobs, spent)
  return undefined
}

function insert(sql: SqlStorage, command: SubmitCommand, ticket: Ticket, kind: Submitted['kind']): Submitted {
  const { record } = ticket
  const status: JobStatus = ticket.result === null ? 'queued' : 'completed'
  sql.exec(
    'INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    record.id,
    record.subject,
    status,
    record.effective.model,
    record.createdAt,
    ticket.execution,
    isTerminal(status) ? 0 : 1,
    record.createdAt,
    JSON.stringify(ticket),
    command.caller,
  )
  return { kind, ticket, remaining: levelOf(sql, command) }
}

function refill(sql: SqlStorage, { now, limits }: SubmitCommand): { readonly level: number } {
  const [row] = sql.exec('SELECT level, at FROM bucket WHERE id = 1').toArray()
  if (row === undefined) return { level: limits.burst }
  // A clock that went backwards fills nothing.
  const gained = (Math.max(0, now - Number(row.at)) / 1000) * limits.perSecond
  return { level: Math.min(limits.burst, Number(row.level) + gained) }
}

const levelOf = (sql: SqlStorage, command: SubmitCommand): number => Math.floor(refill(sql, command).level)

/** Result, debit and release as one; a second call answers what the first one did. */
export function settle(sql: SqlStorage, execution: string, { now, cost, result }: Settlement): Settled {
  const [row] = sql.exec('SELECT state, cost, result FROM executions WHERE id = ?', execution).toArray()
  if (row?.state === 'stored') {
    return { cost: Number(row.cost), result: JSON.parse(String(row.result)) as StoredResult }
  }
  if (row?.state !== 'open') return { cost: 0, result }
  const charged = debit(sql, execution, cost, now)
  sql.exec(
    "UPDATE executions SET state = 'stored', shared = 1, cost = ?, result = ?, expires_at = ? WHERE id = ?",
    charged,
    JSON.stringify(result),
    result.expiresAt,
    execution,
  )
  for (const { id } of sql.exec('SELECT id FROM jobs WHERE execution = ?', execution).toArray()) {
    for (const { key } of result.outputs) sql.exec('INSERT OR IGNORE INTO objects VALUES (?, ?)', key, String(id))
  }
  return { cost: charged, result }
}

/** Ends an execution without a result. One that is stored stays stored. */
export function release(sql: SqlStorage, execution: string): Settled | null {
  const [row] = sql.exec("SELECT cost, result FROM executions WHERE id = ? AND state = 'stored'", execution).toArray()
  if (row !== undefined) return { cost: Number(row.cost), result: JSON.parse(String(row.result)) as StoredResult }
  sql.exec("DELETE FROM executions WHERE id = ? AND state = 'open'", execution)
  releaseHold(sql, execution)
  return null
}

/** Writes a job's newest status into the index; a terminal one stays. */
export function note(sql: SqlStorage, job: string, status: JobStatus, now: number): void {
  const open = isTerminal(status) ? 0 : 1
  sql.exec('UPDATE jobs SET status = ?, open = ?, checked_at = ? WHERE id = ? AND open = 1', status, open, now, job)
}

/** Jobs a viewer sees, newest first. */
export function list(sql: SqlStorage, viewer: Viewer, { limit, after, status, model }: ListQuery): JobRow[] {
  const where: string[] = []
  const values: (string | number)[] = []
  const filter = (condition: string, ...bound: (string | number)[]) => {
    where.push(condition)
    values.push(...bound)
  }
  if (viewer.subject !== null) filter('subject = ?', viewer.subject)
  if (status !== null && jobStatuses.includes(status)) filter('status = ?', status)
  if (model !== null) filter('model = ?', model)
  if (after !== null) filter('(created_at, id) < (?, ?)', after.createdAt, after.id)
  const condition = where.length === 0 ? '' : `WHERE ${where.join(' AND ')}`
  return sql
    .exec(`SELECT id, created_at FROM jobs ${condition} ORDER BY created_at DESC, id DESC LIMIT ?`, ...values, limit)
    .toArray()
    .map((row) => ({ id: String(row.id), createdAt: Number(row.created_at) }))
}

/** Whether any job or asset still needs stored bytes. */
export function isUsed(sql: SqlStorage, key: string): boolean {
  const sha256 = key.slice(key.lastIndexOf('/') + 1)
  const users = sql.exec(
    'SELECT 1 FROM objects WHERE key = ? UNION ALL SELECT 1 FROM assets WHERE sha256 = ?',
    key,
    sha256,
  )
  return users.toArray().length > 0
}

/** Gives up a job's claim to stored bytes; gives those nobody needs any more. */
export function dropObjects(sql: SqlStorage, job: string): string[] {
  const [row] = sql.exec('SELECT execution FROM jobs WHERE id = ? AND open = 0', job).toArray()
  if (row === undefined) return []
  const keys = sql.exec('SELECT key FROM objects WHERE job = ?', job).toArray()
  sql.exec('DELETE FROM objects WHERE job = ?', job)
  const orphans = keys.map(({ key }) => String(key)).filter((key) => !isUsed(sql, key))
  // A stored result whose bytes go must not be found again.
  if (orphans.length > 0) sql.exec("DELETE FROM executions WHERE id = ? AND state = 'stored'", String(row.execution))
  return orphans
}

/** Removes a job from every index, with what it stored. */
export function forget(sql: SqlStorage, job: string): string[] {
  const orphans = dropObjects(sql, job)
  sql.exec('DELETE FROM idempotency WHERE job = ?', job)
  sql.exec('DELETE FROM jobs WHERE id = ? AND open = 0', job)
  return orphans
}
