/**
 * Money of one tenant: credits, debits and holds, in millionths of a dollar.
 *
 * Every function is synchronous, so whoever calls several of them between two awaits has them happen as one. The
 * balance never goes below zero and holds belong to open executions alone; a violation throws and undoes the block.
 * The sums are kept beside the entries, so that a reservation costs the same after a million jobs.
 */

import type { Balance } from './contract.ts'

export const ledgerTables = `
  CREATE TABLE IF NOT EXISTS entries (id TEXT PRIMARY KEY, amount INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS holds (execution TEXT PRIMARY KEY, amount INTEGER NOT NULL CHECK (amount >= 0))
    WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS sums (id INTEGER PRIMARY KEY CHECK (id = 1), credits INTEGER NOT NULL,
    debits INTEGER NOT NULL CHECK (debits <= credits), held INTEGER NOT NULL CHECK (held >= 0));
  INSERT OR IGNORE INTO sums SELECT 1, COALESCE(SUM(MAX(amount, 0)), 0), COALESCE(SUM(MAX(-amount, 0)), 0),
    (SELECT COALESCE(SUM(amount), 0) FROM holds) FROM entries;`

export function balanceOf(sql: SqlStorage): Balance {
  const { credits, debits, held } = sql.exec<Record<'credits' | 'debits' | 'held', number>>('SELECT * FROM sums').one()
  return { balance: credits - debits, held, credits, debits }
}

/** Adds credit, once per id. */
export function credit(sql: SqlStorage, id: string, amount: number, now: number): void {
  if (!Number.isSafeInteger(amount) || amount < 0) throw new Error(`credit: got ${amount}, allowed is a whole amount`)
  const known = sql.exec('SELECT 1 FROM entries WHERE id = ?', `credit:${id}`).toArray().length > 0
  if (known) return
  sql.exec('INSERT INTO entries VALUES (?, ?, ?)', `credit:${id}`, amount, now)
  sql.exec('UPDATE sums SET credits = credits + ?', amount)
}

/** Reserves; false where the balance does not cover it. What is free needs no hold. */
export function hold(sql: SqlStorage, execution: string, amount: number): boolean {
  if (!Number.isSafeInteger(amount) || amount < 0) throw new Error(`hold: got ${amount}, allowed is a whole amount`)
  if (amount === 0) return true
  const { balance, held } = balanceOf(sql)
  if (balance - held < amount) return false
  sql.exec('INSERT INTO holds VALUES (?, ?)', execution, amount)
  sql.exec('UPDATE sums SET held = held + ?', amount)
  return true
}

/** Turns a hold into a debit of at most its amount. Without a hold nothing is owed. */
export function debit(sql: SqlStorage, execution: string, amount: number, now: number): number {
  const held = releaseHold(sql, execution)
  const charged = Math.min(Math.max(0, Math.ceil(amount)), held)
  if (charged === 0) return 0
  sql.exec('INSERT INTO entries VALUES (?, ?, ?)', `debit:${execution}`, -charged, now)
  sql.exec('UPDATE sums SET debits = debits + ?', charged)
  return charged
}

/** Gives a hold back; gives how much it was. */
export function releaseHold(sql: SqlStorage, execution: string): number {
  const [row] = sql.exec('SELECT amount FROM holds WHERE execution = ?', execution).toArray()
  if (row === undefined) return 0
  sql.exec('DELETE FROM holds WHERE execution = ?', execution)
  sql.exec('UPDATE sums SET held = held - ?', Number(row.amount))
  return Number(row.amount)
}
