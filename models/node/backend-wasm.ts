/**
 * The wasm backend under Node: onnxruntime-web without a browser, for tests that hold runtimes against each other.
 *
 * Only the `wasm` bundle: the package's default entry is an older engine. One thread, so nothing is left running.
 */

import * as ort from 'onnxruntime-web/wasm'
import type { Backend, HostTensor, ModelSource, Session } from '../pipeline/backend.ts'

export function wasmBackend(): Backend {
  ort.env.wasm.numThreads = 1
  ort.env.logLevel = 'error'
  return {
    name: 'onnxruntime-web/wasm',
    load: async ({ model, weights = {} }: ModelSource) =>
      wasmSession(
        await ort.InferenceSession.create(model, {
          executionProviders: ['wasm'],
          externalData: Object.entries(weights).map(([path, data]) => ({ path, data })),
        }),
      ),
  }
}

function wasmSession(session: ort.InferenceSession): Session {
  let lane: Promise<unknown> = Promise.resolve()
  return {
    run: (feeds, into = {}) => {
      const result = lane.then(() => session.run(tensors(feeds)))
      lane = result.catch(() => {})
      return result.then((outputs) =>
        Object.fromEntries(Object.entries(outputs).map(([name, each]) => [name, placed(host(each), into[name])])),
      )
    },
    [Symbol.asyncDispose]: async () => {
      await lane
      await session.release()
    },
  }
}

/** This runtime writes outputs where it likes, so a wanted place is filled by a copy. */
function placed(made: HostTensor, wanted: HostTensor | undefined): HostTensor {
  if (wanted === undefined) return made
  wanted.data.set(made.data)
  return wanted
}

function tensors(hosts: Readonly<Record<string, HostTensor>>): Record<string, ort.Tensor> {
  return Object.fromEntries(
    Object.entries(hosts).map(([name, { dtype, data, shape }]) => [name, new ort.Tensor(dtype, data, shape)]),
  )
}

function host({ type, data, dims }: ort.Tensor): HostTensor {
  if ((type === 'float32' && data instanceof Float32Array) || (type === 'int32' && data instanceof Int32Array)) {
    return { dtype: type, data, shape: dims }
  }
  throw new TypeError(`output is ${type}, allowed are float32 and int32; cast it in the graph`)
}
