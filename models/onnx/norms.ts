/**
 * Norms over the last axis as ORT's operators, and the inverse deviations that their gradients want: the operators have
 * them at hand, as a further output, so nothing is worked out twice.
 *
 * ONNX's RMSNormalization has no such output; ORT's SimplifiedLayerNormalization is the same kernel and has one.
 */

import type { Value, ValueOf } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { type Emitter, float, integer } from './emitter.ts'

export function layerNorm(node: ValueOf<'layerNorm'>, emitter: Emitter): string {
  return centredNorm(op.at(node.inputs, 0), node.attributes.epsilon, emitter)
}

export function rmsNorm(node: ValueOf<'rmsNorm'>, { emit, name, once }: Emitter): string {
  const [x, scale] = node.inputs.map(name) as [string, string]
  const { epsilon } = node.attributes
  const norm = emit('RMSNormalization', [x, scale], attributes(epsilon))
  once(rmsKey(x, epsilon), () => norm)
  return norm
}

export function inverseDeviation(node: ValueOf<'inverseDeviation'>, emitter: Emitter): string {
  const { epsilon, centred } = node.attributes
  const x = op.at(node.inputs, 0)
  if (centred) return emitter.further(centredNorm(x, epsilon, emitter), 2)
  const source = emitter.name(x)
  const norm = emitter.once(rmsKey(source, epsilon), () =>
    emitter.emit('RMSNormalization', [source, ones(x, emitter)], attributes(epsilon)),
  )
  return emitter.further(norm, 1, 'SimplifiedLayerNormalization')
}

function centredNorm(x: Value, epsilon: number, emitter: Emitter): string {
  const source = emitter.name(x)
  return emitter.once(`layer norm of ${source} with ${epsilon}`, () =>
    emitter.emit('LayerNormalization', [source, ones(x, emitter)], attributes(epsilon)),
  )
}

const rmsKey = (source: string, epsilon: number): string => `rms norm of ${source} with ${epsilon}`

const attributes = (epsilon: number) => ({ axis: integer(-1), epsilon: float(epsilon) })

function ones({ shape }: Value, { once, floats }: Emitter): string {
  const width = op.at(shape, shape.length - 1)
  return once(`${width} ones`, () => floats(new Float32Array(width).fill(1), [width]))
}
