/**
 * Accepting a request, as one synchronous block: idempotency, single flight, caps, money, and the row that makes it so.
 *
 * Between the first line of `submit` and its last there is no await, and so no second request: that alone makes a
 * thousand equal submissions one execution. Knows no network and no clock.
 */

import { isTerminal, type JobStatus, jobStatuses } from '../../shared/job.ts'
import { hitJob, jobText } from './archive.ts'
import type {
  Found,
  JobRecord,
  ListQuery,
  Outcome,
  Refused,
  Settled,
  Settlement,
  SubmitCommand,
  Submitted,
  Ticket,
  Viewer,
} from './contract.ts'
import { recall, remember } from './idempotency.ts'
import { debit, hold, releaseHold } from './ledger.ts'
import * as neighbours from './neighbours.ts'
import * as records from './records.ts'
import { leaveSeat, seatOf, take } from './seats.ts'

export const submissionTables = `
  CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, subject TEXT NOT NULL, status TEXT NOT NULL, model TEXT NOT NULL,
    created_at INTEGER NOT NULL, execution TEXT NOT NULL, open INTEGER NOT NULL, checked_at INTEGER NOT NULL,
    ticket TEXT, caller TEXT NOT NULL) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS jobs_by_time ON jobs (created_at DESC, id DESC);
  CREATE INDEX IF NOT EXISTS open_jobs ON jobs (checked_at, subject) WHERE open = 1;
  CREATE INDEX IF NOT EXISTS unopened_jobs ON jobs (created_at) WHERE ticket IS NOT NULL;
  CREATE INDEX IF NOT EXISTS sharing_jobs ON jobs (execution) WHERE execution <> id;
  CREATE TABLE IF NOT EXISTS executions (id TEXT PRIMARY KEY, content_key TEXT NOT NULL, state TEXT NOT NULL,
    policy TEXT NOT NULL, shared INTEGER NOT NULL, cost INTEGER NOT NULL, expires_at INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS executions_by_key ON executions (content_key) WHERE state <> 'ended';
  CREATE INDEX IF NOT EXISTS executions_by_end ON executions (expires_at) WHERE expires_at > 0;
  CREATE TABLE IF NOT EXISTS objects (key TEXT NOT NULL, execution TEXT NOT NULL, PRIMARY KEY (execution, key))
    WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS objects_by_key ON objects (key);
  CREATE TABLE IF NOT EXISTS bucket (id INTEGER PRIMARY KEY, level REAL NOT NULL, at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS token_use (jti TEXT PRIMARY KEY, jobs INTEGER NOT NULL, cost INTEGER NOT NULL);`

const refused = (code: Refused['code'], message: string, retryAfterMs?: number): Refused => ({
  kind: 'refused',
  code,
  message,
  ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
})

/** Decides what becomes of a request and writes it down. Call it inside one transaction. */
export function submit(sql: SqlStorage, command: SubmitCommand): Submitted | Refused {
  const served = serve(sql, command)
  if (served !== undefined) return served
  const similar = resembling(sql, command)
  const answer = similar === undefined ? create(sql, command) : createSimilar(sql, similar)
  return remembered(sql, command, answer)
}

/**
 * What a request comes to that needs no run of its own: known under its idempotency key, or run or running under its
 * content key; undefined for any other. Call it inside one transaction.
 */
export function serve(sql: SqlStorage, command: SubmitCommand): Submitted | Refused | undefined {
  const { now, idempotency, record } = command
  const known = recall(sql, idempotency, now)
  if (known !== null && 'kind' in known) return known
  const replayed = known === null ? undefined : present(sql, 'replayed', known.answer, command)
  // A job that was erased gives its key back.
  if (replayed !== undefined) return replayed
  if (record.cacheMode !== 'use') return undefined
  const similar = command.similar == null ? undefined : resembling(sql, command)
  const answer = share(sql, command) ?? (similar === undefined ? undefined : share(sql, similar))
  return answer === undefined ? undefined : remembered(sql, command, answer)
}

function remembered(sql: SqlStorage, { idempotency, now }: SubmitCommand, answer: Submitted | Refused) {
  if (answer.kind !== 'refused') remember(sql, idempotency, answer.job, now)
  return answer
}

const shareable = (sql: SqlStorage, { contentKey, policyVersion }: JobRecord, now: number) =>
  sql
    .exec(
      `SELECT id, state FROM executions WHERE content_key = ? AND policy = ? AND shared = 1 AND state <> 'ended'
       AND (state = 'open' OR expires_at > ?) ORDER BY state, expires_at DESC LIMIT 1`,
      contentKey,
      policyVersion,
      now,
    )
    .toArray()[0]

/** A job that is there already: over, in its object, or still to get one. */
function present(sql: SqlStorage, kind: Submitted['kind'], job: string, command: SubmitCommand): Submitted | undefined {
  const [row] = sql.exec('SELECT ticket FROM jobs WHERE id = ?', job).toArray()
  if (row === undefined) return undefined
  const ticket = typeof row.ticket === 'string' ? (JSON.parse(row.ticket) as Ticket) : null
  const found = find(sql, job)
  return found === null ? undefined : { kind, job, ticket, found, remaining: levelOf(sql, command) }
}

/** An equal request that runs or has run already. */
function share(sql: SqlStorage, command: SubmitCommand): Submitted | Refused | undefined {
  const { record, now } = command
  const row = shareable(sql, record, now)
  if (row === undefined) return undefined
  const execution = String(row.id)
  if (row.state === 'stored') return hit(sql, command, execution)
  const same = openJobOf(sql, execution, record.subject)
  if (same !== undefined) return present(sql, 'joined', same, command)
  const capped = countToken(sql, command, 0)
  if (capped !== undefined) return capped
  return begin(sql, command, { record, execution, result: null }, 'followed')
}

/**
 * The request as a run from what is similar, while that is still there. Such a run has a key that no exact request can
 * have, so nobody who did not ask for it is given its result; and it leaves nothing for others to begin from.
 */
function resembling(sql: SqlStorage, command: SubmitCommand): SubmitCommand | undefined {
  const { similar: record = null, now } = command
  if (record?.similar === undefined || neighbours.keptOf(sql, record.similar.job, now) === null) return undefined
  return { ...command, record, similar: null, entry: null }
}

function createSimilar(sql: SqlStorage, command: SubmitCommand): Submitted | Refused {
  const { id, similar } = command.record
  const answer = create(sql, command)
  // What it begins from stays until it has ended, whatever becomes of the job that left it.
  if (answer.kind === 'created' && similar !== undefined) claim(sql, id, similar.key)
  return answer
}

/** The open job of an execution and a subject. */
const openJobOf = (sql: SqlStorage, execution: string, subject: string): string | undefined =>
  sql
    .exec<{ id: string }>(
      `SELECT id FROM jobs WHERE id = ?1 AND subject = ?2 AND open = 1
       UNION ALL SELECT id FROM jobs WHERE execution = ?1 AND execution <> id AND subject = ?2 AND open = 1`,
      execution,
      subject,
    )
    .toArray()[0]?.id

/** A job that is over as it begins. Only one that has somebody to tell needs an object, which then hands it over. */
function hit(sql: SqlStorage, command: SubmitCommand, execution: string): Submitted | Refused {
  const capped = countToken(sql, command, 0)
  if (capped !== undefined) return capped
  const seatless = { record: command.record, execution, result: records.resultOf(sql, execution) }
  if (command.record.webhook !== null) return begin(sql, command, seatless, 'hit')
  const finished = hitJob(seatless, command.now)
  const job = insert(sql, command, seatless, null)
  records.keep(sql, job, jobText(finished))
  return { kind: 'hit', job, ticket: null, found: { seat: null, finished }, remaining: levelOf(sql, command) }
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
    "INSERT INTO executions VALUES (?, ?, 'open', ?, ?, 0, 0)",
    record.id,
    record.contentKey,
    record.policyVersion,
    shared,
  )
  const { entry = null } = command
  if (entry !== null) neighbours.enter(sql, record.id, record.subject, record.effective.seed, entry)
  return begin(sql, command, { record, execution: record.id, result: null }, 'created')
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

type Seatless = Omit<Ticket, 'seat'>

/** A new job that gets a seat, in which it is still to be opened. */
function begin(sql: SqlStorage, command: SubmitCommand, seatless: Seatless, kind: Submitted['kind']): Submitted {
  const ticket: Ticket = { ...seatless, seat: take(sql, seatless.record.id) }
  const job = insert(sql, command, ticket, ticket)
  return { kind, job, ticket, found: { seat: ticket.seat, finished: null }, remaining: levelOf(sql, command) }
}

function insert(
  sql: SqlStorage,
  command: SubmitCommand,
  { record, execution, result }: Seatless,
  unopened: Ticket | null,
): string {
  const status: JobStatus = result === null ? 'queued' : 'completed'
  sql.exec(
    'INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    record.id,
    record.subject,
    status,
    record.effective.model,
    record.createdAt,
    execution,
    isTerminal(status) ? 0 : 1,
    record.createdAt,
    unopened === null ? null : JSON.stringify(unopened),
    command.caller,
  )
  return record.id
}

/** Where a job is; null where there is none. */
export function find(sql: SqlStorage, job: string): Found | null {
  const seat = seatOf(sql, job)
  if (seat !== null) return { seat, finished: null }
  const finished = records.finished(sql, job)
  return finished === null ? null : { seat: null, finished }
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
  const [row] = sql.exec('SELECT state, cost FROM executions WHERE id = ?', execution).toArray()
  if (row?.state === 'stored') return { cost: Number(row.cost), result: records.resultOf(sql, execution) ?? result }
  if (row?.state !== 'open') return { cost: 0, result }
  const charged = debit(sql, execution, cost, now)
  sql.exec(
    "UPDATE executions SET state = 'stored', shared = 1, cost = ?, expires_at = ? WHERE id = ?",
    charged,
    result.expiresAt,
    execution,
  )
  records.keepOutcome(sql, execution, { kind: 'completed', cost: charged, result })
  dropStart(sql, execution)
  for (const { key } of result.outputs) claim(sql, execution, key)
  if (result.kept === undefined) neighbours.strike(sql, execution)
  else claim(sql, execution, result.kept.key)
  return { cost: charged, result }
}

/** Gives back what a run began from, where the job that left it still has it. */
function dropStart(sql: SqlStorage, execution: string): void {
  sql.exec(
    `DELETE FROM objects WHERE execution = ?1
     AND EXISTS (SELECT 1 FROM objects AS other WHERE other.key = objects.key AND other.execution <> ?1)`,
    execution,
  )
}

/**
 * Ends an execution without a result, and remembers how. One that is stored stays stored.
 * @param now from then on the bytes that were stored on the way are given up.
 */
export function release(sql: SqlStorage, execution: string, outcome: Outcome, now: number): Settled | null {
  const [row] = sql.exec('SELECT state, cost FROM executions WHERE id = ?', execution).toArray()
  const result = row?.state === 'stored' ? records.resultOf(sql, execution) : null
  if (result !== null) return { cost: Number(row?.cost), result }
  if (row?.state === 'open') {
    neighbours.strike(sql, execution)
    sql.exec(
      "UPDATE executions SET state = 'ended', expires_at = ? WHERE id = ?",
      holds(sql, execution) ? now : 0,
      execution,
    )
    records.keepOutcome(sql, execution, outcome)
  }
  releaseHold(sql, execution)
  return null
}

/** Writes a job's newest status into the index; a terminal one stays. Whoever knows it has its object. */
export function note(sql: SqlStorage, job: string, status: JobStatus, now: number): void {
  const open = isTerminal(status) ? 0 : 1
  sql.exec('UPDATE jobs SET ticket = NULL WHERE id = ? AND ticket IS NOT NULL', job)
  sql.exec('UPDATE jobs SET status = ?, open = ?, checked_at = ? WHERE id = ? AND open = 1', status, open, now, job)
}

/** Takes over a job that is over, and frees its seat. What was erased meanwhile stays so. */
export function archive(
  sql: SqlStorage,
  job: string,
  status: JobStatus,
  row: Uint8Array<ArrayBuffer>,
  now: number,
): void {
  note(sql, job, status, now)
  if (sql.exec('SELECT 1 FROM jobs WHERE id = ?', job).toArray().length > 0) records.keep(sql, job, row)
  leaveSeat(sql, job)
}

/** Jobs a viewer sees, newest first. */
export function list(
  sql: SqlStorage,
  viewer: Viewer,
  { limit, after, status, model }: ListQuery,
): { readonly id: string; readonly createdAt: number }[] {
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

/** Whether a viewer sees a job. A foreign one and none are one answer. */
export function isSeen(sql: SqlStorage, { subject }: Viewer, job: string): boolean {
  const [row] = sql.exec('SELECT subject FROM jobs WHERE id = ?', job).toArray()
  return row !== undefined && (subject === null || subject === row.subject)
}

const holds = (sql: SqlStorage, execution: string): boolean =>
  sql.exec('SELECT 1 FROM objects WHERE execution = ? LIMIT 1', execution).toArray().length > 0

/** Notes bytes that were stored before their execution ended; they go with it. */
export function claim(sql: SqlStorage, execution: string, key: string): void {
  sql.exec('INSERT OR IGNORE INTO objects VALUES (?, ?)', key, execution)
}

/** Stored bytes that an execution alone needs. */
export const objectsOf = (sql: SqlStorage, execution: string): string[] =>
  sql
    .exec<{ key: string }>(
      `SELECT key FROM objects AS own WHERE execution = ?1 AND NOT EXISTS
       (SELECT 1 FROM objects WHERE key = own.key AND execution <> ?1)`,
      execution,
    )
    .toArray()
    .map(({ key }) => key)
    .filter((key) => !isAsset(sql, key))

const isAsset = (sql: SqlStorage, key: string): boolean =>
  sql.exec('SELECT 1 FROM assets WHERE sha256 = ?', key.slice(key.lastIndexOf('/') + 1)).toArray().length > 0

/** Whether any result or asset still needs stored bytes. */
export const isUsed = (sql: SqlStorage, key: string): boolean =>
  sql.exec('SELECT 1 FROM objects WHERE key = ?', key).toArray().length > 0 || isAsset(sql, key)

/** Removes a job from every index. With the last that shares a result that goes too; gives bytes nobody needs. */
export function forget(sql: SqlStorage, job: string): string[] {
  const [row] = sql.exec('SELECT execution FROM jobs WHERE id = ? AND open = 0', job).toArray()
  if (row === undefined) return []
  const execution = String(row.execution)
  sql.exec('DELETE FROM jobs WHERE id = ?', job)
  records.drop(sql, job)
  leaveSeat(sql, job)
  const shared = sql.exec(
    'SELECT 1 FROM jobs WHERE id = ?1 UNION ALL SELECT 1 FROM jobs WHERE execution = ?1 AND execution <> id LIMIT 1',
    execution,
  )
  if (shared.toArray().length > 0) return []
  const orphans = objectsOf(sql, execution)
  sql.exec('DELETE FROM objects WHERE execution = ?', execution)
  sql.exec("DELETE FROM executions WHERE id = ? AND state <> 'open'", execution)
  neighbours.strike(sql, execution)
  records.dropOutcome(sql, execution)
  return orphans
}

/** Executions whose stored bytes have had their time, earliest first. */
export const outdated = (sql: SqlStorage, now: number, limit: number): string[] =>
  sql
    .exec<{ id: string }>(
      'SELECT id FROM executions WHERE expires_at > 0 AND expires_at <= ? ORDER BY expires_at LIMIT ?',
      now,
      limit,
    )
    .toArray()
    .map(({ id }) => id)

/** Takes an execution whose bytes are gone out of what is found; its jobs stay as they are. */
export function outdate(sql: SqlStorage, execution: string): void {
  sql.exec("UPDATE executions SET state = 'ended', expires_at = 0 WHERE id = ?", execution)
  sql.exec('DELETE FROM objects WHERE execution = ?', execution)
  neighbours.strike(sql, execution)
}

const never = Number.POSITIVE_INFINITY

/** When something must be opened or given up: unix milliseconds; undefined where nothing waits. */
export function nextDue(sql: SqlStorage, openingMs: number): number | undefined {
  const { opening, ending } = sql
    .exec<{ opening: number | null; ending: number | null }>(
      `SELECT (SELECT MIN(created_at) FROM jobs WHERE ticket IS NOT NULL) AS opening,
       (SELECT MIN(expires_at) FROM executions WHERE expires_at > 0) AS ending`,
    )
    .one()
  const due = Math.min(opening === null ? never : opening + openingMs, ending ?? never)
  return due === never ? undefined : due
}
