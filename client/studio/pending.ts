/**
 * Runs on this device that were begun and not ended, so that a reload or the death of a tab costs a step and no clip.
 *
 * Each is held by the tab that runs it, through a lock that dies with the tab: what several tabs make is kept apart, and
 * only what nobody holds any more is taken up, by a page that is opened or by one that is left. Knows no engine; its
 * checkpoints are by request and seed.
 */

import type { VideoRequest } from '../events.ts'
import type { Notes } from './storage.ts'

export interface Begun {
  /** With its seed, so that it goes on with the same noise. */
  readonly request: VideoRequest
  /** The kept clip that it extends. */
  readonly after?: string
}

/** A run that was left behind. It stays noted, and held by this tab, until it is forgotten. */
export interface Abandoned extends Begun {
  readonly forget: () => void
}

const prefix = 'zoetrope-run-'
/** Milliseconds that a tab which is being reloaded may take to let go. */
const dying = 500
/** Milliseconds in which a tab that is being reloaded takes its own run up, before another does. */
const grace = 3000

/**
 * This page is being left. Its threads may fail before it is gone, and a run that fails then has not ended: it stays
 * noted, for whoever comes next.
 */
let leaving = false
const heed = ({ type }: Event) => {
  leaving = type === 'pagehide'
}
for (const kind of ['pagehide', 'pageshow']) addEventListener(kind, heed)

/** Notes a run until the answer is called. */
export async function keepRun(notes: Notes, begun: Begun): Promise<() => void> {
  const name = prefix + crypto.randomUUID()
  const release = await held(name)
  notes.set(name, JSON.stringify(begun))
  return () => {
    if (leaving) return
    notes.remove(name)
    release?.()
  }
}

/** A run that nobody holds any more; from now on this tab does. */
export async function abandonedRun(notes: Notes): Promise<Abandoned | undefined> {
  for (const name of noted(notes)) {
    const release = await held(name, AbortSignal.timeout(dying))
    if (release === undefined) continue
    const begun = begunIn(notes.get(name))
    const forget = () => {
      notes.remove(name)
      release()
    }
    if (begun !== undefined) return { ...begun, forget }
    forget()
  }
  return undefined
}

/**
 * Calls when a run of another tab has been let go: it may have ended, or its tab may have. While it stays noted and free
 * it is told again, since a page that is at work, or slow, takes nothing up.
 */
export function onLetGo(notes: Notes, call: () => void): void {
  const watch = async (name: string) => {
    while (notes.get(name) !== undefined) {
      const release = await held(name)
      release?.()
      await new Promise((resolve) => setTimeout(resolve, grace))
      if (notes.get(name) !== undefined) call()
    }
  }
  for (const name of noted(notes)) void watch(name)
  notes.onOthers((name) => {
    if (name.startsWith(prefix)) void watch(name)
  })
}

const noted = (notes: Notes): string[] => notes.names().filter((each) => each.startsWith(prefix))

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
