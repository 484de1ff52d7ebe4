import { describe, expect, it } from 'vitest'
import { type CostedClip, clipCost } from '../../shared/cost.ts'
import { readCard } from '../../shared/manifest.ts'
import { type ReleasedPlan, releasedPlans } from '../../shared/released-plans.ts'
import { toyLtx, toyTaehv, toyWan } from '../../test/checkpoints/toys.ts'
import nano from '../cards/zt-nano.json' with { type: 'json' }
import nanoTeacher from '../cards/zt-nano-teacher.json' with { type: 'json' }
import { flopsOf } from '../graph/cost.ts'
import { memoryOf } from '../graph/memory.ts'
import { ltxDitSizes } from '../networks/ltx-dit.ts'
import { ltxVaeDecoderSizes } from '../networks/ltx-vae-decoder.ts'
import { t5Sizes } from '../networks/t5.ts'
import { taehvDecoderSizes } from '../networks/taehv-decoder.ts'
import { wanDitSizes } from '../networks/wan-dit.ts'
import type { PartConfigs } from '../weights/parts.ts'
import { type CostedGraphs, checkpointGraphs, modelCost, ownGraphs, partSize, type SizedModel } from './cost.ts'
import { configurationsOf } from './model.ts'

const taehv = taehvDecoderSizes['taew2.1']
const wan: SizedModel = {
  denoiser: { kind: 'wan-dit', config: wanDitSizes['wan2.1-1.3b'] },
  decoder: { kind: 'taehv-decoder', config: { ...taehv, storedGrowth: taehv.growth } },
  textEncoder: { kind: 't5', config: t5Sizes['umt5-xxl'] },
  plan: releasedPlans['fastwan-dmd'],
}
const ltx: SizedModel = {
  denoiser: { kind: 'ltx-dit', config: { ...ltxDitSizes['ltx-2b'], causal: true } },
  decoder: { kind: 'ltx-vae-decoder', config: ltxVaeDecoderSizes['ltx-0.9.5'] },
  textEncoder: { kind: 't5', config: t5Sizes['t5-v1.1-xxl'] },
  plan: releasedPlans['ltx-0.9.6-distilled'],
}

/** The toys of the two families, and our own, each with the grid that a clip has. */
const toys: Readonly<Record<string, CostedGraphs>> = {
  ours: ownGraphs(configurationsOf(readCard(nano))),
  'toy Wan': checkpointGraphs({
    denoiser: { kind: 'wan-dit', config: toyWan['wan-dit'] as PartConfigs['wan-dit'] },
    decoder: { kind: 'taehv-decoder', config: toyTaehv['taehv-decoder'] as PartConfigs['taehv-decoder'] },
    plan: releasedPlans['fastwan-dmd'],
  }),
  'toy LTX': checkpointGraphs({
    denoiser: { kind: 'ltx-dit', config: toyLtx['ltx-dit'] as PartConfigs['ltx-dit'] },
    decoder: { kind: 'ltx-vae-decoder', config: toyLtx['ltx-vae-decoder'] as PartConfigs['ltx-vae-decoder'] },
    plan: releasedPlans['ltx-0.9.6-distilled'],
  }),
}

const clip = (width: number, height: number, frames: number, steps: number): CostedClip => ({
  width,
  height,
  num_frames: frames,
  num_inference_steps: steps,
  guidance_scale: 1,
})

/** TFLOP of text, a step and the decoder, from another count. */
const published: readonly (readonly [string, SizedModel, CostedClip, number, readonly number[]])[] = [
  ['Wan 1.3B at 416x240x33', wan, clip(416, 240, 33, 3), 512, [4.74, 11.5, 1.22]],
  ['LTX 2B at 512x320x49', ltx, clip(512, 320, 49, 8), 128, [1.19, 4.07, 10.3]],
]

const near = (a: number, b: number, share: number) => expect(Math.abs(a / b - 1)).toBeLessThan(share)

describe('the cost of a clip', () => {
  it.each(published)('stays within a twentieth of an independent count of %s', (_, model, size, tokens, wanted) => {
    const { encode, step, decode } = clipCost(modelCost(checkpointGraphs(model)), size, tokens)
    for (const [index, flops] of [encode, step, decode].entries()) near(flops / 1e12, wanted[index] as number, 0.05)
  })

  it.each(Object.entries(toys))(
    'stays within a twentieth of a count over the nodes of the graphs of %s',
    (_, graphs) => {
      const { token } = graphs
      const cost = modelCost(graphs)
      for (const [frames, height, width, text] of [
        [3, 4, 5, 16],
        [7, 9, 6, 40],
      ] as const) {
        const size = clip(width * token.side, height * token.side, (frames - 1) * token.frames + 1, 4)
        const counted = clipCost(cost, size, text)
        const step = graphs.step({ frames, height, width, text })
        near(counted.step, flopsOf(step), 0.05)
        near(counted.activations, memoryOf(step).activations, 0.15)
        near(counted.largest, memoryOf(step).largest, 0.05)
        const decode = graphs.decode?.({ frames, height, width, text })
        if (decode === undefined) throw new Error('every model here has a decoder')
        near(counted.decode, flopsOf(decode) * (graphs.decodes === 'frame' ? frames : 1), 0.05)
        expect(counted.flops).toBe(counted.encode + 4 * counted.step + counted.decode)
      }
    },
  )

  it('finds the feed-forward as the largest value of a step, and fused attention worth its logits', () => {
    const { largest, logits } = clipCost(modelCost(checkpointGraphs(wan)), clip(416, 240, 33, 3))
    near(largest, 3510 * 8960 * 4, 0.01)
    expect(logits / 2 ** 20).toBeCloseTo(564, 0)
  })

  it('takes a second evaluation for guidance, unless the network is told the scale', () => {
    const [told, second] = [nano, nanoTeacher].map((card) => {
      const cost = modelCost(ownGraphs(configurationsOf(readCard(card))))
      const ask = (guidance_scale: number) => clipCost(cost, { ...clip(64, 64, 17, 8), guidance_scale }).step
      return ask(4) / ask(1)
    })
    expect([told, second]).toEqual([1, 2])
  })

  it('adds the passes of a plan at their own sizes', () => {
    const plan: ReleasedPlan = releasedPlans['ltx-0.9.8-distilled-two-pass']
    const cost = modelCost(checkpointGraphs({ ...ltx, decoder: undefined, textEncoder: undefined, plan }))
    const size = clip(384, 384, 9, 10)
    const at = (width: number, height: number) =>
      clipCost({ ...cost, passes: undefined }, { ...clip(width, height, 9, 1) }).step
    expect(clipCost(cost, size).flops).toBeCloseTo(7 * at(256, 256) + 3 * at(512, 512), -3)
  })

  it('stands in every released card as the networks have it', () => {
    for (const data of [nano, nanoTeacher]) {
      const card = readCard(data)
      expect(card.cost).toEqual(modelCost(ownGraphs(configurationsOf(card))))
    }
  })
})

describe('the size of a part', () => {
  it('counts bytes as published for half precision and four bits', () => {
    const { bytes } = partSize(wan.denoiser)
    expect([bytes.f16 / 1e9, bytes.q4 / 1e9].map((size) => size.toFixed(1))).toEqual(['2.8', '0.8'])
  })
})
