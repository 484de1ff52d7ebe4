/**
 * What a job does besides its work: the account's index follows it, and the log goes when its time is over.
 *
 * Each may be done twice, and is done again where it got lost.
 */

import type { Env } from '../env.ts'
import { logLifeMs } from './archive.ts'
import { accountOf } from './contract.ts'
import { shorten } from './event-log.ts'
import type { State } from './generation-state.ts'

/** Tells the account a status it has not confirmed; true where the state changed. */
export async function note(env: Env, state: State): Promise<boolean> {
  if (state.noted === state.status) return false
  const { status } = state
  await accountOf(env, state.ticket.record.tenant).note(state.ticket.record.id, status)
  state.noted = status
  return true
}

/** Cuts the log down to its last word a day after the end. True where the state changed. */
export function shortenLog(sql: SqlStorage, state: State, now: number): boolean {
  if (state.shortened || state.completedAt === null || now < state.completedAt + logLifeMs) return false
  shorten(sql)
  state.shortened = true
  return true
}
