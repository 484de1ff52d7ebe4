/**
 * One generation of the SDK in a page, followed from outside.
 */

import type { Page } from 'playwright'
import { decibels } from '../../client/frames.ts'
import type { Client, VideoRequest } from '../../client/index.ts'

/** What came of it. */
export interface Generated {
  /** All pixels in their order, as base64. */
  readonly pixels: string
  readonly provider: string | undefined
  readonly warnings: readonly string[]
  readonly status: string
  /** Milliseconds from the call to the end of each step, and of the whole. */
  readonly times: readonly number[]
}

export interface GenerationOptions {
  readonly provider?: 'webgpu' | 'wasm'
  /** Told each denoising step that ran, in the order in which they ran. */
  readonly onStep?: (step: number) => void
}

const heardBy = new WeakMap<Page, (step: number) => void>()

/** Runs a request in the page's own client. Rejects where the page dies or the run fails. */
export async function generate(
  page: Page,
  request: VideoRequest,
  { provider = 'webgpu', onStep = () => {} }: GenerationOptions = {},
): Promise<Generated> {
  if (!heardBy.has(page)) await page.exposeFunction('stepped', (step: number) => heardBy.get(page)?.(step))
  heardBy.set(page, onStep)
  await page.waitForFunction(() => 'sdk' in globalThis)
  return page.evaluate(run, { request, provider })
}

/** Milliseconds that the page's client expects a request to take on this device, having fetched and timed its model. */
export async function estimated(page: Page, request: VideoRequest, provider: 'webgpu' | 'wasm'): Promise<number> {
  await page.waitForFunction(() => 'sdk' in globalThis)
  return page.evaluate(
    async ({ request, provider }) => {
      const { sdk } = globalThis as unknown as { sdk: Sdk }
      const zoetrope = sdk.createClient({ executionProvider: provider })
      const [standard] = (await zoetrope.models.list()).filter((each) => each.standard)
      await zoetrope.models.prefetch(standard?.card.id ?? '')
      const { device } = await zoetrope.videos.route({ ...request, inferenceMode: 'only_on_device' })
      zoetrope[Symbol.dispose]()
      return device.etaMs ?? Number.NaN
    },
    { request, provider },
  )
}

type Sdk = typeof import('../../client/index.ts')

/** In the page. */
async function run({ request, provider }: { request: VideoRequest; provider: 'webgpu' | 'wasm' }): Promise<Generated> {
  const page = globalThis as unknown as {
    stepped: (step: number) => Promise<void>
    sdk: Sdk
    clients?: Partial<Record<string, Client>>
  }
  page.clients ??= {}
  page.clients[provider] ??= page.sdk.createClient({ executionProvider: provider })
  const began = performance.now()
  const times: number[] = []
  const job = await page.clients[provider].videos.create(request)
  try {
    const parts: Uint8Array[] = []
    for await (const event of job.events()) {
      // A preview is made by a step that ran; steps that a checkpoint answers make none.
      if (event.type === 'preview') {
        times.push(performance.now() - began)
        void page.stepped(event.step)
      }
      if (event.type === 'part' && 'pixels' in event.part) parts[event.block] = event.part.pixels
    }
    const { receipt, warnings, status } = await job.result()
    times.push(performance.now() - began)
    const pixels = new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer())
    return {
      pixels: (pixels as unknown as { toBase64(): string }).toBase64(),
      provider: receipt?.execution_provider,
      warnings: warnings.map(({ code }) => code),
      status,
      times,
    }
  } finally {
    // Not by `using`: this function is sent to the page as text, without what a compiler would put beside it.
    job[Symbol.dispose]()
  }
}

/** Likeness of two results in decibels; Infinity where they are equal. */
export function likeness(one: Generated, other: Generated): number {
  const [a, b] = [one, other].map(({ pixels }) => Buffer.from(pixels, 'base64')) as [Buffer, Buffer]
  return decibels(a, b)
}
