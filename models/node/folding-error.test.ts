import { describe, expect, it } from 'vitest'
import { guidanceFeed } from '../pipeline/generate.ts'
import { type Draw, textFeeds } from '../train/denoising.ts'
import type { Feeds } from '../train/loop.ts'
import type { DenoiserSession } from './denoiser-session.ts'
import { foldingErrors, foldingScales, foldingTimes } from './folding-error.ts'

const featureWidth = 16
const tokens = 8
const numbers = (count: number) => Float32Array.from({ length: count }, (_, n) => Math.sin(n + count))
const drawn: Draw = {
  name: 'video',
  shape: [3, 2, 2, 2, 2],
  clean: numbers(48),
  noise: numbers(49).subarray(1),
  coverage: new Float32Array(24),
  times: numbers(3),
  given: [false, false, false],
  text: textFeeds('video', ['a blue bird', 'a red fox jumps', 'a cup'], tokens),
}

const fed = (conditions: Feeds, name: string): number[] => [...(conditions[`video.${name}`]?.data ?? [])]

/** Words halve the latents; silence takes a tenth of them. */
const teacher: DenoiserSession = {
  under: (conditions) => async (latents) => {
    const silent = fed(conditions, 'mask').reduce((sum, each) => sum + each, 0) <= 3
    return latents.map((value) => value * (silent ? 0.1 : 0.5))
  },
  [Symbol.asyncDispose]: async () => {},
}

/** Guides by a scale of its own, whatever it is told, or by the one it is told. */
const student = (own?: number): DenoiserSession => ({
  under: (conditions) => async (latents) => {
    const told = fed(conditions, 'guidance').slice(0, featureWidth)
    const asked = foldingScales.find((each) => guidanceFeed([each], featureWidth).data.every((x, n) => x === told[n]))
    return latents.map((value) => value * (0.1 + (own ?? asked ?? Number.NaN) * 0.4))
  },
  [Symbol.asyncDispose]: async () => {},
})

describe('what a student lacks of its teacher’s guidance', () => {
  it('is nothing where it says what two evaluations combine to', async () => {
    const errors = await foldingErrors(drawn, { teacher, student: student(), tokens, featureWidth })
    expect(errors.map(({ time, scale }) => [time, scale])).toEqual(
      foldingTimes.flatMap((time) => foldingScales.map((scale) => [time, scale])),
    )
    for (const { error, effect } of errors) {
      expect(error).toBeLessThan(1e-12)
      expect(effect).toBeGreaterThan(1e-3)
    }
  })

  it('is the whole effect where it says what the teacher says of the words alone', async () => {
    for (const { error, effect } of await foldingErrors(drawn, { teacher, student: student(1), tokens, featureWidth }))
      expect(error).toBeCloseTo(effect, 6)
  })

  it('grows with the square of what the scale is away from one', async () => {
    const [two, four] = await foldingErrors(drawn, { teacher, student: student(1), tokens, featureWidth })
    expect((four?.effect ?? 0) / (two?.effect ?? 1)).toBeCloseTo(9, 4)
  })
})
