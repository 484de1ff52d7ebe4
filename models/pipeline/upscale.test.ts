import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { drawnParameters } from '../../test/checkpoints/random.ts'
import { toyUpscaler } from '../../test/checkpoints/toys.ts'
import { evaluate } from '../graph/evaluate.ts'
import { input, trace } from '../graph/graph.ts'
import type { PartConfigs } from '../weights/parts.ts'
import { upscaleGraph, withStatisticsOf } from './upscale.ts'

/** Mean and deviation of each of two channels. */
function statistics(values: ArrayLike<number>): number[][] {
  const size = values.length / 2
  return [0, 1].map((channel) => {
    const own = Array.from({ length: size }, (_, n) => values[channel * size + n] as number)
    const mean = own.reduce((sum, x) => sum + x, 0) / size
    return [mean, Math.sqrt(own.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (size - 1))]
  })
}

describe('statistics of another', () => {
  it('become those of each channel, whatever it was scaled and moved by', () => {
    const x = gaussian(1, 0, 0, 2 * 2 * 4 * 4).map((value, index) => (index < 32 ? 5 * value - 3 : 0.1 * value + 7))
    const other = gaussian(2, 0, 0, 2 * 2 * 2 * 2)
    const graph = trace(() => ({
      out: withStatisticsOf(input('x', [1, 2, 2, 4, 4]), input('other', [1, 2, 2, 2, 2])),
    }))
    const made = evaluate(graph, { inputs: { x, other } }).out?.data ?? []
    const [got, wanted] = [statistics(made), statistics(other)]
    got.flat().forEach((value, index) => {
      expect(value).toBeCloseTo(wanted.flat()[index] as number, 6)
    })
  })
})

describe('latents between two passes', () => {
  const config = toyUpscaler['ltx-upscaler'] as PartConfigs['ltx-upscaler']
  const shape = { channels: config.channels, frames: 2, height: 2, width: 3 }
  const run = (level: { readonly alpha: number; readonly sigma: number }, scale: number) => {
    const graph = trace(() => upscaleGraph(config, shape, { t: level.sigma, ...level }))
    const parameters = {
      ...drawnParameters(graph),
      latents_std: new Float32Array(config.channels).fill(scale),
      latents_mean: new Float32Array(config.channels).fill(scale),
    }
    const inputs = { latents: gaussian(3, 0, 0, 16 * 12), noise: gaussian(4, 0, 0, 16 * 48) }
    return { made: evaluate(graph, { inputs, parameters }).latents2, inputs }
  }

  it('are twice the side, and noise alone where the level says so', () => {
    const { made, inputs } = run({ alpha: 0, sigma: 1 }, 1)
    expect(made?.shape).toEqual([1, 16, 2, 4, 6])
    expect([...(made?.data ?? [])]).toEqual([...inputs.noise])
  })

  it('pass through the upscaler with the mean and deviation of the autoencoder', () => {
    const [one, other] = [1, 3].map((scale) => run({ alpha: 1, sigma: 0 }, scale).made?.data ?? new Float64Array())
    expect(one).not.toEqual(other)
  })
})
