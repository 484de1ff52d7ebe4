/**
 * What a job does besides its work: the account's index follows it, stored bytes and the log go when their time is over.
 *
 * Each may be done twice, and is done again where it got lost.
 */

import { isTerminal } from '../../shared/job.ts'
import type { Env } from '../env.ts'
import { accountOf } from './contract.ts'
import { shorten } from './event-log.ts'
import type { State } from './generation-state.ts'

export const logLifeMs = 86_400_000

/** Tells the account a status it has not confirmed; true where the state changed. */
export async function note(env: Env, state: State): Promise<boolean> {
  if (state.noted === state.status) return false
  const { status } = state
  await accountOf(env, state.ticket.record.tenant).note(state.ticket.record.id, status)
  state.noted = status
  return true
}

/** Gives stored bytes up when their time is over; the job stays as it is. True where the state changed. */
export async function expire(env: Env, state: State, now: number): Promise<boolean> {
  if (state.expired || !isSpent(state, now)) return false
  const { tenant, id } = state.ticket.record
  const orphans = await accountOf(env, tenant).dropObjects(id)
  if (orphans.length > 0) await env.BUCKET.delete(orphans)
  state.expired = true
  return true
}

/** A result whose time is over, or what was stored on the way to one that never came. */
function isSpent({ result, parts = [], status }: State, now: number): boolean {
  return result === null ? isTerminal(status) && parts.length > 0 : now >= result.expiresAt
}

/** Cuts the log down to its last word a day after the end. True where the state changed. */
export function shortenLog(sql: SqlStorage, state: State, now: number): boolean {
  if (state.shortened || state.completedAt === null || now < state.completedAt + logLifeMs) return false
  shorten(sql)
  state.shortened = true
  return true
}
