import { describe, expect, it } from 'vitest'
import { type CostedClip, clipCost, deviceRate, type ModelCost } from './cost.ts'
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

describe('the rate of a device', () => {
  const model = (id: string) => ({ id, cost, standard: clip })
  const { step } = clipCost(cost, clip)

  it('is what it reached on the model asked about, else its best', () => {
    const models = [model('a'), model('b')]
    const both = { ...report, models: [timed('a', 10), timed('b', 5)] }
    expect(deviceRate(both, models, 'a')).toBeCloseTo(step * 100)
    expect(deviceRate(both, models, 'c')).toBeCloseTo(step * 200)
  })

  it('is not made up', () => {
    expect(deviceRate(report, [model('a')], 'a')).toBeNull()
    expect(deviceRate({ ...report, models: [timed('x', 3), timed('a', 0)] }, [model('a')], 'a')).toBeNull()
  })
})
