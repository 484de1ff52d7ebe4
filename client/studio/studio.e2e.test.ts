import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import type { Page } from 'playwright'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { audit, withAxe } from '../../test/studio/axe.ts'
import { makeVideo, oneMore, type StudioSite, studioSite } from '../../test/studio/site.ts'

const phone = { width: 390, height: 844 }
const desktop = { width: 1120, height: 860 }

let site: StudioSite
let page: Page

beforeAll(async () => {
  site = await studioSite()
  await withAxe(site.context)
  page = await site.open()
})

afterAll(() => site?.[Symbol.asyncDispose]())

async function downloaded(press: () => Promise<void>): Promise<{ name: string; bytes: Buffer }> {
  const [download] = await Promise.all([page.waitForEvent('download'), press()])
  return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) }
}

describe('the studio on a plain static host', () => {
  it('is without fault to axe-core before anything is made, on a desk and on a phone', async () => {
    await page.setViewportSize(desktop)
    await page.goto(site.url)
    await page.waitForSelector('#make:enabled')
    expect(await audit(page)).toEqual([])
    await page.setViewportSize(phone)
    await page.click('summary:has-text("Settings")')
    expect(await audit(page)).toEqual([])
    await page.click('summary:has-text("Settings")')
    await page.setViewportSize(desktop)
  })

  it('would be told by axe-core of a picture without words and of letters too faint', async () => {
    await page.evaluate(() => {
      const fault = Object.assign(document.createElement('p'), { id: 'fault', textContent: 'faint' })
      fault.style.color = 'light-dark(#ddd, #222)'
      fault.append(document.createElement('img'))
      document.querySelector('main')?.append(fault)
    })
    const found = await audit(page)
    for (const each of ['light: image-alt', 'dark: image-alt', 'light: color-contrast', 'dark: color-contrast'])
      expect(found.some((line) => line.startsWith(each))).toBe(true)
    await page.evaluate(() => document.getElementById('fault')?.remove())
  })

  it('says of each place what the router says', async () => {
    const said = async () => Promise.all(['prefer_on_device', 'only_on_device', 'only_in_cloud'].map(reason))
    const reason = (mode: string) => page.textContent(`#why-${mode}`)
    // With the time it takes, once a step has been timed.
    const time = ', about (a second|\\d+\u00a0s)'
    await expect
      .poll(said, { timeout: 60_000 })
      .toEqual([
        expect.stringMatching(new RegExp(`^On this device: it can draw this${time}$`)),
        expect.stringMatching(new RegExp(`^Ready${time}$`)),
        'Needs a key',
      ])
    await page.click('summary:has-text("Settings")')
    await page.fill('#seed', '-5')
    await page.press('#seed', 'Tab')
    await expect.poll(said).toEqual(Array(3).fill('Cannot be asked so'))
    await page.fill('#seed', '')
    await page.press('#seed', 'Tab')
    await page.click('summary:has-text("Settings")')
    await expect.poll(said).toContainEqual(expect.stringMatching(/^Ready/))
  })

  it('makes a clip by keyboard at the first visit, keeps it and hands out an MP4', async () => {
    await page.fill('#prompt', 'a blue bird flies left over the sea')
    await page.press('#prompt', 'Control+Enter')
    await page.waitForSelector('#stop:visible')
    expect(await audit(page)).toEqual([])
    await page.waitForSelector('#stop', { state: 'hidden' })
    expect(await page.getAttribute('#canvas', 'aria-label')).toBe('Video: a blue bird flies left over the sea')
    expect(await page.locator('.card').count()).toBe(1)
    const { name, bytes } = await downloaded(() => page.click('#download'))
    expect(name).toMatch(/^a-blue-bird-flies-left-over-the-sea-\d+\.mp4$/)
    expect(bytes.subarray(4, 8).toString()).toBe('ftyp')
  })

  it('hands out the clip as WebP and GIF of as many frames, and a poster', async () => {
    const taken = async (id: string) => {
      await page.click('[popovertarget="formats"]')
      expect(await audit(page)).toEqual([])
      return downloaded(() => page.click(id))
    }
    for (const [id, format] of [
      ['#save-webp', 'webp'],
      ['#save-gif', 'gif'],
    ] as const) {
      const { name, bytes } = await taken(id)
      expect(name.endsWith(`.${format}`)).toBe(true)
      const { pages, width, pageHeight, loop } = await sharp(bytes, { animated: true }).metadata()
      expect({ pages, width, pageHeight, loop }).toEqual({ pages: 9, width: 32, pageHeight: 32, loop: 0 })
    }
    const poster = await taken('#save-poster')
    expect(await sharp(poster.bytes).metadata()).toMatchObject({ format: 'png', width: 32, height: 32 })
  })

  it('compares student and teacher, same prompt and seed, in step', async () => {
    await page.click('.receipt summary')
    expect(await audit(page)).toEqual([])
    const seed = await page.locator('#receipt dd').nth(1).textContent()
    await page.click('.receipt summary')
    await page.click('[popovertarget="rivals"]')
    expect(await page.locator('#rivals button').allTextContents()).toEqual(['With the cloud', 'With toy-teacher'])
    await oneMore(page, () => page.click('#rivals button:has-text("toy-teacher")'))
    expect(await page.textContent('#caption-first')).toBe('This device · toy · 4 steps')
    expect(await page.textContent('#caption-second')).toBe('This device · toy-teacher · 4 steps')
    expect(await page.textContent('#likeness')).toMatch(/^Alike to \d+\.\d dB$/)
    // Both canvases show the frame that the strip says: one clock moves both.
    await page.focus('#strip')
    await page.press('#strip', 'End')
    const shown = () =>
      page.evaluate(() =>
        ['canvas', 'beside'].map((id) => (document.getElementById(id) as HTMLCanvasElement).toDataURL()),
      )
    const last = await shown()
    await page.press('#strip', 'ArrowLeft')
    const before = await shown()
    expect(last[0]).not.toBe(last[1])
    expect([last[0] === before[0], last[1] === before[1]]).toEqual([false, false])
    expect(await audit(page)).toEqual([])
    await page.click('#alone')
    expect(await page.isVisible('#beside')).toBe(false)
    await page.click('.card >> nth=0')
    expect(await page.locator('#receipt dd').nth(1).textContent()).toBe(seed)
  })

  it('extends a clip by its last frame: both are one, as a file, in the strip and in the receipt', async () => {
    const seed = await page.locator('#receipt dd').nth(1).textContent()
    const picture = () => page.evaluate(() => (document.getElementById('canvas') as HTMLCanvasElement).toDataURL())
    await page.focus('#strip')
    await page.press('#strip', 'End')
    const last = await picture()
    await oneMore(page, () => page.click('#extend'))
    expect(await page.getAttribute('#strip', 'aria-valuemax')).toBe('17')
    await page.focus('#strip')
    await page.press('#strip', 'End')
    for (let frame = 17; frame > 9; frame--) await page.press('#strip', 'ArrowLeft')
    expect(await page.getAttribute('#strip', 'aria-valuenow')).toBe('9')
    expect(await picture()).toBe(last)
    await page.press('#strip', 'ArrowRight')
    expect(await picture()).not.toBe(last)
    const rows = await page.locator('#receipt dd').allTextContents()
    expect(rows[1]).not.toBe(seed)
    expect(rows[2]).toBe(`9 frames of seed ${seed}`)
    // What can no longer be made again in one go is compared with nothing.
    expect(await page.isVisible('#compare')).toBe(false)
    const { bytes } = await downloaded(() => page.click('#download'))
    expect(rows.at(-1)).toBe(createHash('sha256').update(bytes).digest('hex'))
    const words = ['-v', 'error', '-count_frames', '-show_entries', 'stream=nb_read_frames', '-of', 'csv=p=0', '-']
    const probe = promisify(execFile)('ffprobe', words)
    probe.child.stdin?.end(bytes)
    expect((await probe).stdout.trim()).toBe('17')
    expect(await audit(page)).toEqual([])
  })

  it('says which word it does not know, and mends it', async () => {
    await page.fill('#prompt', 'a blue brid flies left')
    expect(await page.textContent('#hint')).toContain('no word “brid”. Did you mean bird?')
    expect(await audit(page)).toEqual([])
    await page.click('#hint button')
    expect(await page.inputValue('#prompt')).toBe('a blue bird flies left')
    await page.click('.word[aria-label="quickly"]')
    expect(await page.inputValue('#prompt')).toMatch(/bird .*left (quickly|fast)/)
  })

  it('works with its server ended and the network cut: loads, makes, plays, downloads, and asks nobody', async () => {
    await page.waitForSelector('#place[data-state="ready"]')
    await site.endHost()
    await site.context.setOffline(true)
    site.failed.length = 0
    await page.reload()
    await page.waitForSelector('.card')
    await page.waitForSelector('#make:enabled')
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(true)
    await makeVideo(page, 'an orange fox jumps in the snow')
    expect(await page.locator('.card').count()).toBe(4)
    await page.focus('#strip')
    await page.press('#strip', 'End')
    expect(await page.getAttribute('#strip', 'aria-valuenow')).toBe('9')
    const { bytes } = await downloaded(() => page.click('#download'))
    expect(bytes.subarray(4, 8).toString()).toBe('ftyp')
    expect(await audit(page)).toEqual([])
    expect(site.failed).toEqual([])
  })

  it('keeps what is asked of the cloud meanwhile, through a reload, until it is cancelled', async () => {
    await page.click('.choice:has-text("Cloud")')
    await expect.poll(() => page.textContent('#why-only_in_cloud')).toBe('Needs a key')
    for (const prompt of ['a red boat', 'a pink cup']) {
      await page.fill('#prompt', prompt)
      await page.press('#prompt', 'Control+Enter')
      await page.waitForSelector(`.letter:has-text("${prompt}")`)
    }
    expect(await page.locator('.letter .state').allTextContents()).toEqual(Array(2).fill('Waits for a connection'))
    expect(await audit(page)).toEqual([])
    await page.setViewportSize(phone)
    expect(await audit(page)).toEqual([])
    await page.reload()
    await page.waitForSelector('.letter >> nth=1')
    await page.focus('.letter >> nth=0 >> button')
    await page.keyboard.press('Enter')
    await expect.poll(() => page.locator('.letter .said').allTextContents()).toEqual(['a pink cup'])
    // The focus stays in the list, so that a keyboard goes on from there.
    expect(await page.evaluate(() => document.activeElement?.getAttribute('aria-label'))).toBe('Cancel: a pink cup')
    await page.keyboard.press('Enter')
    await page.waitForSelector('#post', { state: 'hidden' })
    expect(site.failed).toEqual([])
  })

  it('broke neither its policy nor anything else on the way', () => {
    expect(site.said).toEqual([])
  })
})

describe('the studio on a host that was tampered with', () => {
  it.each([
    ['a card that draws otherwise', /cards\/toy\.json$/, 'cards/toy.json: got SHA-256'],
    ['another standard model', /index\.json$/, 'index.json: got SHA-256'],
  ])(
    'refuses %s before a byte of weights is fetched: its page trusts the key of its build',
    async (_what, path, said) => {
      await using foul = await studioSite()
      const fetched: string[] = []
      await foul.context.route(path, async (route) => {
        const answer = await route.fetch()
        // Still a card or an index, by its schema.
        const text = (await answer.text())
          .replace('"velocity"', '"sample"')
          .replace('"default_model":"toy"', '"default_model":"toy-teacher"')
        await route.fulfill({ response: answer, body: text })
      })
      const page = await foul.open()
      page.on('request', (request) => fetched.push(new URL(request.url()).pathname))
      await page.goto(foul.url)
      await page.waitForSelector('#problem:visible')
      expect(await page.textContent('#problem')).toContain(said)
      expect(fetched.filter((each) => each.startsWith('/models/weights/'))).toEqual([])
    },
  )
})
