/**
 * What a tab holds: memory of its scripts in all threads, buffers on its GPU, and what its processes have resident.
 */

import { readdirSync, readFileSync } from 'node:fs'
import type { BrowserContext, Page } from 'playwright'
import { familyOf } from '../started.ts'

/** Makes the browser measure at once, after it has collected what nobody holds. */
export const memoryFlags = ['--enable-blink-features=ForceEagerMeasureMemory'] as const

export interface Held {
  /** Bytes of the page and of its workers. */
  readonly heap: number
  readonly buffers: number
  readonly bufferBytes: number
  /** Resident bytes of the renderer and of the GPU process together. */
  readonly resident: number
}

/** Put before the engine's own script: counts buffers that were made and not destroyed, whoever still knows them. */
const counting = `
const live = new Set()
const [create, destroy] = [GPUDevice.prototype.createBuffer, GPUBuffer.prototype.destroy]
GPUDevice.prototype.createBuffer = function (descriptor) {
  globalThis.lastDevice = this
  const buffer = create.call(this, descriptor)
  live.add(buffer)
  return buffer
}
GPUBuffer.prototype.destroy = function () {
  live.delete(this)
  return destroy.call(this)
}
const line = new BroadcastChannel('gpu-buffers')
line.addEventListener('message', ({ data }) => {
  const bytes = () => [...live].reduce((sum, { size }) => sum + size, 0)
  if (data === 'count') line.postMessage({ buffers: live.size, bytes: bytes() })
})
`

/** A leak of both kinds with each generation: what the measures must find. */
export const plantedLeak = `
const kept = []
addEventListener('message', ({ data }) => {
  if (data.kind !== 'generate') return
  kept.push(new Array(131072).fill(Math.random()))
  if (globalThis.lastDevice) kept.push(globalThis.lastDevice.createBuffer({ size: 1024, usage: 128 }))
})
`

/** Counts the buffers of every engine that this context starts; `more` runs with it. */
export async function countBuffers(context: BrowserContext, more = ''): Promise<void> {
  await context.route(/\/assets\/thread-[^/]*\.js$/, async (route) => {
    const answer = await route.fetch()
    await route.fulfill({ response: answer, body: `${counting}${more}${await answer.text()}` })
  })
}

interface Measured {
  readonly heap: number
  readonly buffers: number
  readonly bytes: number
}

/** What the tab holds now. */
export async function heldBy(page: Page, profile: string): Promise<Held> {
  const { heap, buffers, bytes } = await page.evaluate(async (): Promise<Measured> => {
    const { measureUserAgentSpecificMemory: measure } = performance as unknown as {
      measureUserAgentSpecificMemory: () => Promise<{ bytes: number }>
    }
    const line = new BroadcastChannel('gpu-buffers')
    const counted = new Promise<{ buffers: number; bytes: number }>((resolve) => {
      line.onmessage = ({ data }) => resolve(data)
    })
    line.postMessage('count')
    const { bytes: heap } = await measure.call(performance)
    const found = await counted
    line.close()
    return { heap, ...found }
  })
  return { heap, buffers, bufferBytes: bytes, resident: residentIn(profile) }
}

/** The largest renderer and the GPU process of the browser with this profile. */
function residentIn(profile: string): number {
  const command = (pid: number) => readProcess(pid, 'cmdline')
  const pids = readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []))
  const browser = pids.find(
    (pid) => command(pid).includes(`--user-data-dir=${profile}`) && !command(pid).includes('--type='),
  )
  if (browser === undefined) throw new Error(`no browser runs over ${profile}`)
  const sizes = (kind: string) =>
    familyOf(browser).flatMap((pid) => (command(pid).includes(`--type=${kind}`) ? [residentOf(pid)] : []))
  return Math.max(0, ...sizes('renderer')) + Math.max(0, ...sizes('gpu-process'))
}

function residentOf(pid: number): number {
  const [, kibibytes = '0'] = /^VmRSS:\s+(\d+) kB/m.exec(readProcess(pid, 'status')) ?? []
  return 1024 * Number(kibibytes)
}

function readProcess(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    // It has ended meanwhile.
    return ''
  }
}
