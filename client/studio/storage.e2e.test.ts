import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ready, type StudioSite, studioSite, withoutGpu, withoutWeights } from '../../test/studio/site.ts'

let site: StudioSite

beforeAll(async () => {
  site = await studioSite()
  await withoutGpu(site.context)
  site.context.setDefaultTimeout(60_000)
})
afterAll(() => site?.[Symbol.asyncDispose]())

/** Begins a clip and waits until it is on the stage, whether it could be kept or not. */
async function shown(page: Page, prompt: string): Promise<void> {
  await page.waitForSelector('#make:enabled')
  await page.fill('#prompt', prompt)
  await page.press('#prompt', 'Control+Enter')
  await page.waitForSelector(`#canvas[aria-label="Video: ${prompt}"]`)
  await page.waitForSelector('#make:enabled')
}

/** Leaves the site no room until the answer is called. */
async function full(page: Page): Promise<() => Promise<void>> {
  const session = await page.context().newCDPSession(page)
  const { origin } = new URL(page.url() === 'about:blank' ? site.url : page.url())
  await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 1 })
  return async () => void (await session.send('Storage.overrideQuotaForOrigin', { origin }))
}

interface StoredWeights {
  readonly state: string
  /** Whether the bytes are those of the name. */
  readonly whole: boolean
}

/** What the store has, and checkpoints that were left behind. */
const stored = (page: Page) =>
  page.evaluate(async () => {
    const root = await navigator.storage.getDirectory()
    const files = async (name: string) => {
      const folder = await root.getDirectoryHandle(name, { create: true })
      const found: Record<string, File> = {}
      for await (const each of folder.values())
        if (each.kind === 'file') found[each.name] = await (each as FileSystemFileHandle).getFile()
      return found
    }
    const all = await files('zoetrope-weights')
    const weights: StoredWeights[] = []
    for (const [name, file] of Object.entries(all)) {
      if (name.endsWith('.journal')) continue
      const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', await file.arrayBuffer()))
      const hex = Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')
      const journal = await all[`${name}.journal`]?.text()
      weights.push({ state: journal ? JSON.parse(journal).state : 'none', whole: hex === name })
    }
    return { weights, checkpoints: Object.keys(await files('zoetrope-checkpoints')) }
  })

const unkept = 'This browser has no room to keep it; delete clips to make some'
const sentence = (page: Page) => page.textContent('#problem')
const clips = (page: Page) => page.locator('.card').count()

describe('a storage that is full', () => {
  it('at the first visit costs no clip: it is shown, the page says in one sentence that it is not kept', async () => {
    const page = await site.open()
    const relieve = await full(page)
    await page.goto(site.url)
    await ready(page)
    await shown(page, 'a red boat')
    expect(await sentence(page)).toBe(unkept)
    // Models are offered all the same, and the page says that theirs is in memory alone.
    await expect.poll(() => page.locator('#model option').count()).toBeGreaterThan(0)
    await expect.poll(() => page.textContent('#place-text')).toMatch(/; the model is not kept$/)
    await relieve()
    const { weights } = await stored(page)
    expect(weights.filter(({ state }) => state === 'ready')).toEqual([])
    await page.reload()
    await page.waitForSelector('#make:enabled')
    expect(await clips(page)).toBe(0)
    await page.close()
  })

  it('that fills while the model comes in costs no clip either, and the half of the model is not called ready', async () => {
    await using slow = await studioSite()
    await withoutGpu(slow.context)
    const come = await withoutWeights(slow.context)
    const page = await slow.open()
    await Promise.all([page.waitForRequest(/\/models\/weights\//), page.goto(slow.url)])
    const relieve = await full(page)
    come()
    await shown(page, 'a red boat')
    expect(await sentence(page)).toBe(unkept)
    await expect.poll(() => page.textContent('#place-text')).toMatch(/; the model is not kept$/)
    await relieve()
    const { weights } = await stored(page)
    expect(weights.filter(({ state, whole }) => state === 'ready' && !whole)).toEqual([])
    expect(weights.some(({ whole }) => !whole)).toBe(true)
  })

  it('later costs a clip its place in the gallery alone: it is made and handed out, and nothing torn is kept', async () => {
    const page = await site.open()
    await page.goto(site.url)
    await ready(page)
    // Once a step was timed the model is here.
    await expect.poll(() => page.textContent('#why-only_on_device')).toMatch(/^Ready, about/)
    expect(await page.textContent('#place-text')).not.toMatch(/not kept/)
    const relieve = await full(page)
    await shown(page, 'a red boat')
    expect(await sentence(page)).toBe(unkept)
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download')])
    expect((await readFile(await download.path())).subarray(4, 8).toString()).toBe('ftyp')
    // The next one fares no worse, and a visit that begins with a full storage neither.
    await shown(page, 'a pink cup')
    await page.reload()
    await ready(page)
    expect(await clips(page)).toBe(0)
    await shown(page, 'a black cat')
    expect(await sentence(page)).toBe(unkept)

    await relieve()
    const { weights, checkpoints } = await stored(page)
    expect(weights).toEqual(Array(2).fill({ state: 'ready', whole: true }))
    expect(checkpoints).toEqual([])
    await shown(page, 'a green frog spins')
    expect(await page.isVisible('#problem')).toBe(false)
    await page.reload()
    await page.waitForSelector('.card')
    expect(await clips(page)).toBe(1)
    await page.close()
  })

  it('broke nothing on the way', () => {
    expect(site.said).toEqual([])
  })
})

/** Put before the page's scripts: the first opening of a database is never answered, the second fails. */
function moody(): void {
  let openings = 0
  const open = IDBFactory.prototype.open
  IDBFactory.prototype.open = function (...given) {
    openings += 1
    if (openings > 2) return open.apply(this, given)
    const request = {
      error: new DOMException('Internal error opening backing store', 'UnknownError'),
    } as IDBOpenDBRequest
    if (openings === 2) setTimeout(() => request.onerror?.(new Event('error')))
    return request
  }
}

/** Put before the service worker's script. */
const withoutCaches = `
CacheStorage.prototype.match = Cache.prototype.match = async () => { throw new DOMException('no', 'UnknownError') }
`

describe('a storage that fails for a moment', () => {
  it('is opened again: what is kept is shown, and what is made is kept', async () => {
    const page = await site.open()
    await page.addInitScript(moody)
    await page.goto(site.url)
    await page.waitForSelector('.card')
    expect(await clips(page)).toBe(1)
    await shown(page, 'a blue boat')
    await page.reload()
    await page.waitForSelector('.card')
    expect(await clips(page)).toBe(2)
    await page.close()
  })

  it('and is closed under the page costs nothing that is made after it', async () => {
    const page = await site.open()
    await page.goto(site.url)
    await ready(page)
    const session = await page.context().newCDPSession(page)
    await session.send('Storage.clearDataForOrigin', { origin: new URL(site.url).origin, storageTypes: 'indexeddb' })
    await shown(page, 'a red boat')
    expect(await page.isVisible('#problem')).toBe(false)
    await page.reload()
    await page.waitForSelector('.card')
    expect(await clips(page)).toBe(1)
    await page.close()
  })

  it('and has no file of the page costs none while there is a network', async () => {
    await using host = await studioSite()
    await withoutGpu(host.context)
    const worker = join(host.folder, 'sw.js')
    await writeFile(worker, withoutCaches + (await readFile(worker, 'utf8')))
    const page = await host.open()
    await page.goto(host.url)
    await page.evaluate(() => navigator.serviceWorker.ready)
    await page.reload()
    await ready(page)
    expect(await page.evaluate(() => navigator.serviceWorker.controller !== null)).toBe(true)
    await shown(page, 'a red boat')
    expect(host.said).toEqual([])
  })

  it('broke nothing on the way', () => {
    expect(site.said).toEqual([])
  })
})

/** Put before scripts of the page and of its engine: a private window of the strictest kind. */
const nothing = `
const refuse = () => { throw new DOMException('denied', 'SecurityError') }
for (const name of ['localStorage', 'indexedDB'])
  if (name in globalThis) Object.defineProperty(globalThis, name, { get: refuse })
StorageManager.prototype.getDirectory = async () => refuse()
`

describe('a browser that keeps nothing', () => {
  it('makes and hands out clips, and the studio says that none is kept', async () => {
    await using bare = await studioSite()
    await withoutGpu(bare.context)
    await bare.context.addInitScript(nothing)
    const assets = join(bare.folder, 'assets')
    const [thread] = (await readdir(assets)).filter((name) => /^thread-.*\.js$/.test(name))
    const file = join(assets, thread as string)
    await writeFile(file, nothing + (await readFile(file, 'utf8')))
    const page = await bare.open()
    await page.goto(bare.url)
    await ready(page)
    await expect.poll(() => page.textContent('#place-text')).toMatch(/; the model is not kept$/)
    const note = () => page.locator('#none:visible').allTextContents()
    expect(await note()).toEqual(['This browser keeps nothing here: download what you want to have.'])
    await shown(page, 'a red boat')
    expect([await page.isVisible('#problem'), await clips(page), ...(await note())]).toEqual([
      ...[false, 1],
      'This browser keeps nothing here: download what you want to have.',
    ])
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download')])
    expect((await readFile(await download.path())).subarray(4, 8).toString()).toBe('ftyp')
    await page.reload()
    await ready(page)
    expect(await clips(page)).toBe(0)
    expect(bare.said).toEqual([])
  })
})
