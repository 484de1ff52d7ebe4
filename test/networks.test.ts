/** Networks of released models at sizes that no golden file has: batches, odd counts, masks with gaps. */

import { describe, expect, it } from 'vitest'
import { evaluate } from '../models/graph/evaluate.ts'
import { type Graph, input, sizeOf, trace, type Value } from '../models/graph/graph.ts'
import * as op from '../models/graph/ops.ts'
import { ltxDit, ltxPositions, ltxRotary } from '../models/networks/ltx-dit.ts'
import { ltxVaeDecoder } from '../models/networks/ltx-vae-decoder.ts'
import { motionModule } from '../models/networks/motion-module.ts'
import { t5Encoder } from '../models/networks/t5.ts'
import { taehvDecoder } from '../models/networks/taehv-decoder.ts'
import { wanDit } from '../models/networks/wan-dit.ts'
import { nodeBackend } from '../models/node/backend.ts'
import { encode } from '../models/onnx/encode.ts'
import { lower } from '../models/onnx/lower.ts'
import type { HostTensor } from '../models/pipeline/backend.ts'
import { gaussian } from '../shared/random.ts'
import { drawnParameters } from './checkpoints/random.ts'
import { goldenError } from './golden/networks.ts'

/** A mask of two rows, the first with gaps, the second short, as the bias that hides what it leaves out. */
const gaps = [1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0]
const hidden = (): Value =>
  op.constant(
    Float32Array.from(gaps, (kept) => -10_000 * (1 - kept)),
    [2, 1, 1, 9],
  )

const common = { depth: 2, textWidth: 12, featureWidth: 16 }
const builds: Readonly<Record<string, () => Value>> = {
  'LTX, two clips of three frames, a time per token and gaps in the text': () =>
    ltxDit(
      { ...common, channels: 6, outChannels: 4, width: 60, heads: 3, hidden: 70 },
      {
        tokens: input('tokens', [2, 30, 6]),
        time: input('time', [2, 30, 16]),
        text: input('text', [2, 9, 12]),
        textBias: hidden(),
        rotary: ltxRotary(ltxPositions({ frames: 3, height: 2, width: 5, fps: 24, causal: true }), 60),
      },
    ),
  'Wan, two clips of five frames, three heads and a text that zeros follow': () =>
    wanDit(
      { ...common, channels: 6, outChannels: 4, patch: [1, 2, 2], width: 60, heads: 3, hidden: 70, textRows: 40 },
      { latents: input('latents', [2, 6, 5, 4, 6]), time: input('time', [2, 1, 16]), text: input('text', [2, 9, 12]) },
    ),
  'Wan, patches that are deep and not wide': () =>
    wanDit(
      { ...common, channels: 4, outChannels: 4, patch: [2, 2, 1], width: 24, heads: 2, hidden: 30 },
      { latents: input('latents', [1, 4, 4, 6, 3]), time: input('time', [1, 1, 16]), text: input('text', [1, 5, 12]) },
    ),
  "LTX's decoder, two clips, a stage without residual blocks and patches of two": () =>
    ltxVaeDecoder(
      {
        latentChannels: 6,
        channels: [16, 8, 8],
        residuals: [2, 0, 1],
        patch: 2,
        featureWidth: 16,
        timestepScale: 1000,
      },
      input('latents', [2, 6, 3, 2, 3]),
      input('time', [2, 16]),
    ),
  'TAEHV, two clips, all stages growing': () =>
    taehvDecoder(
      { latentChannels: 5, channels: [8, 6, 5, 4], growth: [2, 2, 2], storedGrowth: [2, 3, 2], patch: 2, trim: 7 },
      input('latents', [2, 2, 5, 2, 3]),
    ),
  'the motion module, a single frame, norms of each frame': () =>
    motionModule(
      { channels: 20, groups: 4, heads: 2, depth: 2, maxFrames: 24, normSpan: 'frame' },
      input('x', [3, 20, 1, 2]),
      1,
    ),
  'UMT5, two prompts with gaps and few classes of distance': () =>
    t5Encoder(
      {
        vocabulary: 40,
        width: 20,
        depth: 2,
        heads: 2,
        headWidth: 6,
        hidden: 30,
        buckets: 16,
        maxDistance: 64,
        biasPerLayer: true,
      },
      input('ids', [2, 9], 'int32'),
      op.constant(Float32Array.from(gaps), [2, 9]),
    ),
}

function feedsOf({ inputs }: Graph): Record<string, HostTensor> {
  return Object.fromEntries(
    inputs.map(({ attributes: { name }, shape, dtype }, stream): [string, HostTensor] => {
      const drawn = gaussian(17, stream, 0, sizeOf(shape))
      if (dtype !== 'int32') return [name, { dtype: 'float32', shape, data: drawn }]
      return [name, { dtype: 'int32', shape, data: Int32Array.from(drawn, (value) => Math.abs(Math.round(9 * value))) }]
    }),
  )
}

describe('on onnxruntime as on the evaluator:', () => {
  it.each(Object.entries(builds))('%s', async (_, build) => {
    const graph = trace(() => ({ out: build() }))
    const feeds = feedsOf(graph)
    const parameters = drawnParameters(graph)
    const inputs = Object.fromEntries(Object.entries(feeds).map(([name, { data }]) => [name, data]))
    const wanted = evaluate(graph, { inputs, parameters }).out?.data ?? []
    await using session = await nodeBackend({ threads: 1 }).load({ model: encode(lower(graph)) })
    const weights = graph.parameters.map(({ attributes: { name }, shape }): [string, HostTensor] => [
      name,
      { dtype: 'float32', shape, data: parameters[name] as Float32Array },
    ])
    const got = (await session.run({ ...feeds, ...Object.fromEntries(weights) })).out?.data ?? []
    expect(new Set(wanted).size).toBeGreaterThan(10)
    expect(goldenError(got, wanted)).toBeLessThanOrEqual(1e-5)
  })
})
