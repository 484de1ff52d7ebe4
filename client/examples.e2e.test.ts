import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, chromium as browsers, type Page } from 'playwright'
import { createServer, type Plugin, type ViteDevServer } from 'vite'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { chromium, quickFlags } from '../test/browser-project.ts'
import { root } from '../test/sources.ts'
import { toyAssets } from '../test/toy-assets.ts'
import { isolationHeaders, zoetropeAssets } from './studio/assets.ts'

let server: ViteDevServer
let browser: Browser
let address: string
let folder: string
const said: string[] = []

/** What the example imports as React tells of states that are set too late. */
const watchedReact: Plugin = {
  name: 'watched-react',
  enforce: 'pre',
  resolveId: (source, importer) =>
    source === 'react' && importer?.endsWith('/examples/react.tsx')
      ? join(root, 'test/examples/watched-react.ts')
      : null,
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'zoetrope-examples-'))
  server = await createServer({
    configFile: false,
    root,
    cacheDir: join(folder, 'cache'),
    logLevel: 'error',
    plugins: [zoetropeAssets({ more: toyAssets }), watchedReact],
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
    args: quickFlags,
    ignoreDefaultArgs: ['--headless', '--headless=old'],
  })
}, 120_000)

// A video that plays on costs those after it their processor.
afterEach(() => Promise.all(browser.contexts().map((each) => each.close())))
afterAll(async () => {
  await browser?.close()
  await server?.close()
  await rm(folder, { recursive: true, force: true })
})

interface Counts {
  /** Runs that reached the engine, and runs that it has answered for. */
  begun: number
  ended: number
  /** Object URLs that were made and not freed. */
  addresses: number
  /** States set by a component that had gone (test/examples/watched-react.ts). */
  late: number
}

const counted = (page: Page) => page.evaluate(() => (globalThis as unknown as { counts: Counts }).counts)

/** In a page, before its own scripts: a GPU in software takes long, and one example has shown it. */
const withoutGpu = () => void Reflect.deleteProperty(Navigator.prototype, 'gpu')

/** In a page, before its own scripts. */
function watching(): void {
  Reflect.deleteProperty(Navigator.prototype, 'gpu')
  const counts: Counts = { begun: 0, ended: 0, addresses: 0, late: 0 }
  Object.assign(globalThis, { counts })
  const [make, free, post] = [URL.createObjectURL, URL.revokeObjectURL, Worker.prototype.postMessage]
  URL.createObjectURL = (file) => {
    counts.addresses += 1
    return make.call(URL, file)
  }
  URL.revokeObjectURL = (address) => {
    counts.addresses -= 1
    free.call(URL, address)
  }
  Worker.prototype.postMessage = function (this: Worker, message: { kind?: string; id?: number }, more?: object) {
    if (message.kind === 'generate') {
      counts.begun += 1
      this.addEventListener('message', ({ data }: MessageEvent<{ kind: string; id: number }>) => {
        if (data.id === message.id && /^(result|failure)$/.test(data.kind)) counts.ended += 1
      })
    }
    post.call(this, message, more)
  }
}

async function opened(path: string, before: () => void = () => {}): Promise<Page> {
  const page = await (await browser.newContext()).newPage()
  await page.addInitScript(before)
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
    await plays(await opened('examples/element.html', withoutGpu), 'an orange fox jumps in the snow')
  })

  it('of React, where strict mode does everything twice, makes one video, and leaves nothing when it goes', async () => {
    const page = await opened('test/examples/strict.html', watching)
    await plays(page, 'a red boat')
    // Begun twice and undone once, before the first reached the engine.
    expect(await counted(page)).toEqual({ begun: 1, ended: 1, addresses: 1, late: 0 })
    await page.click('#another')
    await plays(page, 'a pink cup')
    expect(await counted(page)).toEqual({ begun: 2, ended: 2, addresses: 1, late: 0 })
    await page.click('#away')
    await expect.poll(() => counted(page)).toEqual({ begun: 2, ended: 2, addresses: 0, late: 0 })
  })

  it('of React that goes in the middle of a run is told nothing more', async () => {
    const page = await opened('test/examples/strict.html', watching)
    await page.waitForFunction(() => (globalThis as unknown as { counts: Counts }).counts.begun === 1)
    await page.click('#away')
    await page.waitForFunction(() => (globalThis as unknown as { counts: Counts }).counts.ended === 1)
    // What the page makes of the answer is done before it looks for the next message.
    expect(await counted(page)).toEqual({ begun: 1, ended: 1, addresses: 0, late: 0 })
  })

  it('says nothing in the console', () => {
    expect(said).toEqual([])
  })
})
