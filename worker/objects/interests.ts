/**
 * Who still wants a job: callers that asked for it, and jobs that share its execution. It stops when nobody is left.
 */

export const interestTables = `
  CREATE TABLE IF NOT EXISTS interests (caller TEXT PRIMARY KEY) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS followers (job TEXT PRIMARY KEY, seat INTEGER NOT NULL) WITHOUT ROWID;`

const maxInterests = 10_000

const count = (sql: SqlStorage, table: 'interests' | 'followers'): number =>
  Number(sql.exec(`SELECT COUNT(*) AS value FROM ${table}`).one().value)

export function join(sql: SqlStorage, caller: string): void {
  if (count(sql, 'interests') < maxInterests) sql.exec('INSERT OR IGNORE INTO interests VALUES (?)', caller)
}

/** Takes back a caller's interest; true where nobody's is left. A key that never asked speaks for its whole tenant. */
export function leave(sql: SqlStorage, caller: string, wholeTenant: boolean): boolean {
  const had = sql.exec('DELETE FROM interests WHERE caller = ?', caller).rowsWritten > 0
  if (!had && wholeTenant) sql.exec('DELETE FROM interests')
  return count(sql, 'interests') === 0
}

export const followerCount = (sql: SqlStorage): number => count(sql, 'followers')

export const addFollower = (sql: SqlStorage, job: string, seat: number): unknown =>
  sql.exec('INSERT OR IGNORE INTO followers VALUES (?, ?)', job, seat)

export const removeFollower = (sql: SqlStorage, job: string): unknown =>
  sql.exec('DELETE FROM followers WHERE job = ?', job)

/** The seats of all followers. */
export const followers = (sql: SqlStorage): number[] =>
  sql
    .exec<{ seat: number }>('SELECT seat FROM followers')
    .toArray()
    .map(({ seat }) => seat)
