/**
 * Runs on this device that were begun and not ended, so that a reload or the death of a tab costs a step and no clip.
 *
 * Each is held by the tab that runs it, through a lock that dies with the tab: what several tabs make is kept apart, and
 * only what nobody holds any more is taken up by another. Knows no engine; its checkpoints are by request and seed.
 */

import type { VideoRequest } from '../events.ts'
import type { Notes } from './storage.ts'

export interface Begun {
  /** With its seed, so that it goes on with the same noise. */
  readonly request: VideoRequest
  /** The kept clip that it extends. */
  readonly after?: string
}

const prefix = 'zoetrope-run-'
/** Milliseconds that a tab which is being reloaded may take to let go. */
const dying = 500

/** Notes a run until the answer is called. */
export async function keepRun(notes: Notes, begun: Begun): Promise<() => void> {
  const name = prefix + crypto.randomUUID()
  const release = await held(name)
  notes.set(name, JSON.stringify(begun))
  return () => {
    notes.remove(name)
    release?.()
  }
}

/** A run that nobody holds any more; it is told once and forgotten. */
export async function abandonedRun(notes: Notes): Promise<Begun | undefined> {
  for (const name of notes.names().filter((each) => each.startsWith(prefix))) {
    const release = await held(name, AbortSignal.timeout(dying))
    if (release === undefined) continue
    const begun = begunIn(notes.get(name))
    notes.remove(name)
    release()
    if (begun !== undefined) return begun
  }
  return undefined
}

function begunIn(text: string | undefined): Begun | undefined {
  try {
    const data = JSON.parse(text ?? 'null') as Begun | null
    return typeof data?.request === 'object' ? data : undefined
  } catch {
    // Written by no version of this page.
    return undefined
  }
}

/** A lock's release once it is ours; undefined where another tab has it until the signal. */
async function held(name: string, signal?: AbortSignal): Promise<(() => void) | undefined> {
  if (!('locks' in navigator)) return () => {}
  const { promise: until, resolve: release } = Promise.withResolvers<void>()
  const { promise: granted, resolve: grant, reject } = Promise.withResolvers<void>()
  navigator.locks
    .request(name, signal === undefined ? {} : { signal }, () => {
      grant()
      return until
    })
    .catch(reject)
  return granted.then(
    () => release,
    () => undefined,
  )
}
