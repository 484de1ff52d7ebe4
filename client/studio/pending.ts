/**
 * Runs on this device that were begun and not ended, so that a reload or the death of a tab costs a step and no clip.
 *
 * Each is held by the tab that runs it, through a lock that dies with the tab: what several tabs make is kept apart, and
 * only what nobody holds any more is taken up, by a page that is opened or by one that is left. Whether it has ended is
 * asked of the database once its lock is ours: what one tab has written there before it let go, every other reads
 * afterwards, which of localStorage no browser promises. Knows no engine; its checkpoints are by request and seed.
 */

import type { VideoRequest } from '../events.ts'
import type { Storage } from './storage.ts'

export interface Begun {
  /** With its seed, so that it goes on with the same noise. */
  readonly request: VideoRequest
  /** The kept clip that it extends. */
  readonly after?: string
}

/** As it is kept. */
interface Run extends Begun {
  readonly id: string
}

/** A run of this tab's: begun here, or left behind and taken up. It stays kept, and held, until it ends. */
export interface KeptRun extends Begun {
  readonly end: () => Promise<void>
}

/** Milliseconds that a tab which is being reloaded may take to let go. */
const dying = 500
/** Milliseconds in which a tab that is being reloaded takes its own run up, before another does. */
const grace = 3000

/**
 * This page is being left. Its threads may fail before it is gone, and a run that fails then has not ended: it stays
 * kept, for whoever comes next.
 */
let leaving = false
const heed = ({ type }: Event) => {
  leaving = type === 'pagehide'
}
for (const kind of ['pagehide', 'pageshow']) addEventListener(kind, heed)

/** Keeps a run that begins here. */
export async function keepRun(storage: Storage, begun: Begun): Promise<KeptRun> {
  const run: Run = { id: crypto.randomUUID(), ...begun }
  const release = await held(run.id)
  // A full storage refuses. To be taken up later is not worth the run itself.
  await storage.put('runs', run).catch(() => {})
  return { ...run, end: () => ended(storage, run.id, release) }
}

/** A run that nobody holds any more; from now on this tab does. */
export async function abandonedRun(storage: Storage): Promise<KeptRun | undefined> {
  for (const { id } of await storage.all<Run>('runs')) {
    const release = await held(id, AbortSignal.timeout(dying))
    if (release === undefined) continue
    // It may have ended while its lock was waited for.
    const run = await storage.find<Run>('runs', id)
    if (run !== undefined) return { ...run, end: () => ended(storage, id, release) }
    release()
  }
  return undefined
}

/**
 * Calls when a run of another tab has been let go: it may have ended, or its tab may have. While it stays kept and free
 * it is told again, since a page that is at work, or slow, takes nothing up.
 */
export async function onLetGo(storage: Storage, call: () => void): Promise<void> {
  const kept = async (id: string) => (await storage.find('runs', id)) !== undefined
  const watch = async (id: string) => {
    while (await kept(id)) {
      const release = await held(id)
      release?.()
      await new Promise((resolve) => setTimeout(resolve, grace))
      if (await kept(id)) call()
    }
  }
  storage.onOthers('runs', (id) => void watch(id))
  for (const { id } of await storage.all<Run>('runs')) void watch(id)
}

/** Whoever gets the lock from here on finds nothing under it; but of a page that is being left it finds the run. */
async function ended(storage: Storage, id: string, release: (() => void) | undefined): Promise<void> {
  if (leaving) return
  await storage.remove('runs', id).catch(() => {})
  release?.()
}

/** A lock's release once it is ours; undefined where another tab has it until the signal. */
async function held(id: string, signal?: AbortSignal): Promise<(() => void) | undefined> {
  if (!('locks' in navigator)) return () => {}
  const { promise: until, resolve: release } = Promise.withResolvers<void>()
  const { promise: granted, resolve: grant, reject } = Promise.withResolvers<void>()
  navigator.locks
    .request(`zoetrope-run-${id}`, signal === undefined ? {} : { signal }, () => {
      grant()
      return until
    })
    .catch(reject)
  return granted.then(
    () => release,
    () => undefined,
  )
}
