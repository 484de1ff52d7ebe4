import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { plan } from '../../shared/sampler.ts'
import { cosine } from '../../shared/schedule.ts'
import { type Denoise, ddimStep, direct, guidedEstimate, landingTarget, studentTime } from './distill.ts'

const shape = [6, 2, 1, 3, 3] as const
const size = 6 * 2 * 9
const schedule = cosine()
/** Any function of latents and level is a teacher. */
const teacher: Denoise = async (latents, levels) =>
  latents.map((z, index) => Math.tanh(1.3 * z) * 0.9 + 0.2 * (levels[Math.floor(index / 18)]?.sigma ?? 0))

describe('progressive distillation', () => {
  it('lands one student step where two teacher steps land', async () => {
    for (const steps of [128, 16, 4, 1]) {
      const times = [1, 0.75, 0.5, 0.25, 1, 0.5].map((t) => studentTime(t, steps))
      const latents = gaussian(1, steps, 0, size)
      const [start, middle] = [times.map(schedule), times.map((t) => schedule(t - 0.5 / steps))]
      const end = times.map((t) => (t - 1 / steps < 1e-9 ? { t: 0, alpha: 1, sigma: 0 } : schedule(t - 1 / steps)))
      const half = ddimStep(shape, latents, await teacher(latents, start), start, middle)
      const two = ddimStep(shape, half, await teacher(half, middle), middle, end)
      const target = await landingTarget(teacher, schedule, shape, latents, times, steps)
      const one = ddimStep(shape, latents, target, start, end)
      one.forEach((value, index) => {
        expect(Math.abs(value - (two[index] as number))).toBeLessThan(1e-5 * Math.max(1, Math.abs(value)))
      })
    }
  })

  it('lands it where any number of teacher steps land', async () => {
    const [steps, times] = [4, [1, 0.75, 0.5, 0.25, 1, 0.5]]
    const latents = gaussian(4, 0, 0, size)
    for (const count of [1, 3, 8]) {
      const levelAt = (t: number) => (t < 1e-9 ? { t: 0, alpha: 1, sigma: 0 } : schedule(t))
      let many: Float32Array = latents
      for (let done = 0; done < count; done++) {
        const [from, to] = [done, done + 1].map((n) => times.map((t) => levelAt(t - n / (count * steps))))
        many = ddimStep(shape, many, await teacher(many, from ?? []), from ?? [], to ?? [])
      }
      const target = await landingTarget(teacher, schedule, shape, latents, times, steps, {
        steps: count,
        multistep: false,
      })
      const end = times.map((t) => levelAt(t - 1 / steps))
      const one = ddimStep(shape, latents, target, times.map(schedule), end)
      one.forEach((value, index) => {
        expect(Math.abs(value - (many[index] as number))).toBeLessThan(1e-4 * Math.max(1, Math.abs(value)))
      })
    }
  })

  it('goes the way of the sampler’s own plan where its steps look back', async () => {
    const latents = gaussian(5, 0, 0, size)
    let [landed, previous]: [Float32Array, Float32Array] = [latents, new Float32Array(size)]
    for (const row of plan({ schedule, sampler: { kind: 'dpm2m' }, steps: 4 })) {
      const estimate = await teacher(landed, new Array(6).fill(row.level))
      landed = landed.map(
        (z, n) => row.latents * z + row.denoised * (estimate[n] as number) + row.previous * (previous[n] as number),
      )
      previous = estimate
    }
    const ways = { steps: 4, multistep: true }
    const target = await landingTarget(teacher, schedule, shape, latents, new Array(6).fill(1), 1, ways)
    target.forEach((value, index) => {
      expect(Math.abs(value - (landed[index] as number))).toBeLessThan(1e-5 * Math.max(1, Math.abs(value)))
    })
  })

  it('is nearer to where endless steps lead by four that look back than by eight of DDIM', async () => {
    const latents = gaussian(6, 0, 0, size)
    const times = new Array<number>(6).fill(0.5)
    const by = (steps: number, multistep: boolean) =>
      landingTarget(teacher, schedule, shape, latents, times, 8, { steps, multistep })
    const limit = await by(512, false)
    const distance = (a: Float32Array) => Math.hypot(...a.map((value, n) => value - (limit[n] as number)))
    expect(distance(await by(direct.steps, direct.multistep))).toBeLessThan(0.5 * distance(await by(8, false)))
  })

  it('takes the teacher at its word in the last step', async () => {
    const latents = gaussian(2, 0, 0, size)
    const times = new Array<number>(6).fill(0.25)
    const target = await landingTarget(teacher, schedule, shape, latents, times, 4)
    const [start, middle] = [times.map(schedule), times.map(() => schedule(0.125))]
    const half = ddimStep(shape, latents, await teacher(latents, start), start, middle)
    const last = await teacher(half, middle)
    const student = target
    student.forEach((value, index) => {
      expect(value).toBeCloseTo(last[index] as number, 4)
    })
  })

  it('folds guidance as the affine combination, and is silent at scale one', () => {
    const [conditional, unconditional] = [gaussian(3, 0, 0, size), gaussian(3, 1, 0, size)]
    expect(guidedEstimate(shape, conditional, unconditional, new Array(6).fill(1))).toEqual(conditional)
    const guided = guidedEstimate(shape, conditional, unconditional, new Array(6).fill(3))
    expect(guided[5]).toBeCloseTo(
      (unconditional[5] as number) + 3 * ((conditional[5] as number) - (unconditional[5] as number)),
      5,
    )
  })

  it('draws the times of an N-step student from its own grid', () => {
    expect([0.001, 0.125, 0.126, 1].map((uniform) => studentTime(uniform, 8))).toEqual([0.125, 0.125, 0.25, 1])
  })
})
