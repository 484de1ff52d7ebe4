/**
 * What a runtime must offer: load a model, run it, let go of it. Interfaces only; implementations are passed in
 * (node/backend.ts for onnxruntime-node, node/backend-wasm.ts for onnxruntime-web's wasm under Node).
 */

import type { DType, Shape } from '../graph/graph.ts'

/** A tensor on the host. float32 in Float32Array, int32 in Int32Array. */
export interface HostTensor {
  readonly dtype: Extract<DType, 'float32' | 'int32'>
  readonly shape: Shape
  readonly data: Float32Array | Int32Array
}

export interface ModelSource {
  /** ModelProto bytes. */
  readonly model: Uint8Array
  /** The files that initializers point into, by location. */
  readonly weights?: Readonly<Record<string, Uint8Array>>
}

/** A loaded graph. Runs on one session are queued: one lane. */
export interface Session extends AsyncDisposable {
  /**
   * Runs the graph once. An output named in `into` is written there and returned; the others are fresh.
   * @throws Error of the runtime when a feed is missing or misshapen.
   */
  run(
    feeds: Readonly<Record<string, HostTensor>>,
    into?: Readonly<Record<string, HostTensor>>,
  ): Promise<Readonly<Record<string, HostTensor>>>
}

export interface Backend {
  /** For receipts: 'onnxruntime-node/cpu', 'onnxruntime-web/wasm', … */
  readonly name: string
  load(source: ModelSource): Promise<Session>
}
