/**
 * `zoetrope bench`: what this machine can do and what the engine makes of it, in one run, so that ratios hold.
 */

import { effectiveRequest } from '../../../shared/generation.ts'
import { gaussian } from '../../../shared/random.ts'
import { flopsOf } from '../../graph/cost.ts'
import { sizeOf, trace } from '../../graph/graph.ts'
import type { HostTensor } from '../../pipeline/backend.ts'
import { compileStep, stepGraph } from '../../pipeline/compile.ts'
import type { Model } from '../../pipeline/model.ts'
import { initialize } from '../../train/initialize.ts'
import { denoiserObjective } from '../../train/objectives.ts'
import { trainer, trainingGraph } from '../../train/trainer.ts'
import { nodeBackend } from '../backend.ts'
import { benchImported } from '../bench-imported.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'
import { gemmRate, timed } from '../machine-rate.ts'
import { defaultModel, loadCard, loadModel, modelIds } from '../models.ts'
import { optimizersOf } from '../optimizers.ts'
import { collect } from './generate.ts'

export const benchCommand: Command = {
  summary: 'Measure this machine and the engine on it.',
  usage: '[options]',
  options: {
    model: { kind: 'text', value: 'ID', help: `which model (${defaultModel})` },
    batch: { kind: 'number', value: 'N', help: 'clips in the training step (40); not for imported models' },
    threads: {
      kind: 'number',
      value: 'N',
      help: 'of products and steps (all cores); with 1 times are the processor’s, whoever else uses the machine',
    },
    size: { kind: 'text', value: 'WxH', help: 'pixels of the clip of an imported model' },
    frames: { kind: 'number', value: 'N', help: 'frames of the clip of an imported model' },
  },
  run: async (given, surroundings) => {
    const id = given.text('model') ?? defaultModel
    const figures = (await modelIds()).includes(id)
      ? await measure(await loadModel(await loadCard(id)), machineOf(given), surroundings)
      : await benchImported(id, { size: given.text('size'), frames: given.number('frames'), ...surroundings })
    for (const [name, value] of Object.entries(figures))
      surroundings.say(`${name.padEnd(28)} ${typeof value === 'number' ? value.toPrecision(4) : value}`)
    surroundings.emit(figures)
  },
}

/** How long products and steps are measured, each warm, the best of it counting: others use the machine too. */
const seconds = 2
const trainingSeconds = 8

/** Latents of the default clip, 17×64×64. */
const clipOf = ({ denoiser }: Model) => ({ channels: denoiser.channels, frames: 5, height: 8, width: 8 })

/** What the steps are measured with. */
interface Machine {
  readonly batch: number
  /** 0: all cores. */
  readonly threads: number
}

const machineOf = (given: Arguments): Machine => ({
  batch: given.number('batch') ?? 40,
  threads: given.number('threads') ?? 0,
})

async function measure(
  model: Model,
  { batch, threads }: Machine,
  { show, signal }: Surroundings,
): Promise<Record<string, number>> {
  show('matrix product')
  const before = await gemmRate(seconds, threads)
  show('inference step')
  const inference = await inferenceRate(model, threads)
  const between = await gemmRate(seconds, threads)
  show('training step')
  const training = await trainingRate(model, batch, threads)
  const gemm = Math.max(before.best, between.best, (await gemmRate(seconds, threads)).best)
  show('first clip')
  const start = performance.now()
  const request = effectiveRequest({ prompt: 'a blue bird flies left over the sea', seed: 7 }, model.card, 7)
  await collect(model, nodeBackend(), request, signal, () => {})
  return {
    gemm_gflops: gemm,
    inference_gflops: inference.rate,
    inference_ratio: inference.rate / gemm,
    inference_step_ms: inference.ms,
    training_gflops: training.rate,
    training_ratio: training.rate / gemm,
    training_step_ms: training.ms,
    training_clips_per_second: (1000 * batch) / training.ms,
    build_and_lower_ms: inference.buildMs,
    session_ms: inference.sessionMs,
    first_clip_ms: performance.now() - start,
    weight_bytes: Object.values(model.card.weights).reduce((total, { bytes }) => total + bytes, 0),
  }
}

async function inferenceRate(model: Model, threads: number) {
  const clip = clipOf(model)
  const start = performance.now()
  const source = compileStep(model, 1, clip, 16)
  const buildMs = performance.now() - start
  const loading = performance.now()
  await using session = await nodeBackend({ threads }).load(source)
  const sessionMs = performance.now() - loading
  const graph = trace(() => stepGraph(model, 1, clip, 16))
  const feeds = Object.fromEntries(
    graph.inputs.map(({ attributes, shape }, index) => [attributes.name, random(shape, index)]),
  )
  const { best: ms } = await timed(seconds, () => session.run(feeds), threads)
  return { ms, buildMs, sessionMs, rate: flopsOf(graph) / ms / 1e6 }
}

async function trainingRate(model: Model, batch: number, threads: number) {
  const clip = clipOf(model)
  const options = {
    backend: nodeBackend({ threads }),
    objective: () =>
      denoiserObjective(model.denoiser, model.text, clip, [
        { name: 'video', batch, frames: clip.frames, tokens: 24, share: 1 },
      ]),
    optimizerOf: optimizersOf('adamw'),
    clip: 1,
    state: {},
    initial: initialize(1),
  }
  const flops = flopsOf(trainingGraph(options).graph)
  await using learner = await trainer(options)
  const shape = [batch, clip.channels, clip.frames, clip.height, clip.width]
  const width = model.denoiser.featureWidth
  const feeds: Record<string, HostTensor> = {
    'video.latents': random(shape, 0),
    'video.target': random(shape, 1),
    'video.time': random([batch, clip.frames, width], 2),
    'video.weight': random([batch, 1, clip.frames, clip.height, clip.width], 3),
    'video.guidance': random([batch, width], 4),
    'video.ids': { dtype: 'int32', shape: [batch, 24], data: new Int32Array(batch * 24).fill(1) },
    'video.mask': { dtype: 'float32', shape: [batch, 24], data: new Float32Array(batch * 24).fill(1) },
  }
  if (!model.denoiser.guided) delete feeds['video.guidance']
  let step = 0
  const once = () => learner.step(feeds, { learningRate: 1e-4, emaDecay: 0.9, step: step++ })
  // The runtime lays out its memory in the first two, which take five times as long.
  await once()
  const { best } = await timed(trainingSeconds, once, threads)
  return { ms: best, rate: flops / best / 1e6 }
}

const random = (shape: readonly number[], stream: number): HostTensor => ({
  dtype: 'float32',
  shape,
  data: gaussian(2, stream, 0, sizeOf(shape)),
})
