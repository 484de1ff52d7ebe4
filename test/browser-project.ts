/**
 * The vitest projects of a real browser: a system Chromium with a software GPU, or nothing where there is none.
 *
 * Serves the runtime and a toy model under /models/, as a deployment would, and golden files where there are any. Flags: WebGPU on SwiftShader.
 */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { defineBrowserCommand, playwright } from '@vitest/browser-playwright'
import type { TestProjectInlineConfiguration } from 'vitest/config'
import { type Assets, isolationHeaders, zoetropeAssets } from '../client/studio/assets.ts'
import { edgeSite } from './edge-site.ts'
import { faultyDownloads } from './faulty-downloads.ts'
import { goldenAssets } from './golden/files.ts'
import { importedSite } from './imported-site.ts'
import { toyAssets } from './toy-assets.ts'

export const chromium = process.env.CHROMIUM ?? '/usr/bin/chromium'

/** As the platform's documentation for software WebGPU has them; GPU stays enabled. */
export const chromiumFlags = ['--headless=new', '--no-sandbox', '--enable-unsafe-webgpu']

/**
 * For what is not measured: every page compiles the runtime's WebAssembly anew, and compiled once, without a second and
 * better time, a quarter of all processor time is saved. What it computes is the same.
 */
export const quickFlags = [...chromiumFlags, '--js-flags=--liftoff-only']

/** The projects, or none with a line that says so. */
export function browserProjects(): TestProjectInlineConfiguration[] {
  if (!existsSync(chromium)) {
    process.stderr.write(`browser tests are left out: there is no ${chromium}; apt-get install chromium\n`)
    return []
  }
  return [
    // The built studio as a visitor meets it, driven from outside: pages, service worker, no network.
    {
      test: {
        name: 'studio',
        include: ['client/**/*.e2e.test.ts'],
        globalSetup: ['test/studio/builds.ts'],
        testTimeout: 300_000,
        hookTimeout: 300_000,
        // How long a page may take on a busy machine; what it then shows is the claim.
        expect: { poll: { timeout: 30_000 } },
        sequence: { groupOrder: 2 },
      },
    },
    inChromium('browser', 'client/**/*.browser.test.ts', 3),
    // In a browser of its own, which is not fit for other tests afterwards.
    inChromium('crash', 'client/**/*.gpu.test.ts', 4),
  ]
}

/** Whether what is measured is to be printed. */
const report = Boolean(process.env.ZOETROPE_REPORT)

/** @param groupOrder projects run one after another: each wants the whole machine. */
function inChromium(name: string, include: string, groupOrder: number): TestProjectInlineConfiguration {
  return {
    plugins: [zoetropeAssets({ more: testAssets }), faultyDownloads(toyAssets), importedSite(), edgeSite()],
    server: { headers: isolationHeaders },
    // Found late they would reload the page in the middle of a test.
    optimizeDeps: { include: ['valibot', 'mediabunny'] },
    test: {
      name,
      provide: { report },
      include: [include],
      testTimeout: 180_000,
      sequence: { groupOrder },
      browser: {
        enabled: true,
        headless: true,
        screenshotFailures: false,
        provider: playwright({
          launchOptions: {
            executablePath: chromium,
            args: report ? chromiumFlags : quickFlags,
            ignoreDefaultArgs: ['--headless', '--headless=old'],
          },
        }),
        instances: [{ browser: 'chromium' }],
        commands: { ffprobe, crashGpu },
      },
    },
  }
}

/** What pages may ask for beside the runtime. */
const testAssets = async (): Promise<Assets> => new Map([...(await toyAssets()), ...goldenAssets()])

/** What ffprobe reads in a file given as base64. */
const ffprobe = defineBrowserCommand(async (_context, base64: string, extension: string) => {
  const folder = await mkdtemp(join(tmpdir(), 'zoetrope-probe-'))
  try {
    const file = join(folder, `video.${extension}`)
    await writeFile(file, Buffer.from(base64, 'base64'))
    const words = ['-v', 'error', '-count_frames', '-show_streams', '-show_format', '-of', 'json', file]
    const { stdout } = await promisify(execFile)('ffprobe', words)
    return JSON.parse(stdout) as { streams: Record<string, string | number>[] }
  } finally {
    await rm(folder, { recursive: true })
  }
})

/** Ends the browser's GPU process, as a failing driver would. */
const crashGpu = defineBrowserCommand(async ({ context }) => {
  const session = await context.browser()?.newBrowserCDPSession()
  // The answer may die with the process.
  await session?.send('Browser.crashGpuProcess').catch(() => {})
})
