import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { plan } from '../../shared/sampler.ts'
import { cosine, type NoiseLevel } from '../../shared/schedule.ts'
import { closeLooks, distance, evenLooks, matchingTarget, noised, ways } from './matching.ts'

const schedule = cosine()
const shape = [8, 2, 1, 3, 3] as const
const size = 8 * 2 * 9

/** The clean estimate of numbers that are spread by `deviation` around `mean`, after noise. */
const gaussianEstimate =
  (mean: number, deviation: number) =>
  (latents: Float32Array, { alpha, sigma }: NoiseLevel): Float32Array => {
    const gain = (alpha * deviation ** 2) / (alpha ** 2 * deviation ** 2 + sigma ** 2)
    return latents.map((z) => mean + gain * (z - alpha * mean))
  }

function moments(numbers: Float32Array): { readonly mean: number; readonly deviation: number } {
  const mean = numbers.reduce((sum, x) => sum + x, 0) / numbers.length
  return { mean, deviation: Math.sqrt(numbers.reduce((sum, x) => sum + (x - mean) ** 2, 0) / numbers.length) }
}

describe('distribution matching', () => {
  it('gives a student of one step the mean and the spread of films, from words of two denoisers alone', async () => {
    const films = { mean: 1.5, deviation: 0.6 }
    const one = [1, 1, 1, 64, 64] as const
    // The student says shift + factor · noise.
    let [shift, factor] = [-0.5, 1.7]
    for (let update = 0; update < 600; update++) {
      const noise = gaussian(1, update, 0, 4096)
      const estimate = noise.map((z) => shift + factor * z)
      const level = schedule(evenLooks([0], (update * 0.381) % 1)[0] as number)
      const seen = noised(one, estimate, [level], gaussian(2, update, 0, 4096))
      const teacher = gaussianEstimate(films.mean, films.deviation)(seen, level)
      const companion = gaussianEstimate(shift, factor)(seen, level)
      const target = matchingTarget(one, estimate, teacher, companion)
      const [pulls, rate] = [target.map((x, n) => x - (estimate[n] as number)), 0.03]
      shift += (rate * pulls.reduce((sum, pull) => sum + pull, 0)) / 4096
      factor += (rate * pulls.reduce((sum, pull, n) => sum + pull * (noise[n] as number), 0)) / 4096
    }
    const made = moments(gaussian(3, 0, 0, 4096).map((z) => shift + factor * z))
    expect(made.mean).toBeCloseTo(films.mean, 1)
    expect(made.deviation).toBeCloseTo(films.deviation, 1)
  })

  it('asks for nothing where both agree, and for as much of a clip that is far off as of one that is near', () => {
    const [estimate, teacher] = [gaussian(4, 0, 0, size), gaussian(4, 1, 0, size)]
    expect(matchingTarget(shape, estimate, teacher, teacher)).toEqual(estimate)
    const scaled = (x: Float32Array, y: Float32Array) => x.map((value, n) => value + 5 * ((y[n] as number) - value))
    const companion = gaussian(4, 2, 0, size)
    const near = matchingTarget(shape, estimate, teacher, companion)
    const far = matchingTarget(shape, estimate, scaled(estimate, teacher), scaled(estimate, companion))
    far.forEach((value, n) => {
      expect(value).toBeCloseTo(near[n] as number, 4)
    })
  })

  it('looks at a clip between the end of its step and all but noise, everywhere in turn', () => {
    const ends = Array.from({ length: 400 }, (_, clip) => (clip % 8) / 8)
    for (const looks of [evenLooks, closeLooks]) {
      const times = looks(ends, 0.3)
      times.forEach((t, clip) => {
        expect(t).toBeGreaterThanOrEqual(ends[clip] as number)
        expect(t).toBeLessThanOrEqual(0.98)
      })
      for (const last of [0, 0.5]) {
        const these = times.filter((_, clip) => ends[clip] === last)
        expect(Math.min(...these)).toBeLessThan(last + 0.08)
        expect(Math.max(...these)).toBeGreaterThan(0.7)
      }
    }
    const mean = (times: number[]) => times.reduce((sum, t) => sum + t, 0) / times.length
    expect(mean(closeLooks(ends, 0.3))).toBeLessThan(mean(evenLooks(ends, 0.3)) - 0.1)
  })
})

describe('the ways of a student’s clips', () => {
  const estimateOf = gaussianEstimate(0.4, 0.8)
  const begun: number[] = []
  const way = ways({ shape, schedule, steps: 4, seed: 5, begin: (clip) => begun.push(clip) })
  const go = () => {
    const [latents, levels] = [way.latents(), way.times().map(schedule)]
    const perClip = size / shape[0]
    const estimate = new Float32Array(size)
    levels.forEach((level, clip) => {
      estimate.set(estimateOf(latents.subarray(clip * perClip, (clip + 1) * perClip), level), clip * perClip)
    })
    way.advance(estimate)
    return estimate
  }

  it('are as many at each step after the first round, and begin anew with other noise', () => {
    for (let step = 0; step < 4; step++) go()
    for (let step = 0; step < 4; step++) {
      expect(way.times().sort()).toEqual([0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1, 1])
      way.times().forEach((t, clip) => {
        expect(way.ends()[clip]).toBe(t - 0.25)
      })
      go()
    }
    // All at first, all early in the first round, all once more in the second.
    expect(begun.length).toBe(8 + 8 + 8)
    for (let clip = 0; clip < 8; clip++) expect(begun.filter((each) => each === clip).length).toBe(3)
  })

  it('are the sampler’s own', () => {
    while (way.times()[0] !== 1) go()
    const perClip = size / shape[0]
    let latents = way.latents().slice(0, perClip)
    let last: Float32Array = new Float32Array()
    for (const row of plan({ schedule, sampler: { kind: 'ddim' }, steps: 4 })) {
      const estimate = estimateOf(latents, row.level)
      latents = latents.map((z, n) => row.latents * z + row.denoised * (estimate[n] as number))
      last = go().slice(0, perClip)
    }
    expect(distance(last, latents)).toBeLessThan(1e-5)
  })
})
