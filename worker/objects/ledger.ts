/**
 * Money of one tenant: credits, debits and holds, in millionths of a dollar.
 *
 * Every function is synchronous, so whoever calls several of them between two awaits has them happen as one. The
 * balance never goes below zero and holds belong to open executions alone; a violation throws and undoes the block.
 */

import type { Balance } from './contract.ts'

export const ledgerTables = `
  CREATE TABLE IF NOT EXISTS entries (id TEXT PRIMARY KEY, amount INTEGER NOT NULL, at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS holds (execution TEXT PRIMARY KEY, amount INTEGER NOT NULL CHECK (amount >= 0));`

const total = (sql: SqlStorage, query: string): number =>
  Number(sql.exec(`SELECT (${query}) AS value`).one().value ?? 0)

export function balanceOf(sql: SqlStorage): Balance {
  const credits = total(sql, 'SELECT SUM(amount) FROM entries WHERE amount > 0')
  const debits = -total(sql, 'SELECT SUM(amount) FROM entries WHERE amount < 0')
  return { balance: credits - debits, held: total(sql, 'SELECT SUM(amount) FROM holds'), credits, debits }
}

/** Adds credit, once per id. */
export function credit(sql: SqlStorage, id: string, amount: number, now: number): void {
  if (!Number.isSafeInteger(amount) || amount < 0) throw new Error(`credit: got ${amount}, allowed is a whole amount`)
  sql.exec('INSERT OR IGNORE INTO entries VALUES (?, ?, ?)', `credit:${id}`, amount, now)
}

/** Reserves; false where the balance does not cover it. */
export function hold(sql: SqlStorage, execution: string, amount: number): boolean {
  if (!Number.isSafeInteger(amount) || amount < 0) throw new Error(`hold: got ${amount}, allowed is a whole amount`)
  const { balance, held } = balanceOf(sql)
  if (balance - held < amount) return false
  sql.exec('INSERT INTO holds VALUES (?, ?)', execution, amount)
  return true
}

/** Turns a hold into a debit of at most its amount. Without a hold nothing is owed. */
export function debit(sql: SqlStorage, execution: string, amount: number, now: number): number {
  const [row] = sql.exec('SELECT amount FROM holds WHERE execution = ?', execution).toArray()
  if (row === undefined) return 0
  const charged = Math.min(Math.max(0, Math.ceil(amount)), Number(row.amount))
  sql.exec('DELETE FROM holds WHERE execution = ?', execution)
  if (charged > 0) sql.exec('INSERT INTO entries VALUES (?, ?, ?)', `debit:${execution}`, -charged, now)
  if (balanceOf(sql).balance < 0) throw new Error(`ledger: the debit of ${execution} would leave less than nothing`)
  return charged
}

/** Gives a hold back. */
export function releaseHold(sql: SqlStorage, execution: string): void {
  sql.exec('DELETE FROM holds WHERE execution = ?', execution)
}
