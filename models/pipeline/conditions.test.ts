import { describe, expect, it } from 'vitest'
import { effectiveRequest } from '../../shared/generation.ts'
import { planOf } from '../../shared/plan.ts'
import { gaussian } from '../../shared/random.ts'
import { noiseAngle } from '../../shared/schedule.ts'
import { toyModel } from '../../test/toy-model.ts'
import { evaluate, type Tensor } from '../graph/evaluate.ts'
import { type Graph, sizeOf, topologicalOrder, trace } from '../graph/graph.ts'
import { type DitConfig, ditSizes } from '../networks/dit.ts'
import { sinusoids } from '../nn/embedding.ts'
import type { Backend, HostTensor, Session } from './backend.ts'
import { stepGraph, wholeStepGraph } from './compile.ts'
import { conditionsGraph, rowsAtOnce } from './conditions.ts'
import { runner } from './generate.ts'
import { modelOf } from './model.ts'

const tiny: DitConfig = {
  ...ditSizes.tiny,
  channels: 4,
  width: 32,
  depth: 2,
  textWidth: 8,
  featureWidth: 8,
  rotaryShares: [2, 3, 3],
}
const shape = { channels: 4, frames: 2, height: 4, width: 4 }
const length = 3
const row = 5

const drawn = (name: string, dims: readonly number[]) => gaussian(name.length, name.charCodeAt(0), 0, sizeOf(dims))

/** Drawn for every parameter, those that begin silent too. */
const parametersOf = (graph: Graph) =>
  Object.fromEntries(graph.parameters.map(({ attributes: { name }, shape }) => [name, drawn(name, shape)]))

const feedsOf = (graph: Graph) =>
  Object.fromEntries(graph.inputs.map(({ attributes: { name }, shape }) => [name, drawn(name, shape)]))

function told(denoiser: DitConfig, batch: 1 | 2) {
  const conditions = trace(() => conditionsGraph(denoiser, batch, length))
  const feeds = feedsOf(conditions)
  const { modulation, reading } = evaluate(conditions, { inputs: feeds, parameters: parametersOf(conditions) })
  const size = (modulation as Tensor).data.length / rowsAtOnce
  const vectors = (modulation as Tensor).data.subarray(row * size, (row + 1) * size)
  const step = trace(() => stepGraph({ denoiser }, batch, shape, length))
  const inputs = { ...feedsOf(step), modulation: vectors, reading: (reading as Tensor).data }
  return { feeds, step, outputs: evaluate(step, { inputs, parameters: parametersOf(step) }) }
}

function whole(denoiser: DitConfig, batch: 1 | 2, feeds: Readonly<Record<string, Float32Array>>) {
  const graph = trace(() => wholeStepGraph({ denoiser }, batch, shape, length))
  const features = denoiser.featureWidth
  const moment = Array.from((feeds.time as Float32Array).subarray(row * features, (row + 1) * features))
  const time = Array.from({ length: shape.frames }, () => moment).flat()
  return evaluate(graph, { inputs: { ...feedsOf(graph), ...feeds, time }, parameters: parametersOf(graph) })
}

describe('a step that is told its conditions', () => {
  it.each([
    [1, true],
    [1, false],
    [2, false],
  ] as const)('gives what a whole step gives: texts %i, guided %s', (batch, guided) => {
    const denoiser = { ...tiny, guided }
    const { feeds, outputs } = told(denoiser, batch)
    const expected = whole(denoiser, batch, feeds)
    for (const name of ['next', 'estimate'] as const) {
      const [got, wanted] = [outputs[name]?.data ?? [], expected[name]?.data ?? []]
      expect(got.length).toBe(sizeOf([1, shape.channels, shape.frames, shape.height, shape.width]))
      got.forEach((value, index) => {
        expect(value).toBeCloseTo(wanted[index] as number, 8)
      })
    }
  })

  it('reads neither the time nor the text, and does no product that depends on them alone', () => {
    const { step } = told(tiny, 1)
    expect(step.inputs.map(({ attributes }) => attributes.name).sort()).toEqual(
      ['latents', 'modulation', 'noise', 'previous', 'reading', 'row', 'textBias'].sort(),
    )
    const moving = new Set(step.inputs.filter(({ attributes }) => attributes.name === 'latents') as unknown[])
    for (const node of topologicalOrder([...step.outputs.values()])) {
      if (node.inputs.some((each) => moving.has(each))) moving.add(node)
      if (node.op === 'matmul') expect(moving.has(node)).toBe(true)
    }
  })
})

/**
 * A backend that works nothing out: conditions of a row are its time's first number, and steps note what they were told.
 */
function notingBackend() {
  const toldTo: number[] = []
  const asked: HostTensor[] = []
  const none = (shape: readonly number[]): HostTensor => ({
    dtype: 'float32',
    shape,
    data: new Float32Array(sizeOf(shape)),
  })
  const run = async (feeds: Parameters<Session['run']>[0]): Promise<Record<string, HostTensor>> => {
    const { ids, time, row, latents } = feeds
    if (ids !== undefined) return { text: none([1, 8, 1]), pooled: none([1, 1]), textBias: none([1, 1, 1, 8]) }
    if (time !== undefined) {
      asked.push(time)
      const [rows, , features] = time.shape as [number, number, number]
      const data = Float32Array.from({ length: rows }, (_, n) => time.data[n * features] as number)
      return { modulation: { dtype: 'float32', shape: [rows, 1, 1], data }, reading: none([1, 8, 1]) }
    }
    if (row !== undefined) toldTo.push(feeds.modulation?.data[0] as number)
    return { next: latents as HostTensor, estimate: latents as HostTensor }
  }
  const backend: Backend = {
    name: 'noting',
    load: async () => ({ run, [Symbol.asyncDispose]: async () => {} }),
  }
  return { backend, toldTo, asked }
}

/** What a generator returns, its events passed over. */
async function ended<Result>(events: AsyncGenerator<unknown, Result>): Promise<Result> {
  for (;;) {
    const event = await events.next()
    if (event.done) return event.value
  }
}

describe('the rows of a plan', () => {
  it('are each told their own time, from the same eight rows whether the run is cut or not', async () => {
    const { card, files } = await toyModel({ guided: true })
    const model = modelOf(card, files)
    const { signal } = new AbortController()
    const asks = { prompt: 'a fox', seed: 1, num_inference_steps: 11, size: '32x32', num_frames: 5 }
    const request = effectiveRequest({ ...asks, scheduler: 'ddim' }, model.card, 1)
    const [whole, cut] = [notingBackend(), notingBackend()]
    await ended(runner(model, whole.backend).denoise(request, signal))
    const { data } = await ended(runner(model, cut.backend).denoise(request, signal, { until: 9 }))
    await ended(runner(model, cut.backend).denoise(request, signal, { from: { data, step: 9 } }))

    const times = planOf(request).map(({ level }) => sinusoids([noiseAngle(level)], model.denoiser.featureWidth)[0])
    expect(new Set(times).size).toBe(11)
    expect(whole.toldTo).toEqual(times)
    expect(cut.toldTo).toEqual(times)
    expect(cut.asked).toEqual([...whole.asked, whole.asked[1]])
  })
})
