import { describe, expect, it } from 'vitest'
import { distilledPlans } from '../../shared/distilled.ts'
import { ltxDitSizes } from '../networks/ltx-dit.ts'
import { ltxVaeDecoderSizes } from '../networks/ltx-vae-decoder.ts'
import { t5Sizes } from '../networks/t5.ts'
import { taehvDecoderSizes } from '../networks/taehv-decoder.ts'
import { wanDitSizes } from '../networks/wan-dit.ts'
import { type EstimateOptions, estimate } from './estimate.ts'

const taehv = taehvDecoderSizes['taew2.1']
const wan: EstimateOptions = {
  denoiser: { kind: 'wan-dit', config: wanDitSizes['wan2.1-1.3b'] },
  decoder: { kind: 'taehv-decoder', config: { ...taehv, storedGrowth: taehv.growth } },
  textEncoder: { kind: 't5', config: t5Sizes['umt5-xxl'] },
  plan: distilledPlans['fastwan-dmd'],
  video: { frames: 33, height: 240, width: 416 },
  fps: 16,
  tokens: 512,
}
const ltx: EstimateOptions = {
  denoiser: { kind: 'ltx-dit', config: { ...ltxDitSizes['ltx-2b'], causal: true } },
  decoder: { kind: 'ltx-vae-decoder', config: ltxVaeDecoderSizes['ltx-0.9.5'] },
  textEncoder: { kind: 't5', config: t5Sizes['t5-v1.1-xxl'] },
  plan: distilledPlans['ltx-0.9.6-distilled'],
  video: { frames: 49, height: 320, width: 512 },
  fps: 25,
  tokens: 128,
}

/** TFLOP of text, a step and the decoder, as shared/checkpoints.md has them from another count. */
const published: Readonly<Record<string, readonly [EstimateOptions, readonly number[]]>> = {
  'Wan 1.3B at 416x240x33': [wan, [4.74, 11.5, 1.22]],
  'LTX 2B at 512x320x49': [ltx, [1.19, 4.07, 10.3]],
}

describe('an estimate', () => {
  it.each(Object.entries(published))('of %s is within 5 %% of an independent count', (_, [options, wanted]) => {
    const { parts } = estimate(options)
    for (const [index, { flops }] of parts.entries())
      expect(Math.abs(flops / 1e12 / (wanted[index] as number) - 1)).toBeLessThan(0.05)
  })

  it('counts bytes as published for half precision and four bits', () => {
    const [, denoiser] = estimate(wan).parts
    expect((denoiser?.bytes.f16 ?? 0) / 1e9).toBeCloseTo(2.84, 1)
    expect((denoiser?.bytes.q4 ?? 0) / 1e9).toBeCloseTo(0.8, 1)
  })

  it('finds the feed-forward as the largest value of a step, and fused attention worth its logits', () => {
    const [, { memory } = { memory: { largest: 0, logits: 0 } }] = estimate(wan).parts
    expect(memory.largest / 2 ** 20).toBeCloseTo((3510 * 8960 * 4) / 2 ** 20, 0)
    expect(memory.logits / 2 ** 20).toBeCloseTo(564, 0)
  })

  it('sums steps, text and decoder to the clip', () => {
    const { flops } = estimate(wan)
    expect(flops / 1e12).toBeCloseTo(3 * 11.5 + 4.7 + 1.2, 0)
  })

  it('refuses a video that the strides do not fit', () => {
    expect(() => estimate({ ...wan, video: { frames: 34, height: 240, width: 416 } })).toThrow('got 34, allowed 4n + 1')
  })
})
