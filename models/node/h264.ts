/**
 * The H.264 encoder, without what it does to the process that loads it.
 *
 * As it is loaded, its Emscripten runtime listens for uncaught exceptions and unhandled rejections of the whole process
 * and ends it with its own source as the message. A server must not have that, so those listeners are taken off again.
 */

import { createRequire } from 'node:module'
import type HME from 'h264-mp4-encoder'

const events = ['uncaughtException', 'unhandledRejection'] as const

let loaded: typeof HME | undefined

/** The package, loaded at the first use. */
export function h264(): typeof HME {
  loaded ??= withoutListeners(() => createRequire(import.meta.url)('h264-mp4-encoder') as typeof HME)
  return loaded
}

/** Synchronous, so that every listener added meanwhile is the package's. */
function withoutListeners<T>(load: () => T): T {
  const listeners = (event: string) => process.rawListeners(event) as ((...words: unknown[]) => void)[]
  const before = events.map((event) => new Set(listeners(event)))
  const result = load()
  events.forEach((event, index) => {
    for (const listener of listeners(event)) {
      if (before[index]?.has(listener) === false) process.off(event as 'uncaughtException', listener)
    }
  })
  return result
}
