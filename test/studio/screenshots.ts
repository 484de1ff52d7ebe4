/**
 * `npm run screenshots`: the studio's pages as pictures in docs/studio, in both schemes and at the width of a phone.
 *
 * Uses the released models, a fixed seed and prompt; every picture is reduced to a palette, so that it stays small.
 */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Page } from 'playwright'
import sharp from 'sharp'
import { root } from '../sources.ts'
import { makeVideo, studioSite, withoutGpu } from './site.ts'

const folder = join(root, 'docs', 'studio')
const desktop = { width: 1120, height: 860 }
const phone = { width: 390, height: 844 }

async function shoot(page: Page, name: string, scheme: 'light' | 'dark', size = desktop): Promise<void> {
  await page.setViewportSize(size)
  await page.emulateMedia({ colorScheme: scheme, reducedMotion: 'reduce' })
  // No word of the sheet is pointed at.
  await page.mouse.move(0, 0)
  await page.evaluate(() => scrollTo(0, 0))
  // Canvases are drawn again after their size has changed.
  await page.waitForTimeout(300)
  const file = join(folder, `${name}-${scheme}.png`)
  const picture = await sharp(await page.screenshot())
    .png({ palette: true, colours: 192, effort: 10 })
    .toBuffer()
  await writeFile(file, picture)
  process.stdout.write(`${file.slice(root.length)}: ${(picture.length / 1000).toFixed(0)} kB\n`)
}

const prompt = 'a blue bird flies left over the sea'
const others = [
  'an orange fox jumps in the snow',
  'a green frog spins in the meadow',
  'a purple rocket moves up in the night sky',
  'a red boat moves right over the sea',
  'a pink balloon grows in the city',
  'a white ghost shakes in the forest',
]

await mkdir(folder, { recursive: true })
await using site = await studioSite({ more: null })
await withoutGpu(site.context)
const page = await site.open()
await page.emulateMedia({ reducedMotion: 'reduce' })
await page.goto(site.url)

/** Fills in one of the settings, which are folded away again. */
async function set(selector: string, value: string): Promise<void> {
  await page.click('summary:has-text("Settings")')
  await page.fill(selector, value)
  await page.click('summary:has-text("Settings")')
}
await page.waitForSelector('#place[data-state="ready"]')
await page.fill('#prompt', prompt)
// The model is here and a step of it was timed.
await page.waitForFunction(() => document.getElementById('why-only_on_device')?.textContent?.includes('about'))
await page.evaluate(() => (document.activeElement as HTMLElement).blur())
await shoot(page, 'idle', 'light')
await shoot(page, 'idle', 'dark')
await set('#seed', '3')
for (const each of others) await makeVideo(page, each)
await page.reload()
await page.waitForSelector('#place[data-state="ready"]')
await set('#seed', '7')
await page.fill('#prompt', prompt)
await page.press('#prompt', 'Control+Enter')
await page.evaluate(() => (document.activeElement as HTMLElement).blur())
await page.waitForFunction(() => /step [3-7]/.test(document.getElementById('stage-text')?.textContent ?? ''))
await shoot(page, 'running', 'light')
await page.waitForSelector('#stop', { state: 'hidden' })
await page.focus('#strip')
await page.press('#strip', 'End')
for (let frame = 0; frame < 8; frame++) await page.press('#strip', 'ArrowLeft')
await page.evaluate(() => (document.activeElement as HTMLElement).blur())
await shoot(page, 'done', 'light')
await shoot(page, 'done', 'dark')
await shoot(page, 'phone', 'light', phone)
await page.setViewportSize(desktop)
await page.click('[popovertarget="rivals"]')
await page.click('#rivals button:has-text("teacher")')
await page.waitForSelector('#captions:visible')
await page.waitForSelector('#stop', { state: 'hidden' })
await page.focus('#strip')
await page.press('#strip', 'End')
await page.evaluate(() => (document.activeElement as HTMLElement).blur())
await shoot(page, 'compare', 'dark')
await page.click('#alone')
await site.context.setOffline(true)
await page.click('.choice:has-text("Cloud")')
for (const each of others.slice(0, 2)) {
  await page.fill('#prompt', each)
  await page.press('#prompt', 'Control+Enter')
  await page.waitForSelector(`.letter:has-text("${each}")`)
}
await page.evaluate(() => (document.activeElement as HTMLElement).blur())
await page.waitForTimeout(600)
await shoot(page, 'offline', 'dark')
await shoot(page, 'phone-offline', 'dark', phone)
