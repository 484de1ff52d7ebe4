/**
 * A job's events with their numbers, kept so that a reader can come back and miss nothing that matters.
 *
 * Progress and previews collapse to the newest as they are written, so the log stays short however long a job runs.
 */

import { isTransient, type WireEvent } from '../../shared/events.ts'
import type { NumberedEvent } from '../../shared/sse.ts'

export const logTable =
  'CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, type TEXT NOT NULL, data TEXT NOT NULL);'

/** Appends under the next number; numbers rise by one and are never used again. */
export function append(sql: SqlStorage, event: WireEvent): NumberedEvent {
  const seq = lastSeq(sql) + 1
  if (isTransient(event.type)) sql.exec('DELETE FROM log WHERE type = ?', event.type)
  sql.exec('INSERT INTO log VALUES (?, ?, ?)', seq, event.type, JSON.stringify(event))
  sql.exec("INSERT OR REPLACE INTO meta VALUES ('seq', ?)", String(seq))
  return { seq, event }
}

export function lastSeq(sql: SqlStorage): number {
  const [row] = sql.exec("SELECT value FROM meta WHERE name = 'seq'").toArray()
  return Number(row?.value ?? 0)
}

/** What came after a number. Beyond the end there is only where things stand: the newest status. */
export function replay(sql: SqlStorage, after: number): NumberedEvent[] {
  const rows =
    after > lastSeq(sql)
      ? sql.exec("SELECT seq, data FROM log WHERE type = 'status' ORDER BY seq DESC LIMIT 1")
      : sql.exec('SELECT seq, data FROM log WHERE seq > ? ORDER BY seq', after)
  return rows.toArray().map(({ seq, data }) => ({ seq: Number(seq), event: JSON.parse(String(data)) as WireEvent }))
}

/** Forgets how it looked on the way: pictures are large, and what is over is seen whole. */
export function forgetPreviews(sql: SqlStorage): void {
  sql.exec("DELETE FROM log WHERE type = 'preview'")
}

/** Forgets everything but the final status. */
export function shorten(sql: SqlStorage): void {
  sql.exec("DELETE FROM log WHERE seq < (SELECT MAX(seq) FROM log WHERE type = 'status') OR type <> 'status'")
}
