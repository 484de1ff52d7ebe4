/**
 * Idempotency keys of one tenant: which request each was used for, and what came of it. A day long.
 *
 * Knows no requests: a fingerprint stands for one, a name for its answer.
 */

import type { Idempotency, Refused } from './contract.ts'

export const idempotencyTable = `
  CREATE TABLE IF NOT EXISTS idempotency (key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, answer TEXT NOT NULL,
    expires_at INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS idempotency_by_end ON idempotency (expires_at);`

const lifeMs = 86_400_000

/** What came of an equal request before; null where there was none, a refusal where the key was for another. */
export function recall(
  sql: SqlStorage,
  asked: Idempotency | null,
  now: number,
): { readonly answer: string } | Refused | null {
  if (asked === null) return null
  sql.exec('DELETE FROM idempotency WHERE expires_at <= ?', now)
  const [row] = sql.exec('SELECT fingerprint, answer FROM idempotency WHERE key = ?', asked.key).toArray()
  if (row === undefined) return null
  if (row.fingerprint === asked.fingerprint) return { answer: String(row.answer) }
  return {
    kind: 'refused',
    code: 'idempotency_key_reuse',
    message: 'Idempotency-Key: was used with another body; mint a new key',
  }
}

/** Remembers what came of a request. */
export function remember(sql: SqlStorage, asked: Idempotency | null, answer: string, now: number): void {
  if (asked === null) return
  const { key, fingerprint } = asked
  sql.exec('INSERT OR REPLACE INTO idempotency VALUES (?, ?, ?, ?)', key, fingerprint, answer, now + lifeMs)
}
