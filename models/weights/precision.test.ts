/**
 * What blocks cost a network's output, kind of layer by kind of layer, on the toy networks with random weights.
 *
 * ZOETROPE_REPORT=1 prints the table. Random weights are the hard case of no structure; real ones have outliers, which
 * the gates are for.
 */

import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { drawnParameters } from '../../test/checkpoints/random.ts'
import { toyLtx, toyT5, toyWan } from '../../test/checkpoints/toys.ts'
import { type Graph, input, sizeOf, trace } from '../graph/graph.ts'
import { ltxDit, ltxPositions, ltxRotary } from '../networks/ltx-dit.ts'
import { t5Encoder } from '../networks/t5.ts'
import { wanDit } from '../networks/wan-dit.ts'
import { nodeBackend } from '../node/backend.ts'
import { encode } from '../onnx/encode.ts'
import { lower } from '../onnx/lower.ts'
import type { HostTensor, Session } from '../pipeline/backend.ts'
import { conversionsOf } from './conversion.ts'
import type { PartConfigs } from './parts.ts'
import { type BlockBits, dequantizeBlocks, quantizeBlocks } from './quantize.ts'
import type { PartKind } from './rename.ts'

type Numbers = Readonly<Record<string, Float32Array>>

const host = (data: Float32Array, shape: readonly number[]): HostTensor => ({ dtype: 'float32', shape, data })

function inputsOf(graph: Graph): Record<string, HostTensor> {
  return Object.fromEntries(
    graph.inputs.map(({ attributes: { name }, shape, dtype }, index) => [
      name,
      dtype === 'int32'
        ? { dtype, shape, data: Int32Array.from({ length: sizeOf(shape) }, (_, n) => 7 * n) }
        : host(name === 'mask' ? new Float32Array(sizeOf(shape)).fill(1) : gaussian(6, index, 0, sizeOf(shape)), shape),
    ]),
  )
}

async function outputOf(session: Session, graph: Graph, parameters: Numbers): Promise<ArrayLike<number>> {
  const weights = graph.parameters.map(({ attributes: { name }, shape }) => [
    name,
    host(parameters[name] as Float32Array, shape),
  ])
  return (await session.run({ ...inputsOf(graph), ...Object.fromEntries(weights) })).out?.data ?? []
}

/** √(Σ(a − b)² / Σa²). */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [wrong, whole] = [0, 0]
  for (let index = 0; index < a.length; index++) {
    wrong += ((a[index] as number) - (b[index] as number)) ** 2
    whole += (a[index] as number) ** 2
  }
  return Math.sqrt(wrong / whole)
}

/** Names of the weights that would be in blocks, by what they do. */
function kindsOf(kind: PartKind, graph: Graph): Map<string, string[]> {
  const entry = { name: '', dtype: 'bfloat16', offset: 0, length: 0, shape: [] } as const
  const tensors = new Map(
    graph.parameters.map(({ attributes }) => [attributes.name, { location: kind, entry }] as const),
  )
  const chosen = conversionsOf({ graph, tensors }, 'q4').filter(({ target }) => target === 'q4')
  return Map.groupBy(
    chosen.map(({ name }) => name),
    (name) => name.replace(/^.*?\d+\.(layer\.\d\.)?/, '').replace(/\.weight$/, ''),
  )
}

const inBlocks = (parameters: Numbers, names: readonly string[], bits: BlockBits): Numbers => ({
  ...parameters,
  ...Object.fromEntries(
    names.map((name) => [name, dequantizeBlocks(quantizeBlocks(parameters[name] as Float32Array, bits))]),
  ),
})

/** The toys over several tokens, so that queries and keys matter. */
const toys = {
  'wan-dit': (config: PartConfigs['wan-dit']) =>
    wanDit(config, {
      latents: input('latents', [1, config.channels, 2, 4, 6]),
      time: input('time', [1, 1, config.featureWidth]),
      text: input('text', [1, 5, config.textWidth]),
    }),
  'ltx-dit': (config: PartConfigs['ltx-dit']) =>
    ltxDit(config, {
      tokens: input('tokens', [1, 12, config.channels]),
      time: input('time', [1, 1, config.featureWidth]),
      text: input('text', [1, 5, config.textWidth]),
      rotary: ltxRotary(ltxPositions({ frames: 2, height: 2, width: 3, fps: 25, causal: true }), config.width),
    }),
  t5: (config: PartConfigs['t5']) => t5Encoder(config, input('ids', [1, 9], 'int32'), input('mask', [1, 9])),
}
const configs = { ...toyWan, ...toyLtx, ...toyT5 }

describe.each(['wan-dit', 'ltx-dit', 't5'] as const)('%s', (kind) => {
  it('loses little to eight bits and some to four, in every kind of layer', async () => {
    const graph = trace(() => ({ out: toys[kind](configs[kind] as never) }))
    const parameters = drawnParameters(graph)
    await using session = await nodeBackend({ threads: 1 }).load({ model: encode(lower(graph)) })
    const whole = await outputOf(session, graph, parameters)
    const kinds = kindsOf(kind, graph)
    expect(kinds.size).toBeGreaterThan(4)
    for (const [layer, names] of [...kinds, ['all', [...kinds.values()].flat()] as const]) {
      const [eight, four] = [
        distance(whole, await outputOf(session, graph, inBlocks(parameters, names, 8))),
        distance(whole, await outputOf(session, graph, inBlocks(parameters, names, 4))),
      ]
      if (process.env.ZOETROPE_REPORT)
        process.stderr.write(`${kind} ${layer}: q8 ${eight.toFixed(5)}, q4 ${four.toFixed(4)}\n`)
      expect(eight).toBeLessThan(0.02)
      expect(four).toBeLessThan(0.3)
      expect(four).toBeGreaterThan(3 * eight)
    }
  })
})
