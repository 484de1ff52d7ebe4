import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  denoisedFrom,
  lossWeight,
  noiseFrom,
  outputFrom,
  outputLossWeight,
  type Prediction,
  targetOf,
} from './prediction.ts'
import {
  cosine,
  interpolatedCosine,
  karras,
  logsnrOf,
  noiseAngle,
  rectifiedFlow,
  type Schedule,
  timesteps,
} from './schedule.ts'

const unit = fc.double({ min: 0, max: 1, noNaN: true })
const variancePreserving: Readonly<Record<string, Schedule>> = {
  cosine: cosine(),
  shifted: cosine({ side: 256, reference: 64 }),
  interpolated: interpolatedCosine(256, 32, 128),
  karras: karras({ min: 0.002, max: 80 }),
}

describe('schedules', () => {
  it('preserve variance and fall in signal as time rises', () => {
    for (const schedule of Object.values(variancePreserving)) {
      fc.assert(
        fc.property(unit, unit, (a, b) => {
          const { alpha, sigma } = schedule(a)
          expect(alpha ** 2 + sigma ** 2).toBeCloseTo(1, 12)
          if (a < b) expect(schedule(b).alpha).toBeLessThanOrEqual(alpha)
        }),
        { seed: 2 },
      )
    }
  })

  it('meet ±20 exactly, shifted or not', () => {
    for (const schedule of [cosine(), cosine({ side: 256, reference: 64 })]) {
      expect(logsnrOf(schedule(0))).toBeCloseTo(20, 6)
      expect(logsnrOf(schedule(1))).toBeCloseTo(-20, 6)
    }
  })

  it('are the cosine of the papers in the middle: alpha = cos(πt/2)', () => {
    for (const t of [0.05, 0.3, 0.5, 0.8, 0.95]) {
      expect(cosine()(t).alpha).toBeCloseTo(Math.cos((Math.PI * t) / 2), 3)
      expect(noiseAngle(cosine()(t))).toBeCloseTo(t, 3)
    }
  })

  it('shift by twice the logarithm of the ratio of sides', () => {
    const [plain, shifted] = [cosine()(0.5), cosine({ side: 256, reference: 64 })(0.5)]
    expect(logsnrOf(shifted) - logsnrOf(plain)).toBeCloseTo(2 * Math.log(64 / 256), 3)
  })

  it('interpolate from the low reference at noise to the high one at clean', () => {
    const [mixed, low] = [interpolatedCosine(256, 32, 128)(0.95), cosine({ side: 256, reference: 32 })(0.95)]
    expect(Math.abs(logsnrOf(mixed) - logsnrOf(low))).toBeLessThan(0.2)
  })

  it('run straight for rectified flow, and reach pure noise', () => {
    expect(rectifiedFlow()(0.25)).toMatchObject({ alpha: 0.75, sigma: 0.25 })
    expect(rectifiedFlow(3)(1)).toMatchObject({ alpha: 0, sigma: 1 })
    expect(rectifiedFlow(3)(0.5).sigma).toBeCloseTo(0.75, 12)
  })

  it('hit Karras’s ends', () => {
    const schedule = karras({ min: 0.002, max: 80 })
    const ratio = (t: number) => schedule(t).sigma / schedule(t).alpha
    expect(ratio(0)).toBeCloseTo(0.002, 9)
    expect(ratio(1)).toBeCloseTo(80, 6)
  })

  it('step evenly down to zero', () => {
    expect(timesteps(4)).toEqual([1, 0.75, 0.5, 0.25, 0])
    expect(timesteps(2, 0.5)).toEqual([0.5, 0.25, 0])
    expect(() => timesteps(1.5)).toThrow('steps: got 1.5')
  })
})

describe('predictions', () => {
  const predictions: readonly Prediction[] = ['noise', 'sample', 'velocity', 'flow']

  it('give back clean latents and noise from a perfect output', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.02, max: 0.98, noNaN: true }),
        fc.double({ min: -3, max: 3, noNaN: true }),
        fc.double({ min: -3, max: 3, noNaN: true }),
        fc.constantFrom(cosine(), rectifiedFlow(2)),
        (t, x, e, schedule) => {
          const level = schedule(t)
          const z = level.alpha * x + level.sigma * e
          for (const prediction of predictions) {
            const target = targetOf(prediction, level)
            const output = target.clean * x + target.noise * e
            const [back, noise] = [denoisedFrom(prediction, level), noiseFrom(prediction, level)]
            expect(back.latents * z + back.output * output).toBeCloseTo(x, 8)
            const said = outputFrom(prediction, level)
            expect(said.latents * z + said.estimate * x).toBeCloseTo(output, 6)
            expect(noise.latents * z + noise.output * output).toBeCloseTo(e, 8)
          }
        },
      ),
      { seed: 3 },
    )
  })

  it('stay finite at pure noise where they can', () => {
    const level = { t: 1, alpha: 0, sigma: 1 }
    for (const prediction of ['sample', 'velocity', 'flow'] as const) {
      const { latents, output } = denoisedFrom(prediction, level)
      expect([latents, output].every(Number.isFinite)).toBe(true)
    }
  })

  it('tell the velocity from the flow', () => {
    const level = cosine()(0.5)
    expect(targetOf('velocity', level)).toEqual({ clean: -level.sigma, noise: level.alpha })
    expect(targetOf('flow', level)).toEqual({ clean: -1, noise: 1 })
  })
})

describe('loss weights', () => {
  it('stand in their identities', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.05, max: 0.95, noNaN: true }), (t) => {
        const level = cosine()(t)
        const snr = (level.alpha / level.sigma) ** 2
        expect(lossWeight('velocity', level)).toBeCloseTo(snr + 1, 6)
        expect(lossWeight('truncated', level)).toBeCloseTo(
          Math.max(lossWeight('sample', level), lossWeight('noise', level)),
          6,
        )
        expect(lossWeight('minSnr', level)).toBeLessThanOrEqual(5)
        // ‖v̂ − v‖² is (snr + 1)·‖x̂ − x‖².
        expect(outputLossWeight('velocity', 'noise', level) * (snr + 1)).toBeCloseTo(snr, 4)
        expect(outputLossWeight('velocity', 'velocity', level)).toBeCloseTo(1, 9)
        // ‖ε̂ − ε‖² is snr·‖x̂ − x‖².
        expect(outputLossWeight('noise', 'noise', level)).toBeCloseTo(1, 9)
        expect(outputLossWeight('sample', 'clamped', level)).toBeCloseTo(Math.min(snr + 1, 10), 9)
      }),
      { seed: 4 },
    )
  })
})
