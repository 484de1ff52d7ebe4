/** `zoetrope inspect` from outside: what it says of models, machines and devices, before anything is loaded. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { main } from '../models/node/cli.ts'
import type { DeviceReport } from '../shared/request.ts'
import { printed } from './printed.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'inspect-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const texts = printed()

const report: DeviceReport = {
  adapter_class: 'vendor/chip',
  features: [],
  limits: { maxBufferSize: 2 ** 30 },
  cross_origin_isolated: true,
  wasm_threads: true,
  storage_free_bytes: 1e11,
  online: true,
  models: [{ id: 'zt-nano', revision: 'r2', dtype: 'f32', cached: true, golden: 'pass', ms_per_step: 2 }],
}

interface Inspected {
  readonly cost: { readonly step: number; readonly flops: number }
  readonly seconds?: number
  readonly device?: { readonly reasons: readonly string[]; readonly memoryBytes: number }
}

async function inspected(...words: readonly string[]): Promise<Inspected> {
  Object.assign(texts, { emitted: '', said: '' })
  expect([await main(['inspect', ...words, '--json']), texts.said]).toEqual([0, expect.any(String)])
  return JSON.parse(texts.emitted) as Inspected
}

async function reported(change: Partial<DeviceReport> = {}): Promise<string> {
  const path = join(folder, 'report.json')
  await writeFile(path, JSON.stringify({ ...report, ...change }))
  return path
}

describe('inspect', () => {
  it('times a clip by the rate told', async () => {
    const { cost, seconds } = await inspected('zt-nano', '--rate', '100')
    expect(seconds).toBeCloseTo(cost.flops / 1e11, 9)
    const larger = await inspected('zt-nano', '--rate', '100', '--size', '128x128')
    expect(larger.cost.step).toBeGreaterThan(3 * cost.step)
  })

  it('times a device by the steps it reports, of another model too', async () => {
    const own = await inspected('zt-nano', '--device', await reported())
    // The standard clip: text and decoding beside steps of two milliseconds.
    expect(own.seconds).toBeCloseTo((0.002 * own.cost.flops) / own.cost.step, 2)
    const wan = await inspected('wan2.1-1.3b', '--device', await reported())
    expect(wan.seconds).toBeCloseTo((0.002 * wan.cost.flops) / own.cost.step, 0)
    const untimed = await inspected('zt-nano', '--device', await reported({ models: [] }))
    expect(untimed.seconds).toBeUndefined()
  })

  it('says what speaks against a device, as the router would', async () => {
    const words = ['wan2.1-1.3b', '--size', '832x480', '--frames', '81', '--device']
    const { device } = await inspected(...words, await reported({ storage_free_bytes: 1e8 }))
    expect(device?.reasons).toEqual(['device_untested', 'insufficient_storage', 'too_large_for_device'])
    expect(device?.memoryBytes).toBeGreaterThan(3e9)
  })

  it.each([
    [['nobody'], 'model: got nobody, allowed are zt-nano,'],
    [['zt-nano', '--size', '72x64'], 'multiples of 16'],
    [['zt-nano', '--frames', '6'], '4n + 1'],
    [['zt-nano', '--device', '/nowhere.json'], 'there is no file'],
    [['zt-nano', '--device', 'report.json', '--rate', '3'], 'allowed is one of them'],
  ])('refuses %j in one sentence', async (words, sentence) => {
    expect(await main(['inspect', ...words])).toBeGreaterThan(0)
    expect(texts.said).toContain(sentence)
  })

  it('refuses a report by its first fault', async () => {
    const path = await reported({ storage_free_bytes: -1 })
    expect(await main(['inspect', 'zt-nano', '--device', path])).toBeGreaterThan(0)
    expect(texts.said).toContain('--device: storage_free_bytes')
  })
})
