/** The oracles, held against clips whose attributes are known. */

import { describe, expect, it } from 'vitest'
import { softened } from './oracles/soften.ts'
import { measureOracles, readClip } from './oracles.ts'
import { renderClip } from './renderer.ts'
import { type Attributes, attributeNames, sampleAttributes } from './vocabulary.ts'

const minutes = 60_000

const expectRight = (attributes: Attributes, seed: number, options: Parameters<typeof renderClip>[2]) => {
  const reading = readClip({ ...renderClip(attributes, seed, options), fps: options?.fps ?? 8 })
  expect(Object.fromEntries(attributeNames.map((name) => [name, reading[name].value]))).toEqual(attributes)
}

describe('oracles', () => {
  it(
    'read every attribute of 98 in 100 rendered clips',
    () => {
      const { clips, right } = measureOracles(200)
      for (const name of attributeNames) expect(right[name] / clips, name).toBeGreaterThanOrEqual(0.98)
    },
    3 * minutes,
  )

  it(
    'read soft and noisy clips nearly as well',
    () => {
      const { clips, right } = measureOracles(60, { firstSeed: 0xb000_0000, soft: true })
      for (const name of attributeNames) expect(right[name] / clips, name).toBeGreaterThanOrEqual(0.95)
    },
    3 * minutes,
  )

  it('read other sizes, lengths and rates', () => {
    const film = [0, 1, 2].map((n) => sampleAttributes(0xa100_0000 + n, 'all'))
    for (const [n, options] of [
      { height: 48, width: 80 },
      { height: 96, width: 96, frames: 25 },
      { frames: 33, fps: 16 },
    ].entries())
      expectRight(film[n] as Attributes, 0xa100_0000 + n, options)
  })

  it('read puppet, colour and scene of a picture, and are not sure of the rest', () => {
    const attributes = sampleAttributes(0xa200_0000, 'all')
    const { puppet, colour, scene, action, camera } = readClip(renderClip(attributes, 0xa200_0000, { frames: 1 }))
    expect([puppet.value, colour.value, scene.value]).toEqual([attributes.puppet, attributes.colour, attributes.scene])
    expect([action.confidence, camera.confidence]).toEqual([0, 0])
  })

  it('do not take grey for something sure', () => {
    const reading = readClip({ frames: 17, height: 64, width: 64, pixels: new Uint8Array(17 * 64 * 64 * 3).fill(128) })
    for (const name of attributeNames) expect(Number.isFinite(reading[name].confidence)).toBe(true)
    expect(reading.puppet.confidence).toBeLessThan(0.5)
  })

  it('refuse bytes that do not fill the clip', () => {
    expect(() => readClip({ frames: 2, height: 64, width: 64, pixels: new Uint8Array(5) })).toThrow(
      'readClip: got 5 bytes, wants 24576 for 2 frames of 64×64',
    )
  })
})

describe('softened clips', () => {
  it('keep their mean, lose contrast and repeat by seed', () => {
    const clip = renderClip(sampleAttributes(9, 'all'), 9, { frames: 1 })
    const soft = softened(clip, 1)
    const mean = (bytes: Uint8Array) => bytes.reduce((sum, byte) => sum + byte, 0) / bytes.length
    expect(Math.abs(mean(soft.pixels) - mean(clip.pixels))).toBeLessThan(1)
    expect(softened(clip, 1).pixels).toEqual(soft.pixels)
    expect(softened(clip, 2).pixels).not.toEqual(soft.pixels)
  })
})
