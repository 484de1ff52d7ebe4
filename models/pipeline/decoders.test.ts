import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import type { LatentShape } from '../../shared/video.ts'
import { drawnParameters } from '../../test/checkpoints/random.ts'
import { toyLtx, toyTaehv } from '../../test/checkpoints/toys.ts'
import { trace } from '../graph/graph.ts'
import { ltxReach, ltxVaeDecoderSizes } from '../networks/ltx-vae-decoder.ts'
import { taehvDecoderSizes, taehvReach } from '../networks/taehv-decoder.ts'
import { nodeBackend } from '../node/backend.ts'
import { encode } from '../onnx/encode.ts'
import { lower } from '../onnx/lower.ts'
import { type PartConfigs, partGraph } from '../weights/parts.ts'
import { type DecoderKind, type Decoding, decoders } from './decoders.ts'

const backend = nodeBackend({ threads: 1 })
const whole = { budget: Number.POSITIVE_INFINITY }

/** Decodes drawn latents with drawn weights; sessions are made anew, the shapes being few. */
function decoding<K extends DecoderKind>(kind: K, config: PartConfigs[K], size: Omit<LatentShape, 'channels'>) {
  const numbers = drawnParameters(partGraph(kind, config))
  const shape = { ...size, channels: config.latentChannels }
  const latents = gaussian(2, 0, 0, shape.channels * shape.frames * shape.height * shape.width)
  const load: Decoding<K>['load'] = (_, build) => {
    const stored = (name: string) => {
      const data = numbers[name] as Float32Array
      return { dtype: 'float32', data: { kind: 'inline', bytes: new Uint8Array(data.buffer) } } as const
    }
    return backend.load({ model: encode(lower(trace(build), { stored })) })
  }
  const noise = (count: number) => gaussian(3, 0, 0, count)
  return async (how: Partial<Decoding<K>>): Promise<Uint8Array> => {
    const pixels: Uint8Array[] = []
    for await (const piece of decoders[kind]({ config, shape, latents, load, noise, ...whole, ...how }))
      pixels.push(piece.pixels)
    return Buffer.concat(pixels)
  }
}

/** The largest difference of two clips, of 255. */
const worst = (a: Uint8Array, b: Uint8Array): number =>
  a.reduce((most, value, index) => Math.max(most, Math.abs(value - (b[index] ?? Number.NaN))), 0)

const tell = (line: string): void => {
  if (process.env.ZOETROPE_REPORT) process.stderr.write(`${line}\n`)
}

const ltx = toyLtx['ltx-vae-decoder'] as PartConfigs['ltx-vae-decoder']
const taehv = toyTaehv['taehv-decoder'] as PartConfigs['taehv-decoder']

describe('decoding in windows of frames', () => {
  it('leaves no seam where margins reach as far as the network looks, and one where they do not', async () => {
    const decoded = decoding('ltx-vae-decoder', ltx, { frames: 17, height: 1, width: 1 })
    const clip = await decoded({})
    expect(clip.length).toBe((8 * 17 - 7) * 32 * 32 * 3)
    // One level of 255 is what rounding may turn.
    expect(worst(clip, await decoded({ window: { frames: 2, margin: ltxReach(ltx) } }))).toBeLessThanOrEqual(1)
    const narrow = worst(clip, await decoded({ window: { frames: 8, margin: 1 } }))
    tell(`ltx, windows with a margin of 1 frame: ${narrow} of 255`)
    expect(narrow).toBeGreaterThan(5)
  })
})

const families = [
  { kind: 'taehv-decoder', config: taehv, reach: taehvReach(taehv), size: { frames: 2, height: 1, width: 44 } },
  { kind: 'ltx-vae-decoder', config: ltx, reach: ltxReach(ltx), size: { frames: 1, height: 1, width: 20 } },
] as const

describe.each(families)('decoding in tiles by $kind', ({ kind, config, reach, size }) => {
  const decoded = decoding(kind, config as never, size)

  it('leaves no seam where tiles overlap as far as the network looks', async () => {
    const picture = await decoded({})
    const tiles = { height: size.height, width: 2 * reach + 2, margin: reach }
    expect(tiles.width).toBeLessThan(size.width)
    expect(worst(picture, await decoded({ tiles }))).toBeLessThanOrEqual(1)
  })

  it('fades what differs where they do not: less the more they overlap', async () => {
    const picture = await decoded({})
    const of = async (margin: number) =>
      worst(picture, await decoded({ tiles: { height: size.height, width: 2 * margin + 2, margin } }))
    const [narrow, wide] = [await of(1), await of(reach - 2)]
    tell(`${kind}, tiles that overlap by 1 cell of ${reach}: ${narrow} of 255, by ${reach - 2}: ${wide}`)
    expect(narrow).toBeGreaterThan(1)
    expect(wide).toBeLessThan(narrow)
  })

  it('is cut by a budget of memory, whichever side is long', async () => {
    const side = size.width
    const tall = decoding(kind, config as never, { ...size, height: side, width: 1 })
    /** The name of the session that a budget asks for: sides come last. */
    const asked = (budget: number): Promise<unknown> =>
      tall({ budget, load: (name) => Promise.reject(name) }).catch((name: unknown) => name)
    let budget = 1e8
    while (String(await asked(budget)).endsWith(`${side} 1`)) budget *= 0.93
    // Just below the whole, tiles that overlap enough are bearable.
    expect(worst(await tall({}), await tall({ budget }))).toBeLessThanOrEqual(1)
  })
})

describe('the reach of a released decoder', () => {
  it('is what its convolutions add up to', () => {
    expect(taehvReach(taehvDecoderSizes['taew2.1'])).toBe(18)
    expect(ltxReach(ltxVaeDecoderSizes['ltx-0.9.5'])).toBe(22)
  })
})
