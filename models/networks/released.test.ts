/** What the golden files cannot show of the networks of released checkpoints: forms that must be equal, and sizes. */

import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { evaluate } from '../graph/evaluate.ts'
import { type Graph, input, type ParameterDescription, sizeOf, trace } from '../graph/graph.ts'
import { timestepFeatures } from '../nn/embedding.ts'
import { ltxDit, ltxDitSizes, ltxPositions, ltxRotary } from './ltx-dit.ts'
import { ltxVaeDecoder, ltxVaeDecoderSizes } from './ltx-vae-decoder.ts'
import { motionModule, motionModuleSizes } from './motion-module.ts'
import { distanceBucket, t5Encoder, t5Sizes } from './t5.ts'
import { taehvDecodePiece, taehvDecoder, taehvDecoderSizes } from './taehv-decoder.ts'
import { wanDit, wanDitSizes } from './wan-dit.ts'

const drawn = ({ name, shape }: ParameterDescription): Float32Array =>
  gaussian(3, name.length, 0, sizeOf(shape)).map((value) => (0.7 * value) / Math.sqrt(sizeOf(shape.slice(1))))

function run(graph: Graph, inputs: Readonly<Record<string, ArrayLike<number>>>) {
  const parameters = Object.fromEntries(graph.parameters.map(({ attributes }) => [attributes.name, drawn(attributes)]))
  return evaluate(graph, { inputs, parameters })
}

function expectClose(got: ArrayLike<number> | undefined, wanted: ArrayLike<number> | undefined, digits = 9): void {
  expect(got?.length).toBe(wanted?.length)
  expect(wanted?.length).toBeGreaterThan(0)
  for (let index = 0; index < (wanted?.length ?? 0); index++)
    expect(got?.[index]).toBeCloseTo(wanted?.[index] as number, digits)
}

describe('the TAEHV decoder', () => {
  const config = { latentChannels: 4, channels: [6, 5, 4], growth: [2, 2], patch: 2, trim: 3 }
  const [frames, area] = [4, 6]
  const latents = gaussian(5, 0, 0, frames * 4 * area)

  it('decodes in pieces exactly as it decodes the whole', () => {
    const whole = run(
      trace(() => ({ out: taehvDecoder(config, input('latents', [1, frames, 4, 2, 3])) })),
      { latents },
    ).out
    let memory: Record<string, ArrayLike<number>> = {}
    const pieces: number[] = []
    for (const [from, to] of [
      [0, 1],
      [1, 3],
      [3, 4],
    ] as const) {
      const shapes = [6, 6, 6, 5, 5, 5].map((channels, place) => [1, 1, channels, place < 3 ? 2 : 4, place < 3 ? 3 : 6])
      const graph = trace(() => {
        const before = from === 0 ? undefined : shapes.map((shape, place) => input(`memory${place}`, shape))
        const piece = taehvDecodePiece(config, input('latents', [1, to - from, 4, 2, 3]), before)
        return { out: piece.frames, ...Object.fromEntries(piece.memory.map((each, place) => [`memory${place}`, each])) }
      })
      const { out, ...kept } = run(graph, { latents: latents.subarray(from * 24, to * 24), ...memory })
      memory = Object.fromEntries(Object.entries(kept).map(([name, { data }]) => [name, data]))
      pieces.push(...(out?.data ?? []))
    }
    expectClose(pieces.slice(pieces.length - (whole?.data.length ?? 0)), whole?.data, 12)
  })

  it('uses the last maps of a file that holds more', () => {
    const more = { ...config, storedGrowth: [2, 3] }
    const graph = trace(() => ({ out: taehvDecoder(more, input('latents', [1, 1, 4, 2, 3])) }))
    const stored = graph.parameters.find(({ attributes }) => attributes.name === 'decoder.13.conv.weight')
    expect(stored?.shape).toEqual([15, 5, 1, 1])
  })
})

describe("Wan's denoiser", () => {
  const config = {
    ...wanDitSizes['wan2.1-1.3b'],
    width: 12,
    heads: 1,
    depth: 1,
    hidden: 8,
    channels: 2,
    outChannels: 2,
  }
  const small = { ...config, textWidth: 3, featureWidth: 4, textRows: 6 }
  const build = (rows: number, textRows: number | undefined) =>
    trace(() => ({
      out: wanDit(
        { ...small, textRows },
        {
          latents: input('latents', [1, 2, 2, 2, 4]),
          time: input('time', [1, 1, 4]),
          text: input('text', [1, rows, 3]),
        },
      ),
    }))
  const inputs = { latents: gaussian(6, 0, 0, 32), time: timestepFeatures([700], 4) }
  const words = gaussian(6, 1, 0, 6)

  it('stands one row with a bias for all the rows of zeros behind a prompt', () => {
    const text = new Float32Array(18)
    text.set(words)
    const whole = run(build(6, 6), { ...inputs, text }).out?.data
    expectClose(run(build(2, 6), { ...inputs, text: words }).out?.data, whole)
    const without = run(build(2, undefined), { ...inputs, text: words }).out?.data ?? []
    expect(Math.max(...Array.from(without, (value, n) => Math.abs(value - (whole?.[n] as number))))).toBeGreaterThan(
      1e-4,
    )
  })

  it('refuses a prompt longer than it was trained for, and sides that no patch divides', () => {
    expect(() => build(7, 6)).toThrow('got 7 text rows, allowed are 6')
    expect(() =>
      wanDit(small, {
        latents: input('latents', [1, 2, 2, 3, 4]),
        time: input('time', [1, 1, 4]),
        text: input('text', [1, 1, 3]),
      }),
    ).toThrow('allowed are multiples of the patch 1×2×2')
  })
})

describe("LTX's denoiser", () => {
  const config = { ...ltxDitSizes['ltx-2b'], width: 14, heads: 1, depth: 1, hidden: 8, channels: 3, outChannels: 3 }
  const small = { ...config, textWidth: 3, featureWidth: 4 }
  const grid = { frames: 2, height: 1, width: 2, fps: 25, causal: true }
  const build = (groups: number) =>
    trace(() => ({
      out: ltxDit(small, {
        tokens: input('tokens', [1, 4, 3]),
        time: input('time', [1, groups, 4]),
        text: input('text', [1, 2, 3]),
        rotary: ltxRotary(ltxPositions(grid), 14),
      }),
    }))
  const inputs = { tokens: gaussian(7, 0, 0, 12), text: gaussian(7, 1, 0, 6) }

  it('gives for one time per token what it gives for one time', () => {
    const once = run(build(1), { ...inputs, time: timestepFeatures([300], 4) }).out?.data
    expectClose(run(build(4), { ...inputs, time: timestepFeatures([300, 300, 300, 300], 4) }).out?.data, once)
    const mixed = run(build(4), { ...inputs, time: timestepFeatures([0, 300, 300, 300], 4) }).out?.data ?? []
    expect(Math.abs((mixed[0] as number) - (once?.[0] as number))).toBeGreaterThan(1e-4)
  })

  it('places tokens by seconds and pixels, the first causal frame being a single one', () => {
    expect([...ltxPositions(grid)]).toEqual(
      [
        [0, 0, 0],
        [0, 0, 32 / 2048],
        [1 / 25 / 20, 0, 0],
        [1 / 25 / 20, 0, 32 / 2048],
      ].flat(),
    )
    expect(ltxPositions({ ...grid, causal: false })[6]).toBeCloseTo(8 / 25 / 20, 12)
  })

  it('leaves the spare pairs in front unturned', () => {
    const { cos, sin } = ltxRotary(ltxPositions(grid), 14)
    expect([cos.shape, sin.shape]).toEqual([
      [4, 7],
      [4, 7],
    ])
    const first = (table: typeof cos) => (table.op === 'constant' ? table.attributes.data[0] : undefined)
    expect([first(cos), first(sin)]).toEqual([1, 0])
  })
})

describe('distance classes', () => {
  it('are exact when near, logarithmic when far, and later keys have their own', () => {
    const bucket = (distance: number) => distanceBucket(distance, 32, 128)
    expect([0, -1, -7, -8, -15, -16, -32, -64, -127, -128, -5000].map(bucket)).toEqual([
      0, 1, 7, 8, 9, 10, 12, 14, 15, 15, 15,
    ])
    expect([1, 7, 8, 64, 5000].map(bucket)).toEqual([17, 23, 24, 30, 31])
  })
})

describe('the motion module', () => {
  it('refuses more frames than it has positions for', () => {
    const config = { ...motionModuleSizes['sd1.5-320'], channels: 32 }
    expect(() => trace(() => ({ out: motionModule(config, input('x', [33, 32, 1, 1]), 33) }))).toThrow(
      'got 33 frames, allowed are 32',
    )
  })
})

describe('released sizes', () => {
  const count = (graph: Graph) => graph.parameters.reduce((total, { shape }) => total + sizeOf(shape), 0)
  const rotary = (width: number) => ltxRotary([0, 0, 0], width)
  const x = input('x', [1, 1, 128])
  const text = input('text', [1, 1, 4096])
  const time = input('time', [1, 1, 256])
  const built: Readonly<Record<string, readonly [millions: number, build: () => Graph]>> = {
    'Wan 1.3B': [
      1419,
      () =>
        trace(() => ({
          out: wanDit(wanDitSizes['wan2.1-1.3b'], { latents: input('l', [1, 16, 1, 2, 2]), time, text }),
        })),
    ],
    'LTX 2B': [
      1923,
      () => trace(() => ({ out: ltxDit(ltxDitSizes['ltx-2b'], { tokens: x, time, text, rotary: rotary(2048) }) })),
    ],
    'LTX decoder': [
      553,
      () =>
        trace(() => ({
          out: ltxVaeDecoder(ltxVaeDecoderSizes['ltx-0.9.5'], input('z', [1, 128, 1, 1, 1]), input('t', [1, 256])),
        })),
    ],
    TAEHV: [
      9.84,
      () => trace(() => ({ out: taehvDecoder(taehvDecoderSizes['taew2.1'], input('z', [1, 1, 16, 1, 1])) })),
    ],
    'T5-XXL': [
      4762,
      () => trace(() => ({ out: t5Encoder(t5Sizes['t5-v1.1-xxl'], input('i', [1, 2], 'int32'), input('m', [1, 2])) })),
    ],
    'UMT5-XXL': [
      5681,
      () => trace(() => ({ out: t5Encoder(t5Sizes['umt5-xxl'], input('i', [1, 2], 'int32'), input('m', [1, 2])) })),
    ],
  }
  it.each(Object.entries(built))('%s has as many parameters as published', (_, [millions, build]) => {
    expect(Math.abs(count(build()) / 1e6 / millions - 1)).toBeLessThan(0.002)
  })
})
