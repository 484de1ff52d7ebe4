/**
 * Hooks a job has heard already, by delivery: a second one of the same name says nothing new.
 */

export const heardTable =
  'CREATE TABLE IF NOT EXISTS hooks (delivery TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;'

/** Longer than a signature is good for, so that none can be heard twice. */
const memoryMs = 3_600_000

/** Whether a delivery is heard for the first time; it is remembered from here on. */
export function isNews(sql: SqlStorage, delivery: string, now: number): boolean {
  sql.exec('DELETE FROM hooks WHERE at < ?', now - memoryMs)
  return sql.exec('INSERT OR IGNORE INTO hooks VALUES (?, ?)', delivery, now).rowsWritten > 0
}
