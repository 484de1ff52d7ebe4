import { describe, expect, it } from 'vitest'
import { type CostedClip, clipCost, clipTime, deviceRate, type ModelCost, paceAt } from './cost.ts'
import type { DeviceReport } from './request.ts'

const cost: ModelCost = {
  token: { frames: 4, side: 16 },
  encode: { text: 10 },
  step: { fixed: 5, frames: 3, tokens: 2, pairs: 1, reads: 7 },
  decode: { area: -1, tokens: 4 },
  activations: { tokens: 100 },
  largest: { tokens: 10 },
  logits: { pairs: 4 },
  guidance: 'second_evaluation',
}
const clip: CostedClip = { width: 48, height: 32, num_frames: 9, num_inference_steps: 4, guidance_scale: 1 }

const report: DeviceReport = {
  adapter_class: 'a',
  features: [],
  limits: {},
  cross_origin_isolated: true,
  wasm_threads: true,
  storage_free_bytes: 1e12,
  online: true,
  models: [],
}
const timed = (id: string, ms: number) => ({
  id,
  revision: 'r1',
  dtype: 'f32',
  cached: true,
  golden: 'pass' as const,
  ms_per_step: ms,
})

describe('the cost of a clip', () => {
  it('is its polynomials at its tokens', () => {
    // Three latent frames of six tokens, two text tokens.
    const step = 5 + 3 * 3 + 2 * 18 + 18 * 18 + 7 * 36
    expect(clipCost(cost, clip, 2)).toEqual({
      step,
      steps: 4,
      encode: 20,
      denoise: 4 * step,
      decode: 4 * 18 - 6,
      flops: 20 + 4 * step + 66,
      activations: 1800,
      largest: 180,
      logits: 4 * 18 * 18,
    })
  })

  it('doubles text and steps under guidance, not decoding', () => {
    const [off, on] = [1, 3].map((guidance_scale) => clipCost(cost, { ...clip, guidance_scale }, 2))
    expect([on?.step, on?.encode, on?.decode]).toEqual([2 * (off?.step ?? 0), 2 * (off?.encode ?? 0), off?.decode])
    const told = clipCost({ ...cost, guidance: 'told' }, { ...clip, guidance_scale: 3 }, 2)
    expect(told).toEqual(off)
  })

  it('counts a first frame as a latent frame of its own', () => {
    const decode = (num_frames: number) => clipCost(cost, { ...clip, num_frames }, 2).decode
    expect([decode(1), decode(5)]).toEqual([4 * 6 - 6, 4 * 12 - 6])
  })
})

describe('the time of a clip', () => {
  const twice = { ...clip, width: 96 }

  it('is its steps and what comes besides, each growing as its operations do', () => {
    const [here, there] = [clipCost(cost, twice), clipCost(cost, clip)]
    const pace = paceAt(cost, clip, twice, { step: 10, besides: 50 })
    expect(pace.step).toBeCloseTo((10 * here.step) / there.step)
    expect(pace.besides).toBeCloseTo((50 * here.decode) / there.decode)
    expect(clipTime(cost, twice, pace)).toBeCloseTo(4 * pace.step + (pace.besides ?? 0))
    expect(paceAt(cost, twice, clip, pace).besides).toBeCloseTo(50)
  })

  it('grows by pixels besides its steps where nothing is said of decoding', () => {
    const mute = { ...cost, decode: {} }
    expect(paceAt(mute, clip, twice, { step: 10, besides: 50 }).besides).toBe(100)
  })

  it('goes by operations where nothing but its steps was timed', () => {
    const { flops, step } = clipCost(cost, clip)
    expect(clipTime(cost, clip, paceAt(cost, clip, clip, { step: 10 }))).toBeCloseTo((10 * flops) / step)
  })

  it('counts steps of several sizes by their operations', () => {
    const passes = {
      ...cost,
      passes: [
        { steps: 3, scale: 0.5 },
        { steps: 2, scale: 1 },
      ],
    }
    const { denoise, step } = clipCost(passes, clip)
    expect(denoise).toBeLessThan(5 * step)
    expect(clipTime(passes, clip, { step: 10, besides: 7 })).toBeCloseTo((10 * denoise) / step + 7)
  })
})

describe('the rate of a device', () => {
  const model = (id: string) => ({ id, cost, standard: clip })
  const { step } = clipCost(cost, clip)

  it('is the best it reached on what is known', () => {
    const models = [model('a'), model('b')]
    const all = { ...report, models: [timed('a', 10), timed('b', 5), timed('x', 1)] }
    expect(deviceRate(all, models)).toBeCloseTo(step * 200)
  })

  it('is not made up', () => {
    expect(deviceRate(report, [model('a')])).toBeNull()
    expect(deviceRate({ ...report, models: [timed('x', 3), timed('a', 0)] }, [model('a')])).toBeNull()
  })
})
