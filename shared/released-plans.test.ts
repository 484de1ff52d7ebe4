import { describe, expect, it } from 'vitest'
import { denoisedFrom } from './prediction.ts'
import { type ReleasedPlanName, type ReleasedStep, releasedPlans, releasedSteps, startOf } from './released-plans.ts'

const every = Object.entries(releasedPlans).map(([name, plan]) => [name, releasedSteps(plan)] as const)

/** One number through a row, as the step graph computes it. */
const stepped = (x: number, denoised: number, noise: number, row: ReleasedStep) =>
  row.latents * x + row.denoised * denoised + row.noise * noise

describe('every plan', () => {
  it.each(every)('%s keeps signal and noise for every row', (_, passes) => {
    for (const row of passes.flat()) {
      // Of clean and noise in the latents, a perfect denoiser leaves alpha′ and, in all, sigma′.
      expect(stepped(row.level.alpha, 1, 0, row)).toBeCloseTo(row.next.alpha, 12)
      expect(Math.hypot(row.latents * row.level.sigma, row.noise)).toBeCloseTo(row.next.sigma, 12)
    }
  })

  it.each(every)('%s falls step by step, each beginning where the last ended, and ends clean', (_, passes) => {
    for (const rows of passes) {
      for (const [index, row] of rows.entries()) {
        expect(row.next.sigma).toBeLessThan(row.level.sigma)
        if (index > 0) expect(row.level).toEqual(rows[index - 1]?.next)
      }
      expect(rows.at(-1)?.next).toMatchObject({ alpha: 1, sigma: 0 })
    }
  })
})

describe('the plan of', () => {
  const rows = (name: keyof typeof releasedPlans) => releasedSteps(releasedPlans[name]).flat()

  it('LTX 0.9.6 is the linear-quadratic schedule of eight steps with threshold 0.025', () => {
    const [steps, half, threshold] = [8, 4, 0.025]
    const slope = threshold / half
    const quadratic = slope / half - threshold / half ** 2
    const end = (1 - threshold - slope * half) / half ** 2 + quadratic
    const wanted = Array.from({ length: steps }, (_, i) =>
      i < half ? 1 - slope * i : 1 - (threshold + slope * (i - half) + end * (i - half) ** 2),
    )
    rows('ltx-0.9.6-distilled').forEach(({ level }, index) => {
      expect(level.sigma).toBeCloseTo(wanted[index] as number, 10)
    })
  })

  it('Self-Forcing is its four quarters shifted by five', () => {
    const sigmas = rows('self-forcing').map(({ level }) => level.sigma)
    for (const [index, wanted] of [1, 0.9375, 0.8333, 0.625].entries()) expect(sigmas[index]).toBeCloseTo(wanted, 4)
  })

  it('AnimateDiff-Lightning stands at the published levels and timesteps', () => {
    const four = rows('animatediff-lightning-4')
    expect(four.map(({ timestep }) => timestep)).toEqual([999, 749, 499, 249])
    const ratios = four.map(({ level }) => level.sigma / level.alpha)
    for (const [index, wanted] of [25.146, 6.557, 2.276, 0.867].entries()) expect(ratios[index]).toBeCloseTo(wanted, 2)
  })

  it('AnimateDiff-Lightning steps as Euler does over σ, with noise predicted', () => {
    const [row] = rows('animatediff-lightning-4')
    if (row === undefined) throw new Error('no rows')
    const [x, predicted] = [0.7, -0.4]
    const { latents, output } = denoisedFrom('noise', row.level)
    const next = stepped(x, latents * x + output * predicted, 0, row)
    // The same in variance-exploding numbers: X = x/alpha, X′ = X + (σ′ − σ)·ε.
    const sigma = (level: ReleasedStep['level']) => level.sigma / level.alpha
    const exploding = x / row.level.alpha + (sigma(row.next) - sigma(row.level)) * predicted
    expect(next).toBeCloseTo(exploding * row.next.alpha, 12)
  })

  it('LTX 0.9.8 steps as Euler does along the velocity', () => {
    const [row] = rows('ltx-0.9.8-distilled')
    if (row === undefined) throw new Error('no rows')
    const [x, velocity] = [0.3, 0.9]
    const { latents, output } = denoisedFrom('flow', row.level)
    expect(stepped(x, latents * x + output * velocity, 0, row)).toBeCloseTo(
      x + (row.next.sigma - row.level.sigma) * velocity,
      12,
    )
  })

  it('LTX 0.9.8 in two passes begins the second where it noises again', () => {
    const plan = releasedPlans['ltx-0.9.8-distilled-two-pass']
    const [, second] = releasedSteps(plan)
    expect(startOf(plan.passes[1])).toEqual(second?.[0]?.level)
    expect(second?.[0]?.timestep).toBeCloseTo(909.4, 10)
  })
})

describe('a plan of any number of steps', () => {
  const sigmas = (name: ReleasedPlanName, steps?: number) =>
    releasedSteps(releasedPlans[name], steps).flatMap((pass) => pass.map(({ level }) => level.sigma))

  it('has as many as asked for, its own number else', () => {
    for (const name of ['ltx-base', 'wan2.1-base'] as const) {
      expect(sigmas(name, 7)).toHaveLength(7)
      expect(sigmas(name, 1)).toEqual([1])
      expect(sigmas(name)).toHaveLength(releasedPlans[name].path === 'spaced' ? releasedPlans[name].steps : 0)
    }
  })

  it('of LTX in eight steps stands where the distilled one of eight steps was trained', () => {
    const trained = sigmas('ltx-0.9.6-distilled')
    sigmas('ltx-base', 8).forEach((sigma, index) => {
      expect(sigma).toBeCloseTo(trained[index] as number, 12)
    })
  })

  it('of Wan is shifted: halfway in time, eight ninths of the noise are left', () => {
    expect(sigmas('wan2.1-base', 2)[1]).toBeCloseTo(8 / 9, 12)
  })
})
