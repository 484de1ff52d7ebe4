import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, chromium as browsers, type Page } from 'playwright'
import { createServer, type ViteDevServer } from 'vite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chromium, chromiumFlags } from '../test/browser-project.ts'
import { root } from '../test/sources.ts'
import { toyAssets } from '../test/toy-assets.ts'
import { isolationHeaders, zoetropeAssets } from './studio/assets.ts'

let server: ViteDevServer
let browser: Browser
let address: string
let folder: string
const said: string[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'zoetrope-examples-'))
  server = await createServer({
    configFile: false,
    root,
    cacheDir: join(folder, 'cache'),
    logLevel: 'error',
    plugins: [zoetropeAssets({ more: toyAssets })],
    resolve: { alias: { 'zoetrope/client': join(root, 'client/index.ts') } },
    // Found late they would reload the page in the middle of a test.
    optimizeDeps: {
      include: ['valibot', 'mediabunny', 'react', 'react-dom/client', 'react/jsx-dev-runtime'],
      entries: [],
    },
    server: {
      host: '127.0.0.1',
      port: 0,
      headers: isolationHeaders,
      watch: null,
      hmr: false,
    },
  })
  await server.listen()
  address = server.resolvedUrls?.local[0] as string
  browser = await browsers.launch({
    executablePath: chromium,
    args: chromiumFlags,
    ignoreDefaultArgs: ['--headless', '--headless=old'],
  })
}, 120_000)

afterAll(async () => {
  await browser?.close()
  await server?.close()
  await rm(folder, { recursive: true, force: true })
})

async function opened(path: string): Promise<Page> {
  const page = await (await browser.newContext()).newPage()
  page.setDefaultTimeout(120_000)
  // Browsers ask for one by themselves; an example has none.
  await page.route('**/favicon.ico', (route) => route.fulfill({ status: 204 }))
  page.on('console', (message) => message.type() === 'error' && said.push(message.text()))
  page.on('pageerror', ({ message }) => said.push(message))
  await page.goto(`${address}${path}`)
  return page
}

/** Waits until the page's video has a picture of the toy's size. */
async function plays(page: Page, label: string): Promise<void> {
  await page.waitForSelector(`video[aria-label="${label}"]`)
  await page.waitForFunction(() => (document.querySelector('video') as HTMLVideoElement).videoWidth === 32)
  expect(await page.evaluate(() => (document.querySelector('video') as HTMLVideoElement).error)).toBeNull()
}

describe('an example in a page', { timeout: 240_000 }, () => {
  it('of three lines makes a video', async () => {
    await plays(await opened('examples/three-lines.html'), 'a blue bird flies left over the sea')
  })

  it('without code makes a video', async () => {
    await plays(await opened('examples/element.html'), 'an orange fox jumps in the snow')
  })

  it('says nothing in the console', () => {
    expect(said).toEqual([])
  })
})
