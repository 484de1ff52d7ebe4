import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { drawnParameters } from '../../test/checkpoints/random.ts'
import { toyLtx } from '../../test/checkpoints/toys.ts'
import { trace } from '../graph/graph.ts'
import { ltxReach } from '../networks/ltx-vae-decoder.ts'
import { nodeBackend } from '../node/backend.ts'
import { encode } from '../onnx/encode.ts'
import { lower } from '../onnx/lower.ts'
import { type PartConfigs, partGraph } from '../weights/parts.ts'
import { type Decoding, type DecodingWindow, decoders } from './decoders.ts'

const config = toyLtx['ltx-vae-decoder'] as PartConfigs['ltx-vae-decoder']
const numbers = drawnParameters(partGraph('ltx-vae-decoder', config))
const backend = nodeBackend({ threads: 1 })
const shape = { channels: config.latentChannels, frames: 17, height: 1, width: 1 }
const latents = gaussian(2, 0, 0, shape.channels * shape.frames)

/** Pixels of the clip, decoded in windows; sessions are made anew, the shapes being few. */
async function decoded(window: DecodingWindow): Promise<Uint8Array> {
  const load: Decoding<'ltx-vae-decoder'>['load'] = (_, build) => {
    const stored = (name: string) => {
      const data = numbers[name] as Float32Array
      return { dtype: 'float32', data: { kind: 'inline', bytes: new Uint8Array(data.buffer) } } as const
    }
    return backend.load({ model: encode(lower(trace(build), { stored })) })
  }
  const noise = (count: number) => gaussian(3, 0, 0, count)
  const pixels: Uint8Array[] = []
  let frames = 0
  for await (const piece of decoders['ltx-vae-decoder']({ config, shape, latents, load, noise, window })) {
    pixels.push(piece.pixels)
    frames += piece.count
  }
  expect(frames).toBe(8 * shape.frames - 7)
  return Buffer.concat(pixels)
}

/** The largest difference of two clips, of 255. */
const worst = (a: Uint8Array, b: Uint8Array): number =>
  a.reduce((most, value, index) => Math.max(most, Math.abs(value - (b[index] ?? Number.NaN))), 0)

describe('decoding in windows', () => {
  it('leaves no seam where margins reach as far as the network looks, and one where they do not', async () => {
    const whole = await decoded({ frames: 17, margin: 1 })
    expect(ltxReach(config)).toBe(7)
    // One level of 255 is what rounding may turn.
    expect(worst(whole, await decoded({ frames: 2, margin: 7 }))).toBeLessThanOrEqual(1)
    const narrow = worst(whole, await decoded({ frames: 8, margin: 1 }))
    if (process.env.ZOETROPE_REPORT) process.stderr.write(`margin 1: ${narrow} of 255\n`)
    expect(narrow).toBeGreaterThan(5)
  })
})
