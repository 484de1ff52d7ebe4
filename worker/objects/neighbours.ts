/**
 * Runs by what their prompts mean, so that a similar request can begin from the latents they left on their way.
 *
 * One tenant's, and within it one subject's. A row is written with the run's reservation and found once its result is
 * stored; it goes with the result. Vectors have length one, so their product is the cosine.
 */

import { cosine } from '../../shared/likeness.ts'
import type { KeptLatents, NeighbourEntry, NeighbourQuery, SimilarStart } from './contract.ts'
import { resultOf } from './records.ts'

export const neighbourTable = `
  CREATE TABLE IF NOT EXISTS neighbours (number INTEGER PRIMARY KEY, execution TEXT NOT NULL UNIQUE,
    subject TEXT NOT NULL, space TEXT NOT NULL, seed INTEGER NOT NULL, prompt TEXT NOT NULL, vector BLOB NOT NULL);
  CREATE INDEX IF NOT EXISTS neighbours_by_space ON neighbours (subject, space);`

/** Of one subject and space; the oldest are no longer found. Comparing more would hold up the account. */
const most = 256

/** Writes a run down. */
export function enter(
  sql: SqlStorage,
  execution: string,
  subject: string,
  seed: number,
  { space, promptSha256, vector }: NeighbourEntry,
): void {
  sql.exec(
    'INSERT INTO neighbours (execution, subject, space, seed, prompt, vector) VALUES (?, ?, ?, ?, ?, ?)',
    execution,
    subject,
    space,
    seed,
    promptSha256,
    Uint8Array.from(new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength)),
  )
  sql.exec(
    `DELETE FROM neighbours WHERE subject = ?1 AND space = ?2 AND number <= (SELECT number FROM neighbours
     WHERE subject = ?1 AND space = ?2 ORDER BY number DESC LIMIT 1 OFFSET ${most})`,
    subject,
    space,
  )
}

export const strike = (sql: SqlStorage, execution: string): unknown =>
  sql.exec('DELETE FROM neighbours WHERE execution = ?', execution)

/** What an execution left for similar ones; null where its time is over, or it left nothing. */
export function keptOf(sql: SqlStorage, execution: string, now: number): KeptLatents | null {
  const there = sql.exec(
    "SELECT 1 FROM executions WHERE id = ? AND state = 'stored' AND expires_at > ?",
    execution,
    now,
  )
  return there.toArray().length === 0 ? null : (resultOf(sql, execution)?.kept ?? null)
}

/**
 * The likest run that a request may begin from. A request without a seed takes that of the run, but never of one of its
 * own prompt: asked again, it wants another clip.
 */
export function nearest(sql: SqlStorage, query: NeighbourQuery): SimilarStart | null {
  const rows = sql
    .exec<{ execution: string; vector: ArrayBuffer }>(
      `SELECT execution, vector FROM neighbours WHERE subject = ?1 AND space = ?2
       AND CASE WHEN ?3 IS NULL THEN prompt <> ?4 ELSE seed = ?3 END`,
      query.subject,
      query.space,
      query.seed,
      query.promptSha256,
    )
    .toArray()
  const likest = rows
    .map(({ execution, vector }) => ({
      job: execution,
      score: rounded(cosine(query.vector, new Float32Array(vector))),
    }))
    .filter(({ score }) => score >= query.minScore)
    .sort((one, other) => other.score - one.score)
  for (const { job, score } of likest) {
    const kept = keptOf(sql, job, query.now)
    if (kept !== null) return { job, score, ...kept }
  }
  return null
}

/** As it is told, so that what is told is what was compared. */
const rounded = (score: number): number => Math.round(score * 1e4) / 1e4
