/**
 * Where a job is: in a seat of its account while it lives, in the account itself when it is over.
 *
 * The account is asked first, so that an id nobody has wakes no object. A seat's occupant may have been handed over by
 * the time it is asked; then the account has it. Whoever finds neither asked for a job that is not, or is not theirs;
 * the two are one answer.
 */

import type { Job } from '../shared/job.ts'
import { encodeEvent, retryField } from '../shared/sse.ts'
import type { Env } from './env.ts'
import { replayFinished } from './objects/archive.ts'
import {
  accountOf,
  type FinishedJob,
  type GenerationObject,
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

/** A job that is over, as its callers are shown it. */
export const finishedJob = (env: Env, { facts }: FinishedJob): Promise<Job> => presented(facts, () => urlKey(env))

/** Asks a job wherever it is: its object, which answers null where it is not there any more, or what the account has. */
async function ask<Answer>(
  env: Env,
  viewer: Viewer,
  id: string,
  live: (generation: GenerationObject) => Promise<Answer | null>,
  over: (job: FinishedJob) => Answer | Promise<Answer>,
): Promise<Answer | null> {
  const account = accountOf(env, viewer.tenant)
  const found = await account.find(viewerOf(viewer), id)
  const answer = found === null || found.seat === null ? null : await live(generationOf(env, viewer.tenant, found.seat))
  if (answer !== null) return answer
  const finished = found?.seat == null ? found?.finished : (await account.find(viewerOf(viewer), id))?.finished
  return finished == null ? null : over(finished)
}

const askJob = (env: Env, viewer: Viewer, id: string, live: (generation: GenerationObject) => Promise<Job | null>) =>
  ask(env, viewer, id, live, (job) => finishedJob(env, job))

/** A job; null where a viewer sees none. */
export const readJob = (env: Env, viewer: Viewer, id: string): Promise<Job | null> =>
  askJob(env, viewer, id, (generation) => generation.read(viewerOf(viewer), id))

/** A job when it is over, or after a while. */
export const awaitJob = (env: Env, viewer: Viewer, id: string, milliseconds: number): Promise<Job | null> =>
  askJob(env, viewer, id, (generation) => generation.wait(viewerOf(viewer), id, milliseconds))

/** Takes back a caller's interest. One that is over stays as it is. */
export const cancelJob = (env: Env, viewer: Viewer, id: string, caller: string): Promise<Job | null> =>
  askJob(env, viewer, id, (generation) => generation.cancel(viewerOf(viewer), id, caller))

/** What a job was asked to be. */
export const recordOf = (env: Env, viewer: Viewer, id: string): Promise<JobRecord | null> =>
  ask(
    env,
    viewer,
    id,
    (generation) => generation.record(viewerOf(viewer), id),
    ({ facts }) => facts.ticket.record,
  )

/** An output of a job. */
export async function outputOf(
  env: Env,
  viewer: Viewer,
  id: string,
  selection: OutputSelection,
): Promise<OutputAnswer> {
  const answer = await ask(
    env,
    viewer,
    id,
    (generation) => generation.output(viewerOf(viewer), id, selection),
    ({ facts }) => findOutput(facts, selection, Date.now()),
  )
  return answer ?? { kind: 'missing' }
}

/** Erases a job that is over, and what it alone stored. */
export async function eraseJob(env: Env, viewer: Viewer, id: string): Promise<'erased' | 'active' | 'missing'> {
  const answer = await ask<'erased' | 'active' | 'missing'>(
    env,
    viewer,
    id,
    (generation) => generation.erase(viewerOf(viewer), id),
    async () => ((await accountOf(env, viewer.tenant).eraseFinished(viewerOf(viewer), id)) ? 'erased' : 'missing'),
  )
  return answer ?? 'missing'
}

/** The events of a job after a number, as a response with a stream, or 429; null where a viewer sees no job. */
export const listen = (env: Env, viewer: Viewer, id: string, after: number): Promise<Response | null> =>
  ask(
    env,
    viewer,
    id,
    async (generation) => {
      const headers = { 'x-viewer': JSON.stringify(viewerOf(viewer)) }
      const live = await generation.fetch(new Request(`http://generation/${id}/events?after=${after}`, { headers }))
      return live.status === 404 ? null : live
    },
    async (job) => {
      const [key, missed] = [await urlKey(env), replayFinished(job, after, Date.now())]
      const events = missed.map(async (event) => encodeEvent(await signedEvent(event, job.facts.ticket.record, key)))
      return new Response([retryField, ...(await Promise.all(events))].join(''))
    },
  )
