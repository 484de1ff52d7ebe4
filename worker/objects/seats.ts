/**
 * Seats of one tenant: numbered objects in which its jobs live, one after another.
 *
 * An object that was ever spoken to is a file for good, also when it holds nothing. So a job gets the lowest free seat,
 * and gives it back when it is over: there are as many objects as there were ever jobs at once.
 */

export const seatTables = `
  CREATE TABLE IF NOT EXISTS seats (number INTEGER PRIMARY KEY, job TEXT);
  CREATE INDEX IF NOT EXISTS free_seats ON seats (number) WHERE job IS NULL;
  CREATE UNIQUE INDEX IF NOT EXISTS taken_seats ON seats (job) WHERE job IS NOT NULL;`

/** Gives a job a seat. */
export function take(sql: SqlStorage, job: string): number {
  const free = 'SELECT number FROM seats WHERE job IS NULL ORDER BY number LIMIT 1'
  const taken = sql.exec<{ number: number }>(`UPDATE seats SET job = ? WHERE number = (${free}) RETURNING number`, job)
  const [row = sql.exec<{ number: number }>('INSERT INTO seats (job) VALUES (?) RETURNING number', job).one()] =
    taken.toArray()
  return row.number
}

/** The seat of a job; null where it has none, no longer or not at all. */
export function seatOf(sql: SqlStorage, job: string): number | null {
  const [row] = sql.exec<{ number: number }>('SELECT number FROM seats WHERE job = ?', job).toArray()
  return row?.number ?? null
}

/** Frees the seat of a job. Whoever takes it next removes what may still lie there. */
export function leaveSeat(sql: SqlStorage, job: string): void {
  sql.exec('UPDATE seats SET job = NULL WHERE job = ?', job)
}
