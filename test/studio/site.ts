/**
 * The built studio, or the built SDK alone, as a visitor meets it: on a plain host of files, in a Chromium of its own.
 *
 * Listens for everything that must not happen: errors, violations of the page's policy, requests that failed.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, chromium as browsers, type Page } from 'playwright'
import { isolationHeaders } from '../../client/studio/assets.ts'
import { chromium, chromiumFlags, quickFlags } from '../browser-project.ts'
import { type StaticServerOptions, staticServer } from '../static-server.ts'
import { toyAssets } from '../toy-assets.ts'
import { type Built, type Models, place } from './builds.ts'

export interface SiteOptions {
  /** Files in the place of the released models; the toy ones when left out, `null` for the released. */
  readonly more?: Models
  /** Where what the host has not is asked for. */
  readonly upstream?: () => string | undefined
  readonly browserFlags?: readonly string[]
  /** Whether the browser compiles as a visitor's does, for what is measured. */
  readonly measured?: boolean
}

export interface StudioSite extends AsyncDisposable {
  readonly url: string
  /** What the host serves. */
  readonly folder: string
  readonly context: BrowserContext
  /** The folder of the browser's profile, by which its processes are known. */
  readonly profile: string
  /** Errors and violations, as they were said. */
  readonly said: string[]
  /** Addresses of requests that failed. */
  readonly failed: string[]
  readonly open: () => Promise<Page>
  /** Ends the host; the page goes on. */
  readonly endHost: () => Promise<void>
  /** Opens a fresh browser over the same profile, after the last one was closed or died. */
  readonly relaunch: () => Promise<void>
}

/** The studio. */
export async function studioSite({ more = toyAssets, upstream, ...options }: SiteOptions = {}): Promise<StudioSite> {
  return siteOf('studio', more, options, { upstream })
}

/** An empty page with the built SDK as `sdk`, isolated as a page with wasm threads is. */
export async function sdkSite({ more = toyAssets, ...options }: SiteOptions = {}): Promise<StudioSite> {
  return siteOf(
    'sdk',
    more,
    options,
    { headers: isolationHeaders },
    '<!doctype html><title>SDK</title><script type="module">globalThis.sdk = await import("./index.js")</script>',
  )
}

async function siteOf(
  what: Built,
  models: Models,
  { browserFlags = [], measured = false }: SiteOptions,
  host: StaticServerOptions,
  page?: string,
): Promise<StudioSite> {
  const folder = await mkdtemp(join(tmpdir(), 'zoetrope-site-'))
  const outDir = join(folder, 'dist')
  await place(what, models, outDir)
  if (page !== undefined) await writeFile(join(outDir, 'index.html'), page)
  const server = await staticServer(outDir, host)
  const [said, failed]: [string[], string[]] = [[], []]
  const profile = join(folder, 'profile')
  const launch = async () => {
    const context = await browsers.launchPersistentContext(profile, {
      executablePath: chromium,
      args: [...(measured ? chromiumFlags : quickFlags), ...browserFlags],
      ignoreDefaultArgs: ['--headless', '--headless=old'],
      acceptDownloads: true,
    })
    context.setDefaultTimeout(240_000)
    return context
  }
  let context = await launch()
  return {
    url: server.url,
    folder: outDir,
    get context() {
      return context
    },
    profile,
    said,
    failed,
    open: async () => {
      const page = await context.newPage()
      await listen(page, said, failed)
      return page
    },
    endHost: async () => server[Symbol.asyncDispose](),
    relaunch: async () => {
      await context.close().catch(() => {})
      context = await launch()
    },
    [Symbol.asyncDispose]: async () => {
      await context.close().catch(() => {})
      await server[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function listen(page: Page, said: string[], failed: string[]): Promise<void> {
  await page.addInitScript(() => {
    Object.assign(globalThis, { violations: 0 })
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
      ;(globalThis as unknown as { violations: number }).violations += 1
      console.error(`violation of ${violatedDirective} by ${blockedURI}`)
    })
  })
  page.on('console', (message) => message.type() === 'error' && said.push(message.text()))
  page.on('pageerror', ({ message }) => said.push(message))
  page.on('requestfailed', (request) => failed.push(request.url()))
}

/** Takes the GPU from pages opened afterwards: where it does not matter, the processor is many times faster than one in software. */
export const withoutGpu = (context: BrowserContext): Promise<void> =>
  context.addInitScript(() => Reflect.deleteProperty(Navigator.prototype, 'gpu')).then(() => {})

/** How many runs were begun on this device and have not ended, as the studio keeps them. */
export const runsKept = (page: Page): Promise<number> =>
  page.evaluate(async () => {
    const settled = <T>(request: IDBRequest<T>) =>
      new Promise<T>((resolve, reject) => {
        request.onsuccess = () => resolve(request.result)
        request.onerror = () => reject(request.error)
      })
    const database = await settled(indexedDB.open('zoetrope-studio'))
    const count = await settled(database.transaction('runs').objectStore('runs').count())
    database.close()
    return count
  })

/** Waits until a page can make a clip. */
export async function ready(page: Page): Promise<void> {
  await page.waitForSelector('#place[data-state="ready"]')
  await page.waitForSelector('#make:enabled')
}

/** Holds weights back until the answer is called: a run that needs them lasts as long as it is looked at. */
export async function withoutWeights(context: BrowserContext): Promise<() => void> {
  const come = Promise.withResolvers<void>()
  await context.route(/\/models\/weights\//, async (route) => {
    await come.promise
    await route.continue()
  })
  return come.resolve
}

/** Makes a clip as a visitor does, by keyboard; @throws Error with what the page says where it fails. */
export async function makeVideo(page: Page, prompt: string): Promise<void> {
  await page.fill('#prompt', prompt)
  await oneMore(page, () => page.press('#prompt', 'Control+Enter'))
}

/** Does what begins a run and waits until its clip is among those kept; a run may be over before it can be seen. */
export async function oneMore(page: Page, begin: () => Promise<void>): Promise<void> {
  const before = await page.locator('.card').count()
  await begin()
  await page.waitForFunction((cards) => {
    const problem = document.getElementById('problem')
    return document.querySelectorAll('.card').length > cards || problem?.hidden === false
  }, before)
  const problem = await page.textContent('#problem')
  if (await page.isVisible('#problem')) throw new Error(problem ?? 'no reason was said')
  await page.waitForSelector('#make:enabled')
}
