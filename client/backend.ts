/**
 * The backend of browsers: onnxruntime-web on WebGPU or wasm, behind the pipeline's interface.
 *
 * A session runs one thing at a time ("Session already started"), so runs queue in one lane. On WebGPU every node must
 * be placed on the GPU: a graph of which a node would fall to the CPU is refused. An output that comes back as input, as
 * latents do from step to step, is not uploaded again: its device tensor is remembered beside the host copy.
 */

import type { InferenceSession, Tensor } from 'onnxruntime-web/jspi'
import { input, trace } from '../models/graph/graph.ts'
import * as op from '../models/graph/ops.ts'
import { encode } from '../models/onnx/encode.ts'
import { lower } from '../models/onnx/lower.ts'
import type { Backend, HostTensor, ModelSource, Session } from '../models/pipeline/backend.ts'
import { GenerationError } from '../shared/errors.ts'
import { type OwnedDevice, openDevice } from './device.ts'
import type { OrtModule } from './runtime.ts'

export type ExecutionProvider = 'webgpu' | 'wasm'

/** A backend that owns its device and says when it is gone. */
export interface WebBackend extends Backend, AsyncDisposable {
  readonly provider: ExecutionProvider
  /** Vendor and architecture; null on wasm. */
  readonly adapterClass: string | null
  /** Settles when the device is lost other than by disposal; never on wasm. */
  readonly lost: Promise<GenerationError>
  /** Device tensors now held; for leak tests. */
  readonly held: () => number
}

/**
 * Opens a backend on a loaded runtime.
 * @throws GenerationError device_unavailable where WebGPU has no adapter.
 */
export async function webBackend(ort: OrtModule, provider: ExecutionProvider): Promise<WebBackend> {
  const owned = provider === 'webgpu' ? await openDevice() : undefined
  const residents = residentTensors()
  const options = sessionOptions(owned)
  // With its last session the runtime forgets all that it compiled for a device.
  const keeper =
    owned &&
    (await ort.InferenceSession.create(smallestModel(), options).catch((error: unknown) => {
      owned.device.destroy()
      throw error
    }))
  return {
    name: `onnxruntime-web/${provider}`,
    provider,
    adapterClass: owned?.adapterClass ?? null,
    lost: owned === undefined ? new Promise(() => {}) : lossOf(owned.device),
    held: residents.count,
    load: async ({ model, weights = {} }: ModelSource) => {
      const externalData = Object.entries(weights).map(([path, data]) => ({ path, data }))
      const session = await ort.InferenceSession.create(model, { ...options, externalData })
      return laned(ort, session, residents, provider)
    },
    [Symbol.asyncDispose]: async () => {
      residents.release()
      try {
        await keeper?.release()
      } finally {
        owned?.device.destroy()
      }
    },
  }
}

/** Adds one to a number. */
function smallestModel(): Uint8Array {
  return encode(lower(trace(() => ({ sum: op.add(input('number', [1]), 1) }))))
}

function sessionOptions(owned: OwnedDevice | undefined): InferenceSession.SessionOptions {
  const common = { graphOptimizationLevel: 'all', logSeverityLevel: 3 } as const
  if (owned === undefined) return { ...common, executionProviders: ['wasm'] }
  return {
    ...common,
    // As an object: the string form would drop the device.
    executionProviders: [{ name: 'webgpu', device: owned.device }],
    preferredOutputLocation: 'gpu-buffer',
    extra: { session: { disable_cpu_ep_fallback: '1' } },
  }
}

async function lossOf(device: GPUDevice): Promise<GenerationError> {
  const { reason, message } = await device.lost
  // A device that we destroyed is not lost.
  if (reason === 'destroyed') return new Promise(() => {})
  return new GenerationError('device_lost', `WebGPU: the device was lost (${message || 'no reason given'}); run again`)
}

function laned(ort: OrtModule, session: InferenceSession, residents: Residents, provider: ExecutionProvider): Session {
  let lane: Promise<unknown> = Promise.resolve()
  const once = async (feeds: Readonly<Record<string, HostTensor>>) => {
    const inputs = Object.entries(feeds).map(
      ([name, feed]) => [name, residents.find(feed) ?? uploaded(ort, feed)] as const,
    )
    const outputs = await session.run(Object.fromEntries(inputs))
    const hosts = Object.entries(outputs).map(async ([name, each]) => [name, await hosted(each, residents)] as const)
    return Object.fromEntries(await Promise.all(hosts))
  }
  return {
    run: (feeds, into = {}) => {
      const result = lane.then(() => once(feeds))
      // The chain must outlive a failed run, or every later one would fail unexecuted.
      lane = result.catch(() => {})
      return result.then((made) =>
        Object.fromEntries(Object.entries(made).map(([name, each]) => [name, placed(each, into[name])])),
      )
    },
    [Symbol.asyncDispose]: async () => {
      await lane
      if (provider === 'webgpu') residents.release()
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

const uploaded = (ort: OrtModule, { dtype, data, shape }: HostTensor): Tensor => new ort.Tensor(dtype, data, shape)

/** Reads a tensor back; a device tensor stays on the device beside its copy. */
async function hosted(tensor: Tensor, residents: Residents): Promise<HostTensor> {
  const onDevice = tensor.location === 'gpu-buffer'
  const data = await tensor.getData()
  const { type, dims } = tensor
  if ((type === 'float32' && data instanceof Float32Array) || (type === 'int32' && data instanceof Int32Array)) {
    if (onDevice) residents.keep(data, tensor)
    return { dtype: type, data, shape: dims }
  }
  throw new TypeError(`output is ${type}, allowed are float32 and int32; cast it in the graph`)
}

interface Residents {
  readonly find: (feed: HostTensor) => Tensor | undefined
  readonly keep: (data: HostTensor['data'], tensor: Tensor) => void
  readonly release: () => void
  readonly count: () => number
}

/**
 * Device tensors by their host copies, the newest few. Callers treat what a run returned as read-only: a changed copy
 * would not be noticed.
 */
function residentTensors(limit = 12): Residents {
  const byCopy = new Map<HostTensor['data'], Tensor>()
  return {
    find: ({ data }) => byCopy.get(data),
    keep: (data, tensor) => {
      byCopy.set(data, tensor)
      const [oldest] = byCopy
      if (byCopy.size <= limit || oldest === undefined) return
      byCopy.delete(oldest[0])
      oldest[1].dispose()
    },
    release: () => {
      for (const tensor of byCopy.values()) tensor.dispose()
      byCopy.clear()
    },
    count: () => byCopy.size,
  }
}
