/**
 * The backend of Node: onnxruntime-node, on the CPU or, where the machine has one, on its WebGPU provider.
 *
 * Knows nothing of networks. Host tensors are handed over without a copy; outputs named in `into` are written in place.
 */

import { availableParallelism } from 'node:os'
import './quiet-runtime.ts'
import { InferenceSession, Tensor } from 'onnxruntime-node'
import type { Backend, HostTensor, ModelSource, Session } from '../pipeline/backend.ts'

export interface NodeBackendOptions {
  /**
   * Threads inside one operator; 0, or nothing, for all that this process may use. The runtime's own count is half of
   * them wherever it does not know the processor.
   */
  readonly threads?: number
  /** `cuda` needs the runtime's CUDA libraries, which its install step fetches when asked to (docs/node.md). */
  readonly provider?: 'cpu' | 'webgpu' | 'cuda'
  /** `all` costs start-up time and pays off over many runs. */
  readonly optimization?: 'disabled' | 'basic' | 'extended' | 'all'
}

export function nodeBackend({ threads = 0, provider = 'cpu', optimization = 'all' }: NodeBackendOptions = {}): Backend {
  return {
    name: `onnxruntime-node/${provider}`,
    load: async ({ model, weights = {} }: ModelSource) =>
      nodeSession(
        await InferenceSession.create(model, {
          executionProviders: [provider],
          intraOpNumThreads: threads === 0 ? availableParallelism() : threads,
          graphOptimizationLevel: optimization,
          logSeverityLevel: 3,
          // A softmax or a gradient that fades into denormals costs ten times its product otherwise. The fusion of a sum
          // and a norm is left out because its kernel takes ten times as long as the two.
          extra: {
            session: { set_denormal_as_zero: '1' },
            optimization: { disable_specified_optimizers: 'SkipLayerNormFusion' },
          },
          externalData: Object.entries(weights).map(([path, data]) => ({ path, data })),
        }),
      ),
  }
}

function nodeSession(session: InferenceSession): Session {
  let lane: Promise<unknown> = Promise.resolve()
  const run: Session['run'] = (feeds, into = {}) => {
    const result = lane.then(() => session.run(tensors(feeds), { ...fetches(session), ...tensors(into) }))
    lane = result.catch(() => {})
    return result.then((outputs) =>
      Object.fromEntries(Object.entries(outputs).map(([name, each]) => [name, host(each)])),
    )
  }
  return {
    run,
    [Symbol.asyncDispose]: async () => {
      await lane
      await session.release()
    },
  }
}

const fetches = (session: InferenceSession) => Object.fromEntries(session.outputNames.map((name) => [name, null]))

function tensors(hosts: Readonly<Record<string, HostTensor>>): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(hosts).map(([name, { dtype, data, shape }]) => [name, new Tensor(dtype, data, shape)]),
  )
}

function host(tensor: Tensor): HostTensor {
  const { type, data, dims } = tensor
  if ((type === 'float32' && data instanceof Float32Array) || (type === 'int32' && data instanceof Int32Array)) {
    return { dtype: type, data, shape: dims }
  }
  throw new TypeError(`output is ${type}, allowed are float32 and int32; cast it in the graph`)
}
