import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generate } from '../test/studio/generation.ts'
import { countBuffers, type Held, heldBy, memoryFlags, plantedLeak } from '../test/studio/memory.ts'
import { makeVideo, type StudioSite, sdkSite, studioSite } from '../test/studio/site.ts'
import { mainThreadTasks, quantile } from '../test/studio/tasks.ts'

/** All of them: `ZOETROPE_GENERATIONS=100 npx vitest run --project studio client/leaks.e2e.test.ts`. */
const generations = Number(process.env.ZOETROPE_GENERATIONS ?? 15)
/** From here on a tab may not grow. */
const early = Math.max(5, generations / 10)
/** A visitor's compilers take their time; a few generations do without the better ones, and are short. */
const measured = process.env.ZOETROPE_GENERATIONS !== undefined
const request = { prompt: 'a blue bird flies left over the sea', numInferenceSteps: 2, numFrames: measured ? 17 : 5 }
const mebi = 2 ** 20

let site: StudioSite

beforeAll(async () => {
  site = await sdkSite({ browserFlags: memoryFlags, measured })
})
afterAll(() => site?.[Symbol.asyncDispose]())

const report = (line: string) => process.env.ZOETROPE_GENERATIONS && process.stderr.write(`${line}\n`)

/** What a tab holds after the early generations and after all of them. */
async function lived(count: number, more = ''): Promise<[Held, Held]> {
  await countBuffers(site.context, more)
  const page = await site.open()
  await page.goto(site.url)
  const held: Held[] = []
  for (let made = 1; made <= count; made++) {
    await generate(page, { ...request, seed: made })
    if (made === early || made === count) held.push(await heldBy(page, site.profile))
  }
  await page.close()
  await site.context.unrouteAll()
  return held as [Held, Held]
}

const line = ({ heap, buffers, bufferBytes, resident }: Held) =>
  `heap ${(heap / mebi).toFixed(1)} MiB, ${buffers} GPU buffers of ${(bufferBytes / mebi).toFixed(1)} MiB, resident ${(resident / mebi).toFixed(0)} MiB`

/** Whether what is held later is what was held before, to the limits. */
function flat(before: Held, after: Held): Record<'heap' | 'buffers' | 'resident', boolean> {
  return {
    heap: after.heap <= 1.05 * before.heap + 2 * mebi,
    buffers: after.buffers <= before.buffers && after.bufferBytes <= before.bufferBytes,
    resident: after.resident <= 1.1 * before.resident,
  }
}

describe('a tab', { timeout: 1_800_000 }, () => {
  it(`holds after ${generations} generations what it held after ${early}`, async () => {
    const [before, after] = await lived(generations)
    report(`after ${early}: ${line(before)}`)
    report(`after ${generations}: ${line(after)}`)
    expect(before.buffers).toBeGreaterThan(0)
    expect(flat(before, after)).toEqual({ heap: true, buffers: true, resident: true })
  })

  it('that leaks a mebibyte and a buffer with each generation is caught', async () => {
    const [before, after] = await lived(early + 6, plantedLeak)
    expect(flat(before, after)).toMatchObject({ heap: false, buffers: false })
  })

  it('keeps its main thread free: 99 of 100 tasks take at most 50 ms while the studio makes videos', async () => {
    await using studio = await studioSite({ measured })
    const page = await studio.open()
    await page.goto(studio.url)
    await page.waitForSelector('#make:enabled')
    const tasks = await mainThreadTasks(page, async () => {
      for (const prompt of ['a red boat', 'a pink cup']) await makeVideo(page, prompt)
    })
    const [p99, most] = [quantile(tasks, 0.99), Math.max(...tasks)]
    report(`main thread: ${tasks.length} tasks, p99 ${p99.toFixed(1)} ms, longest ${most.toFixed(0)} ms`)
    expect(tasks.length).toBeGreaterThan(500)
    expect(p99).toBeLessThanOrEqual(50)
  })
})
