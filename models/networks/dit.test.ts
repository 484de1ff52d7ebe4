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
  local: { ...ditSizes.tiny.local, passes: 8 },
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

/** Random everywhere, the parts included that are silent at the start. */
const loud = ({ name, shape }: Parameters<ReturnType<typeof initialize>>[0]) =>
  gaussian(9, name.length, 0, sizeOf(shape)).map((v) => 0.2 * v)
const answer = (graph: ReturnType<typeof build>, given: ReturnType<typeof feeds>) =>
  evaluate(graph, given).out?.data ?? new Float64Array()
const distance = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.max(...Array.from(a, (value, index) => Math.abs(value - Number(b[index]))))

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
    const base = feeds(graph, loud)
    const shifted = {
      ...base,
      inputs: { ...base.inputs, time: (base.inputs.time as Float32Array).map((v, i) => (i < 8 ? v + 1 : v)) },
    }
    expect(distance(answer(graph, base), answer(graph, shifted))).toBeGreaterThan(1e-3)
  })

  it('hears of the frames before and after in its cells, and of none without', () => {
    const graph = build(3, 4, 4)
    const silent = (name: string) => name.startsWith('dit.layers') || name.includes('.conv.')
    const told = feeds(graph, (description) => loud(description).map((v) => (silent(description.name) ? 0 : v)))
    const untold = feeds(graph, (description) =>
      loud(description).map((v) => (silent(description.name) || description.name.includes('.moves.') ? 0 : v)),
    )
    const changed = (frame: number) => (value: number, at: number) =>
      Math.floor(at / 16) % 3 === frame ? value + 1 : value
    const frames = (one: ArrayLike<number>, other: ArrayLike<number>) =>
      [0, 1, 2].map((frame) =>
        Array.from(one).some(
          (value, at) => Math.floor(at / 16) % 3 === frame && Math.abs(value - Number(other[at])) > 1e-6,
        ),
      )
    const reached = (all: typeof told, frame: number) => {
      const latents = (all.inputs.latents as Float32Array).map(changed(frame))
      return frames(answer(graph, all), answer(graph, { ...all, inputs: { ...all.inputs, latents } }))
    }
    expect(reached(told, 1)).toEqual([true, true, true])
    expect([0, 1, 2].map((frame) => reached(untold, frame))).toEqual([
      [true, false, false],
      [false, true, false],
      [false, false, true],
    ])
  })
})
