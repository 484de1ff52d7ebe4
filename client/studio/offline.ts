/**
 * The page without a network: its service worker, and the only scripts it lets in.
 */

import { buildFor, capabilities } from '../runtime.ts'
import { runtimeFiles } from '../runtime-files.ts'

/** Trusted Types: worker and service worker scripts of this origin, nothing else. */
export function allowOwnScripts(): void {
  const { trustedTypes } = globalThis as {
    trustedTypes?: { createPolicy(name: string, rules: { createScriptURL(url: string): string }): unknown }
  }
  trustedTypes?.createPolicy('default', {
    createScriptURL: (url) => {
      if (new URL(url, location.href).origin === location.origin) return url
      throw new TypeError(`script ${url} is not of this origin`)
    },
  })
}

/** Asks for the runtime's files once more, so that a service worker that came late has them too. */
export async function keepRuntime(): Promise<void> {
  if (import.meta.env.MODE === 'development' || !navigator.onLine) return
  // Where the browser let no service worker in, none is ever ready.
  if ((await navigator.serviceWorker?.getRegistration().catch(() => undefined)) === undefined) return
  await navigator.serviceWorker.ready
  if (navigator.serviceWorker.controller === null) return
  const files = Object.values(runtimeFiles[buildFor(capabilities())])
  // Served from its cache, or from the browser's, wherever they have been fetched before.
  await Promise.all(files.map(async (file) => (await fetch(`/runtime/${file}`)).body?.cancel()))
}

/** Milliseconds that a first visit waits, so that what it fetches is kept. */
const longest = 4000

/**
 * Registers the service worker of a built page and waits until it watches this page, but not long: a private window may
 * have none, and where there is no room to keep it the browser may never answer.
 */
export async function registerOffline(): Promise<void> {
  if (!('serviceWorker' in navigator) || import.meta.env.MODE === 'development') return
  const watching = watchedBy(navigator.serviceWorker).catch(() => {})
  await Promise.race([watching, new Promise((resolve) => setTimeout(resolve, longest))])
}

async function watchedBy(workers: ServiceWorkerContainer): Promise<void> {
  const changed = new Promise((resolve) => workers.addEventListener('controllerchange', resolve, { once: true }))
  await workers.register('/sw.js', { type: 'module' })
  if (workers.controller === null) await changed
}
