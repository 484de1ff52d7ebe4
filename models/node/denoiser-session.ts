/**
 * A denoiser of a training run as a function: noisy latents of a drawn batch to clean estimates. What a teacher is to
 * its student, and what a run is judged by. Knows no objective and no optimizer.
 */

import { denoisedFrom, type Prediction } from '../../shared/prediction.ts'
import { type NoiseLevel, noiseAngle } from '../../shared/schedule.ts'
import { type Graph, input, type ParameterDescription, scope, sizeOf, trace } from '../graph/graph.ts'
import { type DitConfig, dit } from '../networks/dit.ts'
import { type TextEncoderConfig, textEncoder } from '../networks/text-encoder.ts'
import { sinusoids } from '../nn/embedding.ts'
import { encode } from '../onnx/encode.ts'
import { lower } from '../onnx/lower.ts'
import type { Backend } from '../pipeline/backend.ts'
import { type Draw, mixed } from '../train/denoising.ts'
import type { Denoise } from '../train/distill.ts'
import { initialize } from '../train/initialize.ts'
import type { Feeds } from '../train/loop.ts'
import type { TrainingState } from '../train/trainer.ts'

export interface DenoiserSessionOptions {
  readonly backend: Backend
  readonly config: DitConfig
  readonly text: TextEncoderConfig
  readonly prediction: Prediction
  /** As they are now; or, where they go on changing, what gives them whenever the network is asked. */
  readonly parameters: TrainingState | (() => TrainingState)
  /** Prefix of the feeds: that of the batches it will see. */
  readonly name: string
  readonly shape: Draw['shape']
  readonly tokens: number
  /** Of parameters that the run does not have yet. */
  readonly seed: number
}

export interface DenoiserSession extends AsyncDisposable {
  /** The network under some conditions: words and, where it takes it, guidance. */
  readonly under: (conditions: Feeds) => Denoise
}

export async function denoiserSession(options: DenoiserSessionOptions): Promise<DenoiserSession> {
  const { backend, config, prediction, name, shape } = options
  const graph = denoiserGraph(options)
  const { parameters } = options
  const live = typeof parameters === 'function' ? parameters : undefined
  const fresh = initialize(options.seed)
  const descriptions = new Map(graph.parameters.map(({ attributes }) => [attributes.name, attributes]))
  const stored = (parameter: string) => {
    const data = (parameters as TrainingState)[parameter] ?? fresh(descriptions.get(parameter) as ParameterDescription)
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    return { dtype: 'float32', data: { kind: 'inline', bytes } } as const
  }
  const session = await backend.load({
    model: encode(lower(graph, live === undefined ? { stored } : { forCpu: true })),
  })
  const changing = (): Feeds => (live === undefined ? {} : parameterFeeds(graph, live()))
  const timeShape = [shape[0], shape[2], config.featureWidth]
  return {
    under: (conditions) => async (latents, levels) => {
      const angles = levels.flatMap((level) => new Array<number>(shape[2]).fill(noiseAngle(level)))
      const { output } = await session.run({
        ...conditions,
        ...changing(),
        [`${name}.latents`]: { dtype: 'float32', shape, data: latents },
        [`${name}.time`]: { dtype: 'float32', shape: timeShape, data: sinusoids(angles, config.featureWidth) },
      })
      const said = output?.data
      if (!(said instanceof Float32Array) || said.length !== sizeOf(shape))
        throw new TypeError('denoiser: it gave no output of the batch’s shape')
      return mixed(shape, latents, said, (clip) => {
        const estimate = denoisedFrom(prediction, levels[clip] as NoiseLevel)
        return [estimate.latents, estimate.output]
      })
    },
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  }
}

/** Parameters that were lowered as inputs, as they are now. */
export const parameterFeeds = ({ parameters }: Graph, state: TrainingState): Feeds =>
  Object.fromEntries(
    parameters.map(({ attributes: { name }, shape }) => {
      const data = state[name]
      if (data === undefined)
        throw new RangeError(`${name}: the state has no such parameter, the network wants [${shape}]`)
      return [name, { dtype: 'float32', shape, data }] as const
    }),
  )

function denoiserGraph({ config, text, name, shape, tokens }: DenoiserSessionOptions) {
  const [batch, , frames] = shape
  return trace(() => {
    const ids = input(`${name}.ids`, [batch, tokens], 'int32')
    const mask = input(`${name}.mask`, [batch, tokens])
    const encoding = scope('text', () => textEncoder(text, ids, mask))
    const guidance = config.guided ? input(`${name}.guidance`, [batch, config.featureWidth]) : undefined
    const time = input(`${name}.time`, [batch, frames, config.featureWidth])
    const latents = input(`${name}.latents`, shape)
    return { output: scope('dit', () => dit(config, { latents, time, guidance, ...encoding })) }
  })
}
