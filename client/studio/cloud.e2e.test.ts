import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../models/node/start/ports.ts'
import { ended, developmentKey as key, launch, type Started, ready as started } from '../../test/started.ts'
import { audit, withAxe } from '../../test/studio/axe.ts'
import { makeVideo, oneMore, ready, runsKept, type StudioSite, studioSite, withoutGpu } from '../../test/studio/site.ts'
import { toyModel } from '../../test/toy-model.ts'
import type { VideoRequest } from '../events.ts'

let models: string
let port: number
let stack: Started
let site: StudioSite
let page: Page
/** Bodies of the jobs that were asked for, by the idempotency key that came with each. */
const posted: { readonly key: string | undefined; readonly prompt: string }[] = []
const carried: string[] = []

/** The very model that the page has, for the node. */
async function releasedToy(place: string): Promise<void> {
  const { card, files } = await toyModel({ id: 'toy' })
  for (const folder of ['cards', 'weights']) await mkdir(join(place, folder), { recursive: true })
  await writeFile(join(place, 'cards', 'toy.json'), JSON.stringify(card))
  for (const [file, bytes] of Object.entries(files)) await writeFile(join(place, 'weights', file), bytes)
}

beforeAll(async () => {
  models = await mkdtemp(join(tmpdir(), 'zoetrope-cloud-'))
  await releasedToy(models)
  site = await studioSite({ upstream: () => stack?.address })
  await withoutGpu(site.context)
  await withAxe(site.context)
  port = await freePort(21_600)
  const environment = { DEVELOPMENT_KEY: key, PUBLIC_URL: site.url.replace(/\/$/, '') }
  stack = await started(launch({ port, nodePort: await freePort(21_605), models, environment }))
  page = await site.open()
  page.on('request', (request) => {
    carried.push(request.url())
    if (request.method() !== 'POST' || new URL(request.url()).pathname !== '/v1/videos') return
    const { prompt } = JSON.parse(request.postData() ?? '{}') as { prompt: string }
    posted.push({ key: request.headers()['idempotency-key'], prompt })
  })
  await page.goto(site.url)
  await page.waitForSelector('#place[data-state="ready"]')
}, 300_000)

afterAll(async () => {
  await site?.[Symbol.asyncDispose]()
  await ended(stack, port)
  await rm(models, { recursive: true, force: true })
}, 60_000)

async function giveKey(text: string): Promise<void> {
  await page.click('.choice:has-text("Cloud")')
  await page.fill('#key', text)
  await page.press('#key', 'Tab')
}

/** The luma of both canvases, a number for each of 32 × 32 places: a codec keeps it in full, and halves the colours. */
const shown = () =>
  page.evaluate(() =>
    ['canvas', 'beside'].map((id) => {
      const small = new OffscreenCanvas(32, 32).getContext('2d') as OffscreenCanvasRenderingContext2D
      small.drawImage(document.getElementById(id) as HTMLCanvasElement, 0, 0, 32, 32)
      const { data } = small.getImageData(0, 0, 32, 32)
      const weights = [0.2126, 0.7152, 0.0722]
      return Array.from({ length: 1024 }, (_, at) =>
        weights.reduce((sum, weight, colour) => sum + weight * (data[4 * at + colour] as number), 0),
      )
    }),
  )

/** Pearson's. */
function correlation(one: readonly number[] = [], other: readonly number[] = []): number {
  const mean = (all: readonly number[]) => all.reduce((sum, each) => sum + each, 0) / all.length
  const [a, b] = [one, other].map((all) => all.map((each) => each - mean(all))) as [number[], number[]]
  const dot = (x: readonly number[], y: readonly number[]) =>
    x.reduce((sum, each, at) => sum + each * (y[at] as number), 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}

const keptIn = () =>
  page.evaluate(async () => {
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open('zoetrope-studio')
      request.onsuccess = () => resolve(request.result)
      request.onerror = () => reject(request.error)
    })
    const all = (store: string) =>
      new Promise<unknown[]>((resolve) => {
        const request = database.transaction(store).objectStore(store).getAll()
        request.onsuccess = () => resolve(request.result)
      })
    const kept = { letters: await all('letters'), jobs: await all('jobs'), local: { ...localStorage } }
    database.close()
    return kept
  })

/** As a tab that died in the middle of it leaves a run. */
const leaveBehind = (request: VideoRequest) =>
  page.evaluate(
    async (run) => {
      const settled = <T>(asked: IDBRequest<T>) =>
        new Promise<T>((resolve, reject) => {
          asked.onsuccess = () => resolve(asked.result)
          asked.onerror = () => reject(asked.error)
        })
      const database = await settled(indexedDB.open('zoetrope-studio'))
      await settled(database.transaction('runs', 'readwrite').objectStore('runs').put(run))
      database.close()
    },
    { id: 'left', request },
  )

describe('the studio before the real Worker and node', () => {
  it('says that a key opens the cloud, and is right', async () => {
    await page.click('.choice:has-text("Cloud")')
    await expect.poll(() => page.textContent('#why-only_in_cloud')).toBe('Needs a key')
    expect(await audit(page)).toEqual([])
    await giveKey(key)
    await expect.poll(() => page.textContent('#why-only_in_cloud')).toBe('Ready')
  })

  it('makes a clip in the cloud, shows its frames and says in the receipt where it was made', async () => {
    await makeVideo(page, 'a blue bird flies left over the sea')
    expect(await page.getAttribute('#canvas', 'aria-label')).toBe('Video: a blue bird flies left over the sea')
    await page.click('.receipt summary')
    expect(await page.textContent('#receipt dd')).toBe('The cloud, as chosen')
    await page.click('.receipt summary')
    expect(await page.getAttribute('#strip', 'aria-valuemax')).toBe('9')
    expect(await page.locator('.card').count()).toBe(1)
    expect(posted).toEqual([{ key: expect.any(String), prompt: 'a blue bird flies left over the sea' }])
    expect(await keptIn()).toMatchObject({ letters: [], jobs: [] })
  })

  it('compares the cloud with this device: the same clip, up to the two files', async () => {
    await page.click('[popovertarget="rivals"]')
    await oneMore(page, () => page.click('#rivals button:has-text("this device")'))
    expect(await page.textContent('#caption-first')).toBe('The cloud · toy · 4 steps')
    expect(await page.textContent('#caption-second')).toBe('This device · toy · 4 steps')
    expect(await page.textContent('#likeness')).toMatch(/^Alike to \d+\.\d dB$/)
    await page.focus('#strip')
    const shownAt = async (key: 'Home' | 'End') => {
      await page.press('#strip', key)
      return shown()
    }
    for (const key of ['Home', 'End'] as const) {
      // A preview stands there until the clip's own frames are decoded.
      const likeness = async () => {
        const [one, other] = await shownAt(key)
        return correlation(one, other)
      }
      await expect.poll(likeness).toBeGreaterThan(0.9)
    }
    const [first, last] = [await shownAt('Home'), await shownAt('End')]
    // In step, and nothing that any two pictures would pass.
    expect(correlation(first[0], last[1])).toBeLessThan(0.5)
    expect(await audit(page)).toEqual([])
    await page.click('#alone')
  })

  it('sends what was asked for offline once, when the network is back, and not what was cancelled', async () => {
    posted.length = 0
    await site.context.setOffline(true)
    await page.click('.choice:has-text("Cloud")')
    for (const prompt of ['a red boat', 'a pink cup', 'a green frog']) {
      await page.fill('#prompt', prompt)
      await page.press('#prompt', 'Control+Enter')
      await page.waitForSelector(`.letter:has-text("${prompt}")`)
    }
    await page.click('.letter:has-text("a pink cup") button')
    await page.waitForSelector('.letter:has-text("a pink cup")', { state: 'detached' })
    await site.context.setOffline(false)
    await page.waitForSelector('#post', { state: 'hidden' })
    expect(posted.map(({ prompt }) => prompt)).toEqual(['a red boat', 'a green frog'])
    expect(new Set(posted.map((each) => each.key)).size).toBe(2)
    await expect.poll(() => page.locator('.card').count()).toBe(4)
    expect(await keptIn()).toMatchObject({ letters: [], jobs: [] })
  })

  it('takes a job up after a reload, once the key is there again', async () => {
    posted.length = 0
    await page.click('summary:has-text("Settings")')
    await page.selectOption('#size', '64x64')
    await page.selectOption('#frames', '49')
    await page.selectOption('#steps', '16')
    await page.click('summary:has-text("Settings")')
    await page.fill('#prompt', 'an orange fox jumps')
    await page.press('#prompt', 'Control+Enter')
    await expect.poll(async () => (await keptIn()).jobs.length, { timeout: 30_000 }).toBe(1)
    await page.reload()
    await page.waitForSelector('.letter:has-text("an orange fox jumps")')
    expect(await page.textContent('.letter .state')).toBe('Waits for a key')
    expect(await audit(page)).toEqual([])
    await giveKey(key)
    await page.waitForSelector('.card:has-text("an orange fox jumps")')
    await page.waitForSelector('#post', { state: 'hidden' })
    expect(posted).toHaveLength(1)
  })

  it('sends a run that was left behind where it is to go now, once, and keeps it no longer', async () => {
    posted.length = 0
    await leaveBehind({ prompt: 'a white cup spins', seed: 3, model: 'toy', inferenceMode: 'only_in_cloud' })
    expect(await runsKept(page)).toBe(1)
    await page.reload()
    await page.waitForSelector('.letter:has-text("a white cup spins")')
    expect(await runsKept(page)).toBe(0)
    await giveKey(key)
    await page.waitForSelector('.card:has-text("a white cup spins")')
    await page.waitForSelector('#post', { state: 'hidden' })
    await page.reload()
    await ready(page)
    expect(posted.map(({ prompt }) => prompt)).toEqual(['a white cup spins'])
    expect([await runsKept(page), (await keptIn()).letters]).toEqual([0, []])
  })

  it('says why a run that was left behind cannot go on, and keeps it no longer', async () => {
    const cards = await page.locator('.card').count()
    await leaveBehind({ prompt: 'a pink crab', model: 'toy', inferenceMode: 'only_on_device', numInferenceSteps: 9999 })
    await page.reload()
    await page.waitForSelector('#problem:not([hidden])')
    expect(await page.textContent('#problem')).toContain('9999')
    await expect.poll(() => runsKept(page)).toBe(0)
    expect(await page.locator('.card').count()).toBe(cards)
  })

  it('keeps the credential out of every address, every store and the page', async () => {
    expect(carried.filter((url) => url.includes('zoe_') || url.includes('eyJ'))).toEqual([])
    const kept = JSON.stringify(await keptIn())
    expect(kept.includes('zoe_') || kept.includes('eyJ')).toBe(false)
    expect(await page.textContent('body')).not.toContain('zoe_')
    expect(carried.some((url) => url.endsWith('/v1/tokens'))).toBe(true)
  })

  it('broke neither its policy nor anything else on the way', () => {
    expect(site.said.filter((line) => !line.includes('ERR_INTERNET_DISCONNECTED'))).toEqual([])
  })
})
