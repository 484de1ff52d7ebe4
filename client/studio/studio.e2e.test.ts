import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, chromium as browsers, type Page } from 'playwright'
import { build } from 'vite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chromium, chromiumFlags } from '../../test/browser-project.ts'
import { type StaticServer, staticServer } from '../../test/static-server.ts'
import { toyAssets } from '../../test/toy-assets.ts'
import { studioConfig } from './build.ts'

let folder: string
let server: StaticServer
let context: BrowserContext
let page: Page
const said: string[] = []
const failed: string[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'zoetrope-studio-'))
  await build({
    ...(await studioConfig({ more: toyAssets, outDir: join(folder, 'dist') })),
    configFile: false,
    logLevel: 'error',
  })
  server = await staticServer(join(folder, 'dist'))
  context = await browsers.launchPersistentContext(join(folder, 'profile'), {
    executablePath: chromium,
    args: chromiumFlags,
    ignoreDefaultArgs: ['--headless', '--headless=old'],
    acceptDownloads: true,
  })
  context.setDefaultTimeout(240_000)
  page = await context.newPage()
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
      console.error(`violation of ${violatedDirective} by ${blockedURI}`),
    )
  })
  page.on('console', (message) => message.type() === 'error' && said.push(message.text()))
  page.on('pageerror', ({ message }) => said.push(message))
  page.on('requestfailed', (request) => failed.push(request.url()))
})

afterAll(async () => {
  await context?.close()
  await server?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

async function make(prompt: string): Promise<void> {
  await page.fill('#prompt', prompt)
  await page.press('#prompt', 'Control+Enter')
  await page.waitForSelector('#stop:visible')
  await page.waitForSelector('#stop', { state: 'hidden' })
  expect(await page.textContent('#problem')).toBe('')
}

describe('the studio on a plain static host', () => {
  it('makes a clip by keyboard at the first visit, keeps it and hands out an MP4', async () => {
    await page.goto(server.url)
    await page.waitForSelector('#make:enabled')
    await make('a blue bird flies left over the sea')
    expect(await page.getAttribute('#canvas', 'aria-label')).toBe('Video: a blue bird flies left over the sea')
    expect(await page.locator('.card').count()).toBe(1)
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download')])
    expect(download.suggestedFilename()).toMatch(/^a-blue-bird-flies-left-over-the-sea-\d+\.mp4$/)
    expect((await readFile(await download.path())).subarray(4, 8).toString()).toBe('ftyp')
  })

  it('says which word it does not know, and mends it', async () => {
    await page.fill('#prompt', 'a blue brid flies left')
    expect(await page.textContent('#hint')).toContain('no word “brid”. Did you mean bird?')
    await page.click('#hint button')
    expect(await page.inputValue('#prompt')).toBe('a blue bird flies left')
    await page.click('.word[aria-label="quickly"]')
    expect(await page.inputValue('#prompt')).toMatch(/bird .*left (quickly|fast)/)
  })

  it('works with its server ended and the network cut: loads, makes, plays, downloads, and asks nobody', async () => {
    await page.waitForSelector('#place[data-state="ready"]')
    await server[Symbol.asyncDispose]()
    await context.setOffline(true)
    failed.length = 0
    await page.reload()
    await page.waitForSelector('.card')
    await page.waitForSelector('#make:enabled')
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true)
    // Text is text: what looks like markup is drawn as letters, if at all.
    await make('an orange fox <img src=x onerror=globalThis.broken=1> "><svg onload=globalThis.broken=1>')
    expect(await page.evaluate(() => 'broken' in globalThis)).toBe(false)
    expect(await page.locator('.card').count()).toBe(2)
    await page.focus('#strip')
    await page.press('#strip', 'End')
    expect(await page.getAttribute('#strip', 'aria-valuenow')).toBe('9')
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download')])
    expect((await readFile(await download.path())).subarray(4, 8).toString()).toBe('ftyp')
    expect(failed).toEqual([])
  })

  it('broke neither its policy nor anything else on the way', () => {
    expect(said).toEqual([])
  })
})
