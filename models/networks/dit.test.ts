import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { evaluate } from '../graph/evaluate.ts'
import { input, scope, sizeOf, trace } from '../graph/graph.ts'
import { initialize } from '../train/initialize.ts'
import { dit, ditSizes } from './dit.ts'

const config = {
  ...ditSizes.tiny,
  channels: 4,
  width: 32,
  depth: 1,
  textWidth: 8,
  featureWidth: 8,
  rotaryShares: [2, 3, 3] as const,
}

function build(frames: number, height: number, width: number) {
  return trace(() => ({
    out: scope('dit', () =>
      dit(config, {
        latents: input('latents', [1, config.channels, frames, height, width]),
        time: input('time', [1, frames, config.featureWidth]),
        text: input('text', [1, 3, config.textWidth]),
        pooled: input('pooled', [1, config.textWidth]),
        textBias: input('textBias', [1, 1, 1, 3]),
      }),
    ),
  }))
}

function feeds(graph: ReturnType<typeof build>, parametersOf = initialize(1)) {
  const inputs = Object.fromEntries(
    graph.inputs.map((node, index) => [node.attributes.name, gaussian(5, index, 0, sizeOf(node.shape))]),
  )
  const parameters = Object.fromEntries(
    graph.parameters.map(({ attributes }) => [attributes.name, parametersOf(attributes)]),
  )
  return { inputs, parameters }
}

describe('dit', () => {
  it('outputs exactly zero at initialisation', () => {
    const graph = build(2, 4, 4)
    expect(evaluate(graph, feeds(graph)).out?.data.every((value) => value === 0)).toBe(true)
  })

  it('has the same parameters for every size and length', () => {
    const names = (graph: ReturnType<typeof build>) =>
      graph.parameters.map(({ attributes, shape }) => `${attributes.name} ${shape}`).sort()
    const reference = names(build(1, 8, 8))
    for (const shape of [
      [5, 8, 8],
      [5, 6, 10],
      [7, 8, 8],
    ] as const)
      expect(names(build(shape[0], shape[1], shape[2]))).toEqual(reference)
  })

  it('answers differently when the time of one frame changes, once its output is not silent', () => {
    const graph = build(2, 4, 4)
    const loud = (description: Parameters<ReturnType<typeof initialize>>[0]) =>
      gaussian(9, description.name.length, 0, sizeOf(description.shape)).map((v) => 0.2 * v)
    const base = feeds(graph, loud)
    const shifted = {
      ...base,
      inputs: { ...base.inputs, time: (base.inputs.time as Float32Array).map((v, i) => (i < 8 ? v + 1 : v)) },
    }
    const [a, b] = [evaluate(graph, base).out?.data ?? [], evaluate(graph, shifted).out?.data ?? []]
    expect(Math.max(...Array.from(a, (value, index) => Math.abs(value - (b[index] as number))))).toBeGreaterThan(1e-3)
  })
})
