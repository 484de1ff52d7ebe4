/**
 * The studio offline: the page's own files kept at the first visit, the runtime's when they are first used.
 *
 * Models are the model store's business and pass through. Answers are given the headers that isolate a page, so that a
 * static host without them still gets threads from the second load on.
 */

interface WorkerScope extends EventTarget {
  skipWaiting(): Promise<void>
  readonly clients: { claim(): Promise<void> }
  readonly location: Location
}
interface Waitable extends Event {
  waitUntil(work: Promise<unknown>): void
}
interface Fetching extends Event {
  readonly request: Request
  respondWith(answer: Promise<Response>): void
}

const scope = globalThis as unknown as WorkerScope
/** Built beside this file: every file of the page, and a hash of them all. */
interface Inventory {
  readonly build: string
  readonly files: readonly string[]
}

const runtimeCache = 'zoetrope-runtime-1.30.0'
const pagePrefix = 'zoetrope-page-'

scope.addEventListener('install', (event) => {
  ;(event as Waitable).waitUntil(install())
})
scope.addEventListener('activate', (event) => {
  ;(event as Waitable).waitUntil(activate())
})
scope.addEventListener('fetch', (event) => {
  const { request } = event as Fetching
  const url = new URL(request.url)
  if (request.method !== 'GET' || url.origin !== scope.location.origin) return
  if (url.pathname.startsWith('/runtime/')) (event as Fetching).respondWith(kept(request, runtimeCache))
  else if (request.mode === 'navigate' || !/^\/(models|v1|compat)\//.test(url.pathname))
    (event as Fetching).respondWith(page(request))
})

async function install(): Promise<void> {
  const { build, files }: Inventory = await (await fetch('/inventory.json', { cache: 'no-store' })).json()
  const cache = await caches.open(pagePrefix + build)
  await cache.addAll(files)
  await scope.skipWaiting()
}

/** The newest page alone is kept; a runtime of another version is of no use. */
async function activate(): Promise<void> {
  const names = await caches.keys()
  const pages = names.filter((name) => name.startsWith(pagePrefix))
  const outdated = [
    ...pages.slice(0, -1),
    ...names.filter((name) => /^zoetrope-runtime-/.test(name) && name !== runtimeCache),
  ]
  await Promise.all(outdated.map((name) => caches.delete(name)))
  await scope.clients.claim()
}

/** A page's file: as it was installed, else from the network. */
async function page(request: Request): Promise<Response> {
  const asked = request.mode === 'navigate' ? '/' : request
  const found = await caches.match(asked, { ignoreSearch: true }).catch(nothing)
  return isolated(found ?? (await fetch(request)))
}

/** A file that never changes: from the cache, else fetched and kept. */
async function kept(request: Request, name: string): Promise<Response> {
  const cache = await caches.open(name).catch(nothing)
  const found = await cache?.match(request, { ignoreSearch: true }).catch(nothing)
  if (found !== undefined) return isolated(found)
  const response = await fetch(request)
  // A full storage costs the next visit without a network, not this one.
  if (response.ok) await cache?.put(request, response.clone()).catch(() => {})
  return isolated(response)
}

/** What is found where caches fail: with a network the page is there all the same. */
const nothing = () => undefined

function isolated(response: Response): Response {
  // An opaque or failed answer cannot be rebuilt.
  if (response.status === 0 || response.redirected) return response
  const headers = new Headers(response.headers)
  headers.set('Cross-Origin-Opener-Policy', 'same-origin')
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp')
  headers.set('Cross-Origin-Resource-Policy', 'same-origin')
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers })
}
