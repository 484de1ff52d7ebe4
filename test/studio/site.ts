/**
 * The built studio as a visitor meets it: on a plain host of files, with a service behind it where a test wants one, in a
 * Chromium of its own.
 *
 * Listens for everything that must not happen: errors, violations of the page's policy, requests that failed.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, chromium as browsers, type Page } from 'playwright'
import { build } from 'vite'
import type { Assets } from '../../client/studio/assets.ts'
import { studioConfig } from '../../client/studio/build.ts'
import { chromium, chromiumFlags } from '../browser-project.ts'
import { staticServer } from '../static-server.ts'
import { toyAssets } from '../toy-assets.ts'

export interface StudioOptions {
  /** Files in the place of the released models; the toy ones when left out, `null` for the released. */
  readonly more?: (() => Promise<Assets>) | null
  /** Where what the host has not is asked for. */
  readonly upstream?: () => string | undefined
  readonly browserFlags?: readonly string[]
}

export interface StudioSite extends AsyncDisposable {
  readonly url: string
  readonly context: BrowserContext
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

export async function studioSite({
  more = toyAssets,
  upstream,
  browserFlags = [],
}: StudioOptions = {}): Promise<StudioSite> {
  const folder = await mkdtemp(join(tmpdir(), 'zoetrope-studio-'))
  const outDir = join(folder, 'dist')
  await build({
    ...(await studioConfig({ ...(more === null ? {} : { more }), outDir })),
    configFile: false,
    logLevel: 'error',
  })
  const server = await staticServer(outDir, upstream)
  const [said, failed]: [string[], string[]] = [[], []]
  const launch = async () => {
    const context = await browsers.launchPersistentContext(join(folder, 'profile'), {
      executablePath: chromium,
      args: [...chromiumFlags, ...browserFlags],
      ignoreDefaultArgs: ['--headless', '--headless=old'],
      acceptDownloads: true,
    })
    context.setDefaultTimeout(240_000)
    return context
  }
  let context = await launch()
  return {
    url: server.url,
    get context() {
      return context
    },
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
