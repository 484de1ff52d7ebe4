import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { evaluate } from '../graph/evaluate.ts'
import { type Graph, input, scope, sizeOf, trace } from '../graph/graph.ts'
import { initialize } from '../train/initialize.ts'
import { type AutoencoderConfig, decodeGroups, decoder, encoder } from './autoencoder.ts'

const config: AutoencoderConfig = {
  channels: 3,
  coarse: { width: 6, blocks: 1 },
  fine: { width: 4, blocks: 1 },
  finest: { width: 3, blocks: 1 },
}

const parametersOf = (graph: Graph) =>
  Object.fromEntries(graph.parameters.map(({ attributes }) => [attributes.name, initialize(3)(attributes)]))

function run(graph: Graph, inputs: Readonly<Record<string, ArrayLike<number>>>): Float64Array {
  return evaluate(graph, { inputs, parameters: parametersOf(graph) }).out?.data ?? new Float64Array()
}

const encoderOf = (frames: number, side: number) =>
  trace(() => ({ out: scope('ae', () => encoder(config, input('frames', [1, frames, side, side, 3]))) }))
const decoderOf = (groups: number, side: number) =>
  trace(() => ({ out: scope('ae', () => decoder(config, input('latents', [1, 3, groups, side, side]))) }))

/** Latent frame `index` of [1, C, G, h, w], channels last, as the streaming decoder takes it. */
function group(latents: Float32Array, groups: number, area: number, index: number): Float32Array {
  return Float32Array.from(
    { length: area * 3 },
    (_, n) => latents[((n % 3) * groups + index) * area + Math.floor(n / 3)] as number,
  )
}

describe('autoencoder', () => {
  it('decodes a stream, group by group, exactly as it decodes the whole', () => {
    const [groups, area] = [3, 4]
    const latents = gaussian(1, 0, 0, 3 * groups * area)
    const whole = run(decoderOf(groups, 2), { latents })
    const stream = trace(() => ({
      out: scope('ae', () => decodeGroups(config, input('latents', [1, 2, 2, 3]), input('previous', [1, 2, 2, 3]))),
    }))
    const streamed = Array.from({ length: groups }, (_, index) => {
      const previous = index === 0 ? new Float32Array(area * 3) : group(latents, groups, area, index - 1)
      const tubes = run(stream, { latents: group(latents, groups, area, index), previous })
      // [H, W, 4·3] → [4, H, W, 3]; the first group shows its last frame only.
      const frames = [0, 1, 2, 3].map((frame) =>
        Array.from({ length: 16 * 16 * 3 }, (__, n) => tubes[Math.floor(n / 3) * 12 + frame * 3 + (n % 3)] as number),
      )
      return frames.slice(index === 0 ? 3 : 0).flat()
    }).flat()
    expect(streamed.length).toBe(whole.length)
    streamed.forEach((value, index) => {
      expect(value).toBeCloseTo(whole[index] as number, 10)
    })
  })

  it('is causal: later frames change no earlier latents, and an image is a clip of one', () => {
    const frames = gaussian(2, 0, 0, 9 * 16 * 16 * 3)
    const long = run(encoderOf(9, 16), { frames })
    const short = run(encoderOf(5, 16), { frames: frames.subarray(0, 5 * 16 * 16 * 3) })
    const image = run(encoderOf(1, 16), { frames: frames.subarray(0, 16 * 16 * 3) })
    for (let channel = 0; channel < 3; channel++) {
      for (let place = 0; place < 4; place++) {
        expect(image[channel * 4 + place]).toBeCloseTo(long[channel * 12 + place] as number, 12)
        for (const index of [0, 1])
          expect(short[channel * 8 + index * 4 + place]).toBeCloseTo(
            long[channel * 12 + index * 4 + place] as number,
            12,
          )
      }
    }
  })

  it('has the same parameters for every size and length', () => {
    const names = (graph: Graph) =>
      graph.parameters.map(({ attributes, shape }) => `${attributes.name} ${sizeOf(shape)}`).sort()
    expect(names(decoderOf(5, 4))).toEqual(names(decoderOf(1, 2)))
    expect(names(encoderOf(17, 32))).toEqual(names(encoderOf(1, 16)))
  })
})
