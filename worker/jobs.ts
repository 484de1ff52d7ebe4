/**
 * Where a job is: in an object of its own while it lives, in its account when it is over.
 *
 * The object is asked first. It gives a job up only after the account has it, so whoever finds neither there nor here
 * asked for a job that is not, or is not theirs; the two are one answer.
 */

import type { Job } from '../shared/job.ts'
import { encodeEvent, retryField } from '../shared/sse.ts'
import type { Env } from './env.ts'
import { replayFinished } from './objects/archive.ts'
import {
  accountOf,
  type FinishedJob,
  generationOf,
  type JobRecord,
  type OutputAnswer,
  type OutputSelection,
  type Viewer,
  viewerOf,
} from './objects/contract.ts'
import { findOutput, presented, signedEvent } from './objects/generation-state.ts'
import { servicesOf } from './services.ts'

const urlKey = async (env: Env): Promise<CryptoKey> => (await servicesOf(env).secrets()).urls[0] as CryptoKey

const archived = (env: Env, viewer: Viewer, id: string): Promise<FinishedJob | null> =>
  accountOf(env, viewer.tenant).finished(viewerOf(viewer), id)

/** A job that is over, as its callers are shown it. */
export const finishedJob = (env: Env, { facts }: FinishedJob): Promise<Job> => presented(facts, () => urlKey(env))

async function orFinished(env: Env, viewer: Viewer, id: string, job: Job | null): Promise<Job | null> {
  const over = job === null ? await archived(env, viewer, id) : null
  return over === null ? job : finishedJob(env, over)
}

/** A job; null where a viewer sees none. */
export const readJob = async (env: Env, viewer: Viewer, id: string): Promise<Job | null> =>
  orFinished(env, viewer, id, await generationOf(env, id).read(viewerOf(viewer)))

/** A job when it is over, or after a while. */
export const awaitJob = async (env: Env, viewer: Viewer, id: string, milliseconds: number): Promise<Job | null> =>
  orFinished(env, viewer, id, await generationOf(env, id).wait(viewerOf(viewer), milliseconds))

/** Takes back a caller's interest. One that is over stays as it is. */
export const cancelJob = async (env: Env, viewer: Viewer, id: string, caller: string): Promise<Job | null> =>
  orFinished(env, viewer, id, await generationOf(env, id).cancel(viewerOf(viewer), caller))

/** What a job was asked to be. */
export async function recordOf(env: Env, viewer: Viewer, id: string): Promise<JobRecord | null> {
  const record = await generationOf(env, id).record(viewerOf(viewer))
  return record ?? (await archived(env, viewer, id))?.facts.ticket.record ?? null
}

/** An output of a job. */
export async function outputOf(
  env: Env,
  viewer: Viewer,
  id: string,
  selection: OutputSelection,
): Promise<OutputAnswer> {
  const answer = await generationOf(env, id).output(viewerOf(viewer), selection)
  const over = answer.kind === 'missing' ? await archived(env, viewer, id) : null
  return over === null ? answer : findOutput(over.facts, selection, Date.now())
}

/** Erases a job that is over, and what it alone stored. */
export async function eraseJob(env: Env, viewer: Viewer, id: string): Promise<'erased' | 'active' | 'missing'> {
  const outcome = await generationOf(env, id).erase(viewerOf(viewer))
  if (outcome !== 'missing') return outcome
  return (await accountOf(env, viewer.tenant).eraseFinished(viewerOf(viewer), id)) ? 'erased' : 'missing'
}

/** The events of a job after a number, as a response with a stream; 404 and 429 have none. */
export async function listen(env: Env, viewer: Viewer, id: string, after: number): Promise<Response> {
  const headers = { 'x-viewer': JSON.stringify(viewerOf(viewer)) }
  const asked = new Request(`http://generation/events?after=${after}`, { headers })
  const live = await generationOf(env, id).fetch(asked)
  const over = live.status === 404 ? await archived(env, viewer, id) : null
  if (over === null) return live
  const [key, missed] = [await urlKey(env), replayFinished(over, after, Date.now())]
  const events = missed.map(async (event) => encodeEvent(await signedEvent(event, over.facts.ticket.record, key)))
  return new Response([retryField, ...(await Promise.all(events))].join(''))
}
