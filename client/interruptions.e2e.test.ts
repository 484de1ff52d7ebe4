import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { randomStream } from '../shared/random.ts'
import { type Generated, generate, likeness } from '../test/studio/generation.ts'
import { type StudioSite, sdkSite } from '../test/studio/site.ts'

/** All of them: `ZOETROPE_CRASHES=20 npx vitest run --project studio client/interruptions.e2e.test.ts`. */
const crashes = Number(process.env.ZOETROPE_CRASHES ?? 2)
const kills = Math.ceil(crashes / 2)
/** Less where only a few interruptions are tried: the software adapter takes its time. */
const brief = process.env.ZOETROPE_CRASHES === undefined
const [steps, numFrames] = brief ? [4, 5] : [16, 17]
const request = { prompt: 'a blue bird flies left over the sea', seed: 9, numInferenceSteps: steps, numFrames }
const { integer, chance } = randomStream(2026)
/** Not after the last: there is nothing left to lose then. */
const someStep = () => 1 + integer(steps - 1)

let site: StudioSite
const whole: Partial<Record<string, Generated>> = {}

beforeAll(async () => {
  site = await sdkSite()
  const page = await site.open()
  await page.goto(site.url)
  for (const provider of ['webgpu', 'wasm'] as const) whole[provider] = await generate(page, request, { provider })
  await page.close()
})

afterAll(() => site?.[Symbol.asyncDispose]())

interface Account {
  readonly at: number
  readonly redone: number
  readonly lost: number
  readonly finishedOn: string | undefined
  readonly decibels: number
}

/** What an interrupted run came to, against the uninterrupted one on the same backend. */
function account(at: number, ran: readonly number[], made: Generated): Account {
  const once = new Set(ran)
  return {
    at,
    redone: ran.length - once.size,
    lost: steps - once.size,
    finishedOn: made.provider,
    decibels: likeness(made, whole[made.provider ?? ''] as Generated),
  }
}

function report(kind: string, accounts: readonly Account[]): void {
  if (brief) return
  const equal = accounts.filter((each) => each.decibels === Number.POSITIVE_INFINITY).length
  const redone = Math.max(...accounts.map((each) => each.redone))
  const places = accounts.map(({ at, finishedOn }) => `${at} ${finishedOn}`).join(', ')
  process.stderr.write(`${kind}: ${accounts.length} at steps ${places}; equal ${equal}, redone at most ${redone}\n`)
}

describe('a run that is interrupted', { timeout: 300_000 + 100_000 * crashes }, () => {
  it(`survives ${crashes} crashes of the GPU process: equal on the same backend, at most one step redone`, async () => {
    const accounts: Account[] = []
    for (let count = 0; count < crashes; count++) {
      // A browser gives up its GPU after a few crashes, so each gets a fresh one over the same profile.
      if (count > 0) await site.relaunch()
      const [at, ran, page] = [someStep(), [] as number[], await site.open()]
      await page.goto(site.url)
      const session = await site.context.newCDPSession(page)
      const made = await generate(page, request, {
        onStep: (step) => {
          ran.push(step)
          // The answer may die with the process.
          if (step === at) session.send('Browser.crashGpuProcess').catch(() => {})
        },
      })
      expect(made.status).toBe('completed')
      // Nothing would have been shown by a crash that nobody noticed.
      expect(made.warnings).toContain('device_failed_midway')
      accounts.push(account(at, ran, made))
      await page.close()
    }
    report('GPU crashes', accounts)
    for (const { redone, lost, finishedOn, decibels } of accounts) {
      expect(redone).toBeLessThanOrEqual(1)
      expect(lost).toBe(0)
      if (finishedOn === 'webgpu') expect(decibels).toBe(Number.POSITIVE_INFINITY)
      // Begun on one backend and finished on another, which agree to this.
      else expect(decibels).toBeGreaterThan(40)
    }
  })

  it(`survives ${kills} deaths or reloads of its tab in the same way`, async () => {
    await site.relaunch()
    const accounts: Account[] = []
    for (let count = 0; count < kills; count++) {
      const [at, ran] = [someStep(), [] as number[]]
      const reload = chance(0.5)
      const first = await site.open()
      await first.goto(site.url)
      const end = async () => {
        if (reload) return first.reload()
        const session = await site.context.newCDPSession(first)
        return session.send('Page.crash')
      }
      const cut = generate(first, request, {
        onStep: (step) => {
          ran.push(step)
          if (step === at) void end().catch(() => {})
        },
      })
      await expect(cut).rejects.toThrow()
      // A reloaded page goes on itself; one that has died leaves the next to another.
      const second = reload ? first : await site.open()
      if (!reload) await second.goto(site.url)
      const made = await generate(second, request, { onStep: (step) => ran.push(step) })
      expect(made).toMatchObject({ status: 'completed', warnings: [] })
      accounts.push(account(at, ran, made))
      await second.close()
    }
    report('tab kills and reloads', accounts)
    for (const { redone, finishedOn, decibels } of accounts) {
      expect(redone).toBeLessThanOrEqual(1)
      expect([finishedOn, decibels]).toEqual(['webgpu', Number.POSITIVE_INFINITY])
    }
  })
})
