import type { Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { audit, withAxe } from '../../test/studio/axe.ts'
import {
  makeVideo,
  oneMore,
  ready,
  runsKept,
  type StudioSite,
  studioSite,
  withoutGpu,
  withoutWeights,
} from '../../test/studio/site.ts'

/** As narrow as a phone that is still in use. */
const narrow = { width: 320, height: 568 }
const desktop = { width: 1120, height: 860 }

let site: StudioSite

beforeAll(async () => {
  site = await studioSite()
  await withoutGpu(site.context)
  await withAxe(site.context)
})
afterAll(() => site?.[Symbol.asyncDispose]())

async function visited(): Promise<Page> {
  const page = await site.open()
  await page.setViewportSize(desktop)
  await page.goto(site.url)
  await ready(page)
  return page
}

/** Elements that stick out of the page, or make it wider than its window. */
const sticking = (page: Page) =>
  page.evaluate(() => {
    const wide = document.documentElement.scrollWidth > innerWidth ? ['the page'] : []
    const out = [...document.querySelectorAll('button, a, input, select, textarea, p, label, canvas, summary, dd, li')]
      .filter((each) => each.checkVisibility() && !each.matches('.skip'))
      .filter((each) => {
        const { left, right, width } = each.getBoundingClientRect()
        return width > 0 && (left < -0.5 || right > innerWidth + 0.5)
      })
    return [...wide, ...out.map(({ tagName, id, className }) => `${tagName}#${id}.${className}`)]
  })

const receiptRow = (page: Page, name: string) =>
  page.evaluate((wanted) => {
    const terms = [...document.querySelectorAll('#receipt dt')]
    return terms.find(({ textContent }) => textContent === wanted)?.nextElementSibling?.textContent
  }, name)

describe('a narrow phone', () => {
  it('shows everything within 320 pixels: idle, done, extended, compared, its menus, and what waits', async () => {
    const page = await visited()
    await page.setViewportSize(narrow)
    expect(await sticking(page)).toEqual([])
    await page.click('summary:has-text("Settings")')
    expect(await sticking(page)).toEqual([])
    await page.click('summary:has-text("Settings")')
    await makeVideo(page, 'a blue bird flies left over the sea')
    await page.click('.receipt summary')
    expect(await sticking(page)).toEqual([])
    await page.click('.receipt summary')
    for (const menu of ['rivals', 'formats']) {
      await page.click(`[popovertarget="${menu}"]`)
      expect(await sticking(page)).toEqual([])
      await page.keyboard.press('Escape')
    }
    await page.click('[popovertarget="rivals"]')
    await oneMore(page, () => page.click('#rivals button:has-text("toy-teacher")'))
    expect(await sticking(page)).toEqual([])
    await page.click('#alone')
    await page.click('.choice:has-text("Cloud")')
    await page.fill('#prompt', 'x'.repeat(300))
    await page.press('#prompt', 'Control+Enter')
    await page.waitForSelector('.letter')
    expect(await sticking(page)).toEqual([])
    expect(await audit(page)).toEqual([])
    await page.click('.letter button')
    await page.close()
  })

  it('would be told of what sticks out', async () => {
    const page = await visited()
    await page.setViewportSize(narrow)
    await page.evaluate(() => {
      const wide = Object.assign(document.createElement('p'), { id: 'wide', textContent: 'wide' })
      wide.style.width = '400px'
      document.querySelector('main')?.append(wide)
    })
    expect(await sticking(page)).toContain('P#wide.')
    await page.close()
  })
})

describe('a keyboard alone', () => {
  it('reaches and does everything: prompt, stop, frames, remix, extend, compare, formats, settings, gallery', async () => {
    const page = await visited()
    const focused = () =>
      page.evaluate(() => {
        const element = document.activeElement as HTMLElement
        const name = element.getAttribute('aria-label') ?? element.id ?? ''
        return element.id || name || (element.textContent ?? '').trim()
      })
    /** Presses Tab until an element has the focus; it must be seen to have it. */
    const tabTo = async (wanted: string) => {
      const met: string[] = []
      // Twice around: where the focus was may have gone meanwhile.
      while (met.length < 400) {
        await page.keyboard.press('Tab')
        met.push(await focused())
        if (met.at(-1) !== wanted) continue
        const seen = await page.evaluate(() => {
          const element = document.activeElement as HTMLElement
          const shown = element.closest('.choice') ?? element
          const { outlineStyle, outlineWidth } = getComputedStyle(shown)
          return outlineStyle !== 'none' && Number.parseFloat(outlineWidth) >= 2
        })
        expect([wanted, seen]).toEqual([wanted, true])
        return
      }
      throw new Error(`Tab never reaches ${wanted}, but ${[...new Set(met)].join(', ')}`)
    }
    await page.keyboard.press('Tab')
    expect(await focused()).toBe('Skip to the prompt')
    await page.keyboard.press('Enter')
    expect(await focused()).toBe('prompt')
    await page.keyboard.press('Control+A')
    await page.keyboard.type('a green frog spins')
    const cards = await page.locator('.card').count()
    await oneMore(page, () => page.keyboard.press('Control+Enter'))
    // The focus has not gone while the page worked.
    expect(await focused()).toBe('prompt')

    await page.evaluate(() => (document.activeElement as HTMLElement).blur())
    await tabTo('strip')
    await page.keyboard.press('End')
    expect(await page.getAttribute('#strip', 'aria-valuenow')).toBe('9')
    await tabTo('remix')
    await oneMore(page, () => page.keyboard.press('Enter'))
    // Which models can go on from a clip is known a little after the first visit's page is.
    await page.waitForSelector('#extend:visible')
    await tabTo('extend')
    await oneMore(page, () => page.keyboard.press('Enter'))
    expect(await page.getAttribute('#strip', 'aria-valuemax')).toBe('17')
    await page.locator('.card .open').nth(1).focus()
    await page.keyboard.press('Enter')
    await page.evaluate(() => (document.activeElement as HTMLElement).blur())
    await tabTo('compare')
    await page.keyboard.press('Enter')
    await tabTo('With toy-teacher')
    await page.keyboard.press('Escape')
    // The menu gives the focus back to what opened it.
    expect(await focused()).toBe('compare')
    await page.keyboard.press('Enter')
    await tabTo('With toy-teacher')
    await oneMore(page, () => page.keyboard.press('Enter'))
    await tabTo('alone')
    await page.keyboard.press('Enter')
    expect(await focused()).toBe('remix')
    await tabTo('Other formats')
    await page.keyboard.press('Enter')
    await tabTo('save-gif')
    const [download] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')])
    expect(download.suggestedFilename()).toMatch(/\.gif$/)
    await tabTo('where-prefer_on_device')
    await page.keyboard.press('ArrowDown')
    expect(await page.isChecked('#where-only_on_device')).toBe(true)
    await page.keyboard.press('ArrowUp')
    await tabTo('Settings')
    await page.keyboard.press('Enter')
    await tabTo('seed')
    await page.keyboard.type('41')
    await oneMore(page, () => page.keyboard.press('Control+Enter'))
    expect(await receiptRow(page, 'Seed')).toBe('41')
    const all = await page.locator('.card').count()
    expect(all).toBe(cards + 5)
    await tabTo('Delete: a green frog spins')
    await page.keyboard.press('Enter')
    await expect.poll(() => page.locator('.card').count()).toBe(all - 1)
    await page.close()
  })
})

describe('texts from everywhere', () => {
  let page: Page
  beforeAll(async () => {
    page = await visited()
  })
  afterAll(() => page?.close())

  it.each([
    ['right to left', 'קיפוד כחול קופץ בשלג', 'rtl'],
    ['emoji, joined and with skin', '👩🏽‍🚀🦊 jumps 🏳️‍🌈 in the ❄️', 'ltr'],
    ['2,000 letters in one word', 'ö'.repeat(2000), 'ltr'],
    ['2,000 letters in short words', 'a blue bird flies left '.repeat(87).slice(0, 2000).trim(), 'ltr'],
  ])('are drawn from, kept and shown in their own direction: %s', async (_what, prompt, direction) => {
    await page.setViewportSize(desktop)
    await makeVideo(page, prompt)
    expect(await page.getAttribute('#canvas', 'aria-label')).toBe(`Video: ${prompt}`)
    const shown = await page.evaluate(() =>
      ['#prompt', '.card .open span'].map((each) => {
        const element = document.querySelector(each) as HTMLElement
        return element.matches(':dir(rtl)') ? 'rtl' : 'ltr'
      }),
    )
    expect(shown).toEqual([direction, direction])
    // However long the text, the button stays within reach.
    const { y = 0 } = (await page.locator('#make').boundingBox()) ?? {}
    expect(y).toBeLessThan(desktop.height)
    await page.setViewportSize(narrow)
    expect(await sticking(page)).toEqual([])
    expect(await page.textContent('.card .open span')).toBe(prompt)
  })

  it('never hold the page up: a keystroke into 2,000 letters costs it at most 50 ms', async () => {
    for (const text of ['ö'.repeat(1990), 'qwertz brid fxo '.repeat(124)]) {
      await page.fill('#prompt', text)
      const longest = await page.evaluate(async () => {
        const field = document.getElementById('prompt') as HTMLTextAreaElement
        const times: number[] = []
        for (let press = 0; press < 9; press++) {
          const began = performance.now()
          field.value += 'x'
          field.dispatchEvent(new Event('input'))
          times.push(performance.now() - began)
        }
        return times.sort((a, b) => a - b)[4] as number
      })
      expect(longest).toBeLessThanOrEqual(50)
    }
  })
})

describe('someone who wants nothing to move', () => {
  const playing = (page: Page) => page.getAttribute('#play', 'aria-label')

  it('sees a clip stand on its first frame, in the gallery too, until it is played', async () => {
    const page = await visited()
    await page.emulateMedia({ reducedMotion: 'reduce' })
    await makeVideo(page, 'a red boat')
    await page.waitForTimeout(500)
    expect([await playing(page), await page.getAttribute('#strip', 'aria-valuenow')]).toEqual(['Play', '1'])
    const picture = () => page.evaluate(() => document.querySelector<HTMLCanvasElement>('.card canvas')?.toDataURL())
    await page.hover('.card .open >> nth=0')
    const before = await picture()
    await page.waitForTimeout(500)
    expect(await picture()).toBe(before)
    await page.click('#play')
    await expect.poll(() => page.getAttribute('#strip', 'aria-valuenow')).not.toBe('1')
    await page.click('#play')
    await page.emulateMedia({ reducedMotion: 'no-preference' })
    await page.click('.card .open >> nth=0')
    // Otherwise it plays: the test would see it.
    await expect.poll(() => playing(page)).toBe('Pause')
    await page.close()
  })
})

describe('several tabs', () => {
  it('make their own clips at once, none beginning what another is at', async () => {
    await using tabs = await studioSite()
    await withoutGpu(tabs.context)
    const come = await withoutWeights(tabs.context)
    const opened = async () => {
      const page = await tabs.open()
      await page.goto(tabs.url)
      await page.waitForSelector('#make:enabled')
      return page
    }
    let runs = 0
    const begun = async (page: Page, prompt: string) => {
      await page.fill('#prompt', prompt)
      await page.press('#prompt', 'Control+Enter')
      await page.waitForSelector('#stop:visible')
      // Routed and kept: from here on it is not lost.
      await expect.poll(() => runsKept(page), { timeout: 60_000 }).toBe(++runs)
    }
    const finished = async (page: Page) => {
      // A page behind another paints nothing, and what is waited for is looked at when it does.
      await page.bringToFront()
      await page.waitForSelector('#stop', { state: 'hidden' })
      expect(await page.isVisible('#problem')).toBe(false)
      return page.getAttribute('#canvas', 'aria-label')
    }
    const one = await opened()
    await begun(one, 'a red boat')
    const two = await opened()
    await two.waitForTimeout(1500)
    // It has not begun what the first is at.
    expect(await two.isVisible('#stop')).toBe(false)
    await begun(two, 'a pink cup')
    come()
    expect([await finished(one), await finished(two)]).toEqual(['Video: a red boat', 'Video: a pink cup'])
    await one.reload()
    await one.bringToFront()
    await one.waitForSelector('.card >> nth=1')
    expect(await one.locator('.card').count()).toBe(2)
    expect(tabs.said).toEqual([])
  })
})

describe('a graphics processor that never answers', () => {
  it('keeps nothing from who visits: clips are shown, and the form is open', async () => {
    const page = await site.open()
    await page.addInitScript(() =>
      Object.defineProperty(navigator, 'gpu', { value: { requestAdapter: () => new Promise(() => {}) } }),
    )
    await page.goto(site.url)
    await page.waitForSelector('.card', { timeout: 30_000 })
    await page.waitForSelector('#make:enabled', { timeout: 30_000 })
    await page.close()
  })
})

describe('all of this', () => {
  it('broke neither the policy nor anything else', () => {
    expect(site.said).toEqual([])
  })
})
