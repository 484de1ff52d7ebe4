import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeVideo, ready, runsKept, type StudioSite, studioSite, withoutGpu } from '../../test/studio/site.ts'

/**
 * Put before the engine's own script. Every step that ran is told; the first thread of all stands still once it has run
 * five, for as long as its tab lives.
 */
const gate = `
const steps = new BroadcastChannel('steps')
const post = globalThis.postMessage.bind(globalThis)
let [first, own] = [false, 0]
navigator.locks.request('first', { ifAvailable: true }, (lock) => {
  first = lock !== null
  return first ? new Promise(() => {}) : undefined
})
globalThis.postMessage = (message) => {
  post(message)
  // A preview is made by a step that ran; steps that a checkpoint answers make none.
  if (message.event?.type !== 'preview') return
  steps.postMessage(message.event.step)
  own += 1
  // Memory of wasm is shared on a first visit too, when a page is not isolated yet and has no SharedArrayBuffer.
  const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
  if (first && own === 5 && message.event.step === 5) Atomics.wait(new Int32Array(buffer), 0, 0)
}
`

let site: StudioSite

beforeAll(async () => {
  site = await studioSite()
  await withoutGpu(site.context)
  const assets = join(site.folder, 'assets')
  const [thread] = (await readdir(assets)).filter((name) => /^thread-.*\.js$/.test(name))
  const file = join(assets, thread as string)
  await writeFile(file, gate + (await readFile(file, 'utf8')))
})
afterAll(() => site?.[Symbol.asyncDispose]())

async function opened(): Promise<Page> {
  const page = await site.open()
  await page.goto(site.url)
  await ready(page)
  return page
}

/** Notes in a page the steps of all tabs, in the order in which they ran. */
const listen = (page: Page) =>
  page.evaluate(() => {
    const [line, ran] = [new BroadcastChannel('steps'), [] as number[]]
    line.onmessage = ({ data }) => ran.push(data)
    Object.assign(globalThis, { line, ran })
  })
/** Notes after how many steps a page held a run for ended. */
const listenForEnd = (page: Page) =>
  page.evaluate(() => {
    const [{ ran }, remove] = [globalThis as unknown as { ran: number[] }, IDBObjectStore.prototype.delete]
    const endedAfter: number[] = []
    IDBObjectStore.prototype.delete = function (key) {
      if (this.name === 'runs') endedAfter.push(ran.at(-1) ?? 0)
      return remove.call(this, key)
    }
    Object.assign(globalThis, { endedAfter })
  })
const endedAfterIn = (page: Page) =>
  page.evaluate(() => [...(globalThis as unknown as { endedAfter: number[] }).endedAfter])
const ranIn = (page: Page) => page.evaluate(() => [...(globalThis as unknown as { ran: number[] }).ran])

/** Begins sixteen steps. */
async function begin(page: Page, prompt: string): Promise<void> {
  await page.bringToFront()
  await page.click('summary:has-text("Settings")')
  await page.selectOption('#steps', '16')
  await page.fill('#prompt', prompt)
  await page.press('#prompt', 'Control+Enter')
}

describe('a tab that is closed in the middle of a run', () => {
  it('leaves it to a page that is open: that one goes on from the last step and keeps the clip', async () => {
    await leftMidway('a red boat', await opened())
  })
})

async function leftMidway(prompt: string, gone: Page): Promise<void> {
  const left = await opened()
  await listen(left)
  await listenForEnd(left)
  await begin(gone, prompt)
  await expect.poll(() => ranIn(left), { timeout: 60_000 }).toEqual([1, 2, 3, 4, 5])
  await gone.close()
  await left.bringToFront()
  await left.waitForSelector(`.card .open span:text-is("${prompt}")`)
  expect(await left.getAttribute('#canvas', 'aria-label')).toBe(`Video: ${prompt}`)
  expect(await left.isVisible('#problem')).toBe(false)
  // The tab may have been closed before its last step was noted; that one is done again then, and no other.
  const rest = (await ranIn(left)).slice(5)
  expect(rest[0] === 5 ? rest.slice(1) : rest).toEqual(Array.from({ length: 11 }, (_, index) => index + 6))
  await expect.poll(() => runsKept(left)).toBe(0)
  // Until then it was kept, so that the death of this tab would have lost nothing either.
  expect((await endedAfterIn(left))[0]).toBe(16)
  await left.close()
}

describe('the gallery of one tab', () => {
  it('shows what another has made, plays and deletes it, and both are without it', async () => {
    const [one, two] = [await opened(), await opened()]
    const cards = (page: Page) => page.locator('.card .open span').allTextContents()
    const before = await cards(two)
    await one.bringToFront()
    await makeVideo(one, 'a pink cup')
    await expect.poll(() => cards(two)).toEqual(['a pink cup', ...before])
    await two.bringToFront()
    await two.click('.card .open >> nth=0')
    expect(await two.getAttribute('#canvas', 'aria-label')).toBe('Video: a pink cup')
    await two.click('.card .remove >> nth=0')
    await expect.poll(() => cards(one)).toEqual(before)
    expect(await cards(two)).toEqual(before)
    await one.reload()
    await one.waitForSelector('#make:enabled')
    expect(await cards(one)).toEqual(before)
  })
})

describe('all of this', () => {
  it('broke neither the policy nor anything else', () => {
    expect(site.said).toEqual([])
  })
})
