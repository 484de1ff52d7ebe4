import { describe, expect, it } from 'vitest'
import { commands } from 'vitest/browser'
import { decibels } from './frames.ts'
import { type ClientEvent, createClient, type Job } from './index.ts'

declare module 'vitest/browser' {
  interface BrowserCommands {
    crashGpu: () => Promise<void>
  }
}

const request = { prompt: 'a blue bird flies left over the sea', seed: 9, numInferenceSteps: 8 }

/** The frames of a job, by where they belong; `heed` sees every event. */
async function framesOf(job: Job, heed: (event: ClientEvent) => Promise<void> = async () => {}): Promise<number[]> {
  const pixels: number[] = []
  for await (const event of job.events()) {
    if (event.type === 'part' && 'pixels' in event.part) {
      const { first, pixels: part } = event.part
      part.forEach((value, at) => {
        pixels[first * 32 * 32 * 3 + at] = value
      })
    }
    await heed(event)
  }
  return pixels
}

describe('a client whose GPU process dies', () => {
  it('goes on from the last step, tells why, and ends with the same frames', async () => {
    using zoetrope = createClient()
    const whole = await framesOf(await zoetrope.videos.create(request))
    const job = await zoetrope.videos.create(request)
    const steps: number[] = []
    const frames = await framesOf(job, async (event) => {
      if (event.type === 'preview') steps.push(event.step)
      if (event.type === 'progress' && event.stage === 'denoise' && event.step === 3) await commands.crashGpu()
    })
    const { warnings, status } = await job.result()
    expect(status).toBe('completed')
    // A second warning where the browser gave no new adapter and the run went on to wasm.
    expect(warnings.length).toBeGreaterThanOrEqual(1)
    expect(new Set(warnings.map(({ code }) => code))).toEqual(new Set(['device_failed_midway']))
    // Previews are made by steps that ran: each step once, at most one of them twice.
    expect(steps.length - new Set(steps).size).toBeLessThanOrEqual(1)
    // Equal on a new device, within the two backends' distance on wasm.
    expect(decibels(whole, frames)).toBeGreaterThan(40)
  })
})
