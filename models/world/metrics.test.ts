import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import {
  accuracyOf,
  flicker,
  frechetDistance,
  misreadings,
  peakSignalToNoise,
  proportion,
  secondDifference,
  symmetricRoot,
} from './metrics.ts'
import type { Reading } from './oracles.ts'
import { renderClip } from './renderer.ts'
import { sampleAttributes } from './vocabulary.ts'

const clips = (first: number, count: number) =>
  Array.from({ length: count }, (_, n) =>
    renderClip(sampleAttributes(first + n, 'all'), first + n, { height: 32, width: 32, frames: 9 }),
  )

describe('metrics', () => {
  it('gives Wilson’s interval', () => {
    const { value, low, high } = proportion(90, 100)
    expect([value, low, high].map((x) => x.toFixed(4))).toEqual(['0.9000', '0.8256', '0.9448'])
    expect(proportion(0, 10).low).toBe(0)
  })

  it('judges only what was asked', () => {
    const attributes = sampleAttributes(1, 'all')
    const read = (value: string) => ({ value, confidence: 1 })
    const reading = Object.fromEntries(
      Object.entries(attributes).map(([name, value]) => [name, read(value)]),
    ) as unknown as Reading
    const wrong = { ...reading, scene: read('nowhere') } as unknown as Reading
    const { capAcc, attributes: each } = accuracyOf(
      [reading, wrong, wrong],
      [attributes, attributes, { puppet: attributes.puppet }],
    )
    expect(capAcc.value).toBeCloseTo(2 / 3)
    expect(each.scene).toMatchObject({ value: 0.5, clips: 2 })
    expect(each.puppet).toMatchObject({ value: 1, clips: 3 })
    expect(misreadings([reading, wrong, wrong], [attributes, attributes, { puppet: attributes.puppet }])).toEqual([
      { attribute: 'scene', asked: attributes.scene, read: 'nowhere', clips: 1 },
    ])
  })

  it('tells the noise of a level from that of two, six decibels apart', () => {
    const clip = (level: number) => ({ frames: 1, height: 2, width: 2, pixels: new Uint8Array(12).fill(level) })
    expect(peakSignalToNoise([clip(101)], [clip(100)])).toBeCloseTo(20 * Math.log10(255), 9)
    expect(peakSignalToNoise([clip(102)], [clip(100)])).toBeCloseTo(20 * Math.log10(255 / 2), 9)
  })

  it('calls a steady clip steady and finds added flicker', () => {
    const still = renderClip({ ...sampleAttributes(3, 'all'), camera: 'still' }, 3, { frames: 3 })
    const copy = {
      ...still,
      pixels: Uint8Array.from({ length: still.pixels.length }, (_, n) => still.pixels[n % (64 * 64 * 3)] as number),
    }
    expect(secondDifference(copy)).toBe(0)
    const real = clips(50, 6)
    const noise = gaussian(1, 1, 0, real[0]?.pixels.length ?? 0)
    const noisy = real.map((clip) => ({
      ...clip,
      pixels: clip.pixels.map((value, n) => Math.max(0, Math.min(255, value + 10 * (noise[n] as number)))),
    }))
    expect(flicker(real, real).value).toBe(1)
    expect(flicker(noisy, real).value).toBeGreaterThan(1.5)
  })

  it('puts blurred clips farther from real ones than other real ones are', () => {
    const [real, others] = [clips(100, 24), clips(200, 24)]
    const flat = real.map((clip) => ({ ...clip, pixels: clip.pixels.map((value) => 128 + (value - 128) * 0.6) }))
    const floor = frechetDistance(others, real).value
    expect(floor).toBeGreaterThan(0)
    expect(frechetDistance(flat, others).value).toBeGreaterThan(2 * floor)
  })

  it('takes square roots of symmetric matrices', () => {
    const half = [
      [2, 1, 0],
      [1, 3, 1],
      [0, 1, 4],
    ]
    const square = half.map((row) =>
      Float64Array.from(half, (_, j) => row.reduce((total, value, k) => total + value * (half[k]?.[j] ?? 0), 0)),
    )
    symmetricRoot(square).forEach((row, i) => {
      row.forEach((value, j) => {
        expect(value).toBeCloseTo(half[i]?.[j] as number, 9)
      })
    })
  })
})
