import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gaussian } from './random.ts'
import { ancestralRow, clean, ddimRow, plan, type Sampler, transitionVariance } from './sampler.ts'
import { cosine, levelOfLogsnr, logsnrOf, type NoiseLevel, rectifiedFlow, type Schedule } from './schedule.ts'

const schedules: Readonly<Record<string, Schedule>> = {
  cosine: cosine(),
  shifted: cosine({ side: 256, reference: 64 }),
  flow: rectifiedFlow(3),
}
const samplers: readonly Sampler[] = [
  { kind: 'ddim' },
  { kind: 'ancestral', gamma: 0 },
  { kind: 'ancestral', gamma: 0.3 },
  { kind: 'ancestral', gamma: 1 },
  { kind: 'consistency' },
  { kind: 'stochastic' },
  { kind: 'dpm2m' },
  { kind: 'dpm2mSde' },
]

describe('the five forms of DDIM', () => {
  it('agree to 1e-12', () => {
    fc.assert(
      fc.property(
        fc.double({ min: -12, max: 12, noNaN: true }),
        fc.double({ min: 0.01, max: 8, noNaN: true }),
        fc.double({ min: -3, max: 3, noNaN: true }),
        fc.double({ min: -3, max: 3, noNaN: true }),
        (lambda, gap, x, noise) => {
          const [t, s] = [levelOfLogsnr(1, lambda), levelOfLogsnr(0.5, lambda + gap)]
          const z = t.alpha * x + t.sigma * noise
          const [phiT, phiS] = [Math.atan2(t.sigma, t.alpha), Math.atan2(s.sigma, s.alpha)]
          const v = t.alpha * noise - t.sigma * x
          const decay = Math.exp((lambda - (lambda + gap)) / 2)
          const row = ddimRow(t, s)
          const forms = [
            s.alpha * x + s.sigma * noise,
            row.latents * z + row.denoised * x,
            (s.alpha / t.alpha) * z + (s.sigma - (s.alpha * t.sigma) / t.alpha) * noise,
            Math.cos(phiS - phiT) * z + Math.sin(phiS - phiT) * v,
            decay * (s.alpha / t.alpha) * z + (1 - decay) * s.alpha * x,
          ]
          // Where alpha is tiny the third and fifth divide by it: the bound is relative to what they subtract.
          const scale = Math.max(1, Math.abs((s.alpha / t.alpha) * z))
          return forms.every((form) => Math.abs(form - (forms[0] as number)) <= 1e-12 * scale)
        },
      ),
      { seed: 1, numRuns: 500 },
    )
  })
})

describe('plan', () => {
  for (const [name, schedule] of Object.entries(schedules)) {
    for (const sampler of samplers) {
      const label = `${sampler.kind}${'gamma' in sampler ? ` ${sampler.gamma}` : ''}`
      it(`keeps signal and noise for every row of ${label} on ${name}`, () => {
        const steps = plan({ schedule, sampler, steps: 20 })
        for (const { level, next, latents, denoised, previous, noise } of steps) {
          // With the exact clean estimate, now and before, signal arrives at alpha and variance at sigma².
          expect(latents * level.alpha + denoised + previous).toBeCloseTo(next.alpha, 9)
          const variance = (latents * level.sigma) ** 2 + noise ** 2
          const keeps = sampler.kind === 'ancestral' && sampler.gamma > 0
          if (keeps) expect(variance).toBeGreaterThanOrEqual(next.sigma ** 2 - 1e-9)
          else expect(variance).toBeCloseTo(next.sigma ** 2, 9)
        }
      })
    }
  }

  it('starts at pure noise, ends clean, and is finite everywhere', () => {
    for (const sampler of samplers) {
      const steps = plan({ schedule: rectifiedFlow(), sampler, steps: 7 })
      expect(steps[0]?.level).toMatchObject({ t: 1, alpha: 0, sigma: 1 })
      expect(steps.at(-1)).toEqual({
        level: steps.at(-1)?.level,
        next: clean,
        latents: 0,
        denoised: 1,
        previous: 0,
        noise: 0,
      })
      for (const row of steps)
        expect([row.latents, row.denoised, row.previous, row.noise].every(Number.isFinite)).toBe(true)
    }
  })

  it('has a first row without memory, so a run may be cut before it', () => {
    for (const kind of ['dpm2m', 'dpm2mSde'] as const)
      expect(plan({ schedule: cosine(), sampler: { kind }, steps: 5 })[0]?.previous).toBe(0)
  })

  it('is second order where it says so: 2M beats DDIM on a curved path', () => {
    // Data of variance 0.09: the exact clean estimate is a·z with a known a, so the exact end is known too.
    const estimate = ({ alpha, sigma }: NoiseLevel, z: number) =>
      ((alpha * 0.09) / (alpha * alpha * 0.09 + sigma * sigma)) * z
    const end = (sampler: Sampler, steps: number) => {
      let [z, previous] = [1, 0]
      for (const row of plan({ schedule: cosine(), sampler, steps })) {
        const denoised = estimate(row.level, z)
        z = row.latents * z + row.denoised * denoised + row.previous * previous
        previous = denoised
      }
      return z
    }
    const exact = 0.3
    expect(Math.abs(end({ kind: 'dpm2m' }, 24) - exact)).toBeLessThan(0.5 * Math.abs(end({ kind: 'ddim' }, 24) - exact))
  })

  it('refuses a number of steps that is none', () => {
    expect(() => plan({ schedule: cosine(), sampler: { kind: 'ddim' }, steps: 0 })).toThrow('steps: got 0')
  })
})

describe('ancestral', () => {
  it('has the posterior of Bayes', () => {
    const [t, s] = [cosine()(0.7), cosine()(0.45)]
    const forward = transitionVariance(t, s)
    const precision = 1 / s.sigma ** 2 + (t.alpha / s.alpha) ** 2 / forward
    const row = ancestralRow(t, s, 0)
    expect(row.noise ** 2).toBeCloseTo(1 / precision, 12)
    expect(row.latents).toBeCloseTo(t.alpha / s.alpha / forward / precision, 12)
    expect(row.denoised).toBeCloseTo(s.alpha / s.sigma ** 2 / precision, 12)
    expect(forward).toBeCloseTo((1 - Math.exp(logsnrOf(t) - logsnrOf(s))) * t.sigma ** 2, 12)
  })
})

describe('on an analytic Gaussian', () => {
  // Two correlated numbers; the clean estimate is linear and exact.
  const covariance = [
    [1, 0.6],
    [0.6, 0.5],
  ] as const
  const estimate = ({ alpha, sigma }: NoiseLevel, [a, b]: readonly [number, number]): [number, number] => {
    const [p, q, r] = [
      alpha * alpha * covariance[0][0] + sigma * sigma,
      alpha * alpha * covariance[0][1],
      alpha * alpha * covariance[1][1] + sigma * sigma,
    ]
    const determinant = p * r - q * q
    const [u, v] = [(r * a - q * b) / determinant, (p * b - q * a) / determinant]
    return [
      alpha * (covariance[0][0] * u + covariance[0][1] * v),
      alpha * (covariance[1][0] * u + covariance[1][1] * v),
    ]
  }

  for (const sampler of [{ kind: 'ddim' }, { kind: 'ancestral', gamma: 0 }] as const satisfies readonly Sampler[]) {
    it(`1000 steps of ${sampler.kind} match the covariance within 2 %`, () => {
      const rows = plan({ schedule: cosine(), sampler, steps: 1000 })
      // The map is linear: carry the covariance of the latents through it exactly, instead of sampling it.
      let [aa, ab, ba, bb] = [1, 0, 0, 1]
      let [noiseAA, noiseAB, noiseBB] = [0, 0, 0]
      for (const row of rows) {
        const [first, second] = [estimate(row.level, [1, 0]), estimate(row.level, [0, 1])]
        const m = [
          row.latents + row.denoised * first[0],
          row.denoised * second[0],
          row.denoised * first[1],
          row.latents + row.denoised * second[1],
        ] as const
        ;[aa, ab, ba, bb] = [m[0] * aa + m[1] * ba, m[0] * ab + m[1] * bb, m[2] * aa + m[3] * ba, m[2] * ab + m[3] * bb]
        const [x, y, z] = [noiseAA, noiseAB, noiseBB]
        noiseAA = m[0] * m[0] * x + 2 * m[0] * m[1] * y + m[1] * m[1] * z + row.noise ** 2
        noiseAB = m[0] * m[2] * x + (m[0] * m[3] + m[1] * m[2]) * y + m[1] * m[3] * z
        noiseBB = m[2] * m[2] * x + 2 * m[2] * m[3] * y + m[3] * m[3] * z + row.noise ** 2
      }
      const reached = [aa * aa + ab * ab + noiseAA, aa * ba + ab * bb + noiseAB, ba * ba + bb * bb + noiseBB]
      ;[covariance[0][0], covariance[0][1], covariance[1][1]].forEach((wanted, index) => {
        expect(Math.abs((reached[index] as number) / wanted - 1)).toBeLessThan(0.02)
      })
    })
  }

  it('samples drawn with the project’s own noise match it too', () => {
    const rows = plan({ schedule: cosine(), sampler: { kind: 'ancestral', gamma: 0 }, steps: 200 })
    const count = 4000
    const [a, b] = [gaussian(1, 0, 0, count), gaussian(1, 1, 0, count)]
    rows.forEach((row, index) => {
      const [e, f] = [gaussian(2, index, 0, count), gaussian(3, index, 0, count)]
      for (let n = 0; n < count; n++) {
        const [x, y] = estimate(row.level, [a[n] as number, b[n] as number])
        a[n] = row.latents * (a[n] as number) + row.denoised * x + row.noise * (e[n] as number)
        b[n] = row.latents * (b[n] as number) + row.denoised * y + row.noise * (f[n] as number)
      }
    })
    const mean = (f: (n: number) => number) =>
      Array.from({ length: count }, (_, n) => f(n)).reduce((total, value) => total + value, 0) / count
    expect(mean((n) => (a[n] as number) ** 2)).toBeCloseTo(1, 1)
    expect(mean((n) => (a[n] as number) * (b[n] as number))).toBeCloseTo(0.6, 1)
    expect(mean((n) => (b[n] as number) ** 2)).toBeCloseTo(0.5, 1)
  })
})
