/**
 * One optimisation step as one session: parameters, moments and a batch in; their successors and the loss out.
 *
 * State lives in two sets of host buffers that take turns as input and output, so a step allocates nothing, and a step
 * whose loss is not finite is dropped by not turning them. Knows neither data nor files; EMA: Polyak averaging with a
 * decay that the caller may warm up.
 */

import { gradient } from '../autodiff/gradient.ts'
import { type Graph, graphOf, input, type ParameterDescription, sizeOf, trace, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { encode } from '../onnx/encode.ts'
import { fuseForTraining, lower } from '../onnx/lower.ts'
import type { Backend, HostTensor } from '../pipeline/backend.ts'
import { adamBetas, globalClip, lerp, type Optimizer } from './optimizer.ts'

/** Named tensors: a parameter under its name, its slots under `name@0`, `name@1`, its average under `name@ema`. */
export type TrainingState = Readonly<Record<string, Float32Array>>

export interface TrainerOptions {
  readonly backend: Backend
  /** Traced once; must give a scalar under `loss`, and may give other scalars to be reported. */
  readonly objective: () => Readonly<Record<string, Value>>
  readonly optimizerOf: (parameter: ParameterDescription) => Optimizer
  /** Parameters that stay as they are (a teacher's, say). */
  readonly frozen?: (parameter: ParameterDescription) => boolean
  readonly clip: number
  /** What is known already; the rest is drawn by `initial`. */
  readonly state: TrainingState
  readonly initial: (parameter: ParameterDescription) => Float32Array
}

export interface StepOptions {
  readonly learningRate: number
  /** Weight of the past in the average. */
  readonly emaDecay: number
  /** Updates done before this one, for bias correction. */
  readonly step: number
}

export interface StepReport {
  /** Every scalar of the objective, and `gradientNorm`. */
  readonly scalars: Readonly<Record<string, number>>
  /** False when the loss was not finite and the step was dropped. */
  readonly applied: boolean
}

export interface Trainer extends AsyncDisposable {
  readonly step: (batch: Readonly<Record<string, HostTensor>>, options: StepOptions) => Promise<StepReport>
  /** The current state; buffers are reused by later steps, so copy what must last. */
  readonly state: () => TrainingState
  readonly parameters: readonly ParameterDescription[]
}

export async function trainer(options: TrainerOptions): Promise<Trainer> {
  const { graph, parameters, stateShapes, reports } = trainingGraph(options)
  const model = lower(graph, { fuse: fuseForTraining, forCpu: true })
  const session = await options.backend.load({ model: encode(model) })
  const allocate = () =>
    Object.fromEntries(
      Object.entries(stateShapes).map(([name, shape]) => [name, tensor(shape, new Float32Array(sizeOf(shape)))]),
    )
  let [current, spare] = [allocate(), allocate()]
  fill(current, parameters, options)
  const frozen = new Set(parameters.filter((each) => options.frozen?.(each)).map(({ name }) => name))
  return {
    parameters,
    state: () => Object.fromEntries(Object.entries(current).map(([name, { data }]) => [name, data as Float32Array])),
    step: async (batch, { learningRate, emaDecay, step }) => {
      const scalars = {
        'step.learningRate': scalar(learningRate),
        'step.emaDecay': scalar(emaDecay),
        'step.correction1': scalar(1 - adamBetas[0] ** (step + 1)),
        'step.correction2': scalar(1 - adamBetas[1] ** (step + 1)),
      }
      const into = Object.entries(spare).filter(([name]) => !frozen.has(name))
      const renamed = Object.fromEntries(into.map(([name, each]) => [`next.${name}`, each]))
      const outputs = await session.run({ ...batch, ...scalars, ...current }, renamed)
      const read = Object.fromEntries(reports.map((name) => [name, outputs[name]?.data[0] ?? Number.NaN]))
      const applied = Number.isFinite(read.loss) && Number.isFinite(read.gradientNorm)
      if (applied) {
        for (const name of frozen) spare[name] = current[name] as HostTensor
        ;[current, spare] = [spare, current]
      }
      return { scalars: read, applied }
    },
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  }
}

interface TrainingGraph {
  readonly graph: Graph
  readonly parameters: readonly ParameterDescription[]
  readonly stateShapes: Readonly<Record<string, readonly number[]>>
  readonly reports: readonly string[]
}

/** The objective, its gradient, clipping, the optimizers and the average, as one graph. */
export function trainingGraph({ objective, optimizerOf, frozen = () => false, clip }: TrainerOptions): TrainingGraph {
  const forward = trace(objective)
  const loss = forward.outputs.get('loss')
  if (loss === undefined)
    throw new TypeError(`trainer: the objective gave ${[...forward.outputs.keys()]}, wants a loss`)
  const learned = forward.parameters.filter((each) => !frozen(each.attributes))
  const gradients = gradient(loss, learned)
  const { factor, norm } = globalClip(gradients, clip)
  const scalars = {
    learningRate: input('step.learningRate', []),
    correction1: input('step.correction1', []),
    correction2: input('step.correction2', []),
  }
  const decay = input('step.emaDecay', [])
  const outputs = new Map<string, Value>([...forward.outputs, ['gradientNorm', norm]])
  const stateShapes: Record<string, readonly number[]> = {}
  for (const { attributes, shape } of forward.parameters) stateShapes[attributes.name] = shape
  learned.forEach((parameter, index) => {
    const { name } = parameter.attributes
    const optimizer = optimizerOf(parameter.attributes)
    const slots = Array.from({ length: optimizer.slots }, (_, slot) => input(`${name}@${slot}`, parameter.shape))
    const average = input(`${name}@ema`, parameter.shape)
    const updated = optimizer.update(parameter, op.at(gradients, index), slots, { ...scalars, clip: factor })
    const successors = { [name]: updated.parameter, [`${name}@ema`]: lerp(updated.parameter, average, decay) }
    updated.slots.forEach((slot, number) => {
      successors[`${name}@${number}`] = slot
    })
    for (const [key, successor] of Object.entries(successors)) {
      stateShapes[key] = parameter.shape
      outputs.set(`next.${key}`, successor)
    }
  })
  return {
    graph: graphOf(outputs),
    parameters: forward.parameters.map(({ attributes }) => attributes),
    stateShapes,
    reports: [...forward.outputs.keys(), 'gradientNorm'],
  }
}

function fill(
  buffers: Record<string, HostTensor>,
  parameters: readonly ParameterDescription[],
  options: TrainerOptions,
): void {
  const set = (name: string, data: Float32Array | undefined) => {
    const buffer = buffers[name]
    if (buffer === undefined || data === undefined) return
    if (data.length !== buffer.data.length) {
      throw new RangeError(`${name}: the state has ${data.length} numbers, the network wants ${buffer.data.length}`)
    }
    buffer.data.set(data)
  }
  for (const parameter of parameters) {
    const { name } = parameter
    const start = options.state[name] ?? options.initial(parameter)
    set(name, start)
    set(`${name}@ema`, options.state[`${name}@ema`] ?? start)
    for (const slot of [0, 1]) set(`${name}@${slot}`, options.state[`${name}@${slot}`])
  }
}

const tensor = (shape: readonly number[], data: Float32Array): HostTensor => ({ dtype: 'float32', shape, data })
const scalar = (value: number): HostTensor => tensor([], Float32Array.of(value))
