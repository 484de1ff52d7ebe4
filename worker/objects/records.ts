/**
 * What stays of jobs and executions when they are over: packed, one row each, written one after another.
 *
 * Rows go to the end of their table, so pages are full whatever the ids; a result is kept once, however many jobs
 * share it.
 */

import { packed, unpacked, unpackJob } from './archive.ts'
import type { FinishedJob, Outcome, StoredResult } from './contract.ts'

export const recordTables = `
  CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY, job TEXT NOT NULL UNIQUE, data BLOB NOT NULL);
  CREATE TABLE IF NOT EXISTS outcomes (number INTEGER PRIMARY KEY, execution TEXT NOT NULL UNIQUE, data BLOB NOT NULL);`

/** Keeps a job that is over, as archive.ts packs it: bytes, or text, which the column keeps as such. */
export function keep(sql: SqlStorage, job: string, row: Uint8Array<ArrayBuffer> | string): void {
  sql.exec(
    'INSERT INTO records (job, data) VALUES (?, ?) ON CONFLICT (job) DO UPDATE SET data = excluded.data',
    job,
    row,
  )
}

export const drop = (sql: SqlStorage, job: string): unknown => sql.exec('DELETE FROM records WHERE job = ?', job)

/** Keeps how an execution ended. */
export function keepOutcome(sql: SqlStorage, execution: string, outcome: Outcome): void {
  sql.exec('INSERT OR IGNORE INTO outcomes (execution, data) VALUES (?, ?)', execution, packed(outcome))
}

export function dropOutcome(sql: SqlStorage, execution: string): void {
  sql.exec('DELETE FROM outcomes WHERE execution = ?', execution)
  unpackedOf.get(sql)?.delete(execution)
}

/** Outcomes never change, and one that is asked for is asked for again: they are unpacked once. */
const unpackedOf = new WeakMap<SqlStorage, Map<string, Outcome>>()
const unpackedMost = 64

/** How an execution ended; null where it has not. */
export function outcomeOf(sql: SqlStorage, execution: string): Outcome | null {
  const memory = unpackedOf.get(sql) ?? new Map<string, Outcome>()
  unpackedOf.set(sql, memory)
  const known = memory.get(execution)
  if (known !== undefined) return known
  const [row] = sql.exec<{ data: ArrayBuffer }>('SELECT data FROM outcomes WHERE execution = ?', execution).toArray()
  if (row === undefined) return null
  const outcome = unpacked(row.data) as Outcome
  if (memory.size >= unpackedMost) memory.clear()
  memory.set(execution, outcome)
  return outcome
}

/** The result an execution ended with. */
export function resultOf(sql: SqlStorage, execution: string): StoredResult | null {
  const outcome = outcomeOf(sql, execution)
  return outcome?.kind === 'completed' ? outcome.result : null
}

/** A job that is over, where it has no object any more. */
export function finished(sql: SqlStorage, job: string): FinishedJob | null {
  const [row] = sql
    .exec<{ data: ArrayBuffer | string; execution: string }>(
      'SELECT data, execution FROM records JOIN jobs ON jobs.id = records.job WHERE records.job = ?',
      job,
    )
    .toArray()
  return row === undefined ? null : unpackJob(row.data, resultOf(sql, row.execution))
}
