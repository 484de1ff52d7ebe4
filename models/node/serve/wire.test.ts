/**
 * The small formats of the node's wire: progress lines, headers, canonical JSON, ZIP, latents.
 */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { parseProgressFromLogs } from 'replicate'
import { describe, expect, it } from 'vitest'
import { canonicalJson } from './body.ts'
import { cancelAfterOf, waitOf } from './headers.ts'
import { latentBytes, latentsOf } from './latent-file.ts'
import { progressLine } from './progress.ts'
import { storedZip } from './zip.ts'

describe('a progress line', () => {
  it('has the form of tqdm', () => {
    expect(progressLine(4, 8, 3000)).toBe(' 50%|#####     | 4/8 [00:03<00:03]\n')
    expect(progressLine(0, 8, 0)).toBe('  0%|          | 0/8 [00:00<?]\n')
    expect(progressLine(8, 8, 3_725_000)).toBe('100%|##########| 8/8 [01:02:05<00:00]\n')
  })

  it('is understood by the stock client at every step, whatever lines surround it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1000 }), fc.nat(), fc.nat(10 ** 7), (steps, at, elapsed) => {
        const step = at % (steps + 1)
        const parsed = parseProgressFromLogs(`seed 7\nwarning: x\n${progressLine(step, steps, elapsed)}done\n`)
        expect(parsed).toEqual({ percentage: Math.floor((step / steps) * 100) / 100, current: step, total: steps })
      }),
    )
  })
})

describe('headers', () => {
  it('say how long to wait', () => {
    for (const [header, seconds] of [
      ['wait', 60],
      ['wait=5', 5],
      ['respond-async, Wait=7', 7],
      ['wait=600', 60],
      ['wait=0', undefined],
      ['wait=x', undefined],
      ['waiting', undefined],
      [undefined, undefined],
    ] as const) {
      expect([header, waitOf(header)]).toEqual([header, seconds])
    }
  })

  it('say when to cancel', () => {
    for (const [header, milliseconds] of [
      ['5s', 5000],
      ['5m', 300_000],
      ['1h30m', 5_400_000],
      ['24h', 86_400_000],
      [undefined, undefined],
    ] as const) {
      expect([header, cancelAfterOf(header)]).toEqual([header, milliseconds])
    }
    for (const header of ['', '4s', '25h', '5', 'm', '5m1h', '1.5m', '-1m']) {
      expect(() => cancelAfterOf(header), header).toThrow('allowed are 5s to 24h')
    }
  })
})

describe('canonical JSON', () => {
  it('is equal exactly where the values are', () => {
    const shuffled = (value: unknown): unknown =>
      typeof value !== 'object' || value === null
        ? value
        : Array.isArray(value)
          ? value.map(shuffled)
          : Object.fromEntries(
              Object.entries(value)
                .reverse()
                .map(([key, each]) => [key, shuffled(each)]),
            )
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        expect(canonicalJson(shuffled(a))).toBe(canonicalJson(a))
        if (canonicalJson(a) === canonicalJson(b))
          expect(JSON.parse(JSON.stringify(a))).toEqual(JSON.parse(JSON.stringify(b)))
      }),
    )
  })
})

describe('latents as bytes', () => {
  it('in full precision come back bit by bit, in half within its precision', () => {
    fc.assert(
      fc.property(fc.float32Array({ min: -100, max: 100, noNaN: true }), (data) => {
        expect(latentsOf(latentBytes(data, 'f32'), 'f32')).toEqual(data)
        const halves = latentsOf(latentBytes(data, 'f16'), 'f16')
        for (const [index, value] of data.entries()) {
          expect(Math.abs((halves[index] as number) - value)).toBeLessThanOrEqual(
            Math.max(2 ** -24, Math.abs(value) * 2 ** -11),
          )
        }
      }),
    )
  })

  it('of a broken length are refused', () => {
    expect(() => latentsOf(new Uint8Array(6), 'f32')).toThrow('got 6 bytes, f32 takes multiples of 4')
  })
})

describe('a stored ZIP', () => {
  it('is opened by another reader, entry by entry', () => {
    const folder = mkdtempSync(join(tmpdir(), 'zoetrope-zip-'))
    const entries = [
      { name: 'frame_00000.png', bytes: Buffer.from('first') },
      { name: 'frame_00001.png', bytes: Buffer.from([0, 255, 10, 13]) },
    ]
    writeFileSync(join(folder, 'frames.zip'), storedZip(entries))
    const script =
      'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; z.extractall(sys.argv[2])'
    execFileSync('python3', ['-c', script, join(folder, 'frames.zip'), folder])
    for (const { name, bytes } of entries) expect(readFileSync(join(folder, name))).toEqual(bytes)
  })
})
