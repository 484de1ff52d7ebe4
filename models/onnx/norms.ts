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

/** A layer norm times a vector [D] plus a vector [D], if the sum is one and nobody else needs its parts. */
export function affineLayerNorm(node: ValueOf<'add'>, { emit, name, uses }: Emitter): string | undefined {
  const [scaled, shift] = node.inputs as readonly [Value, Value]
  if (scaled.op !== 'multiply' || uses(scaled) !== 1) return undefined
  const [normal, scale] = scaled.inputs as readonly [Value, Value]
  if (normal.op !== 'layerNorm' || uses(normal) !== 1) return undefined
  const width = op.at(normal.shape, normal.shape.length - 1)
  if ([scale, shift].some(({ shape }) => shape.length !== 1 || shape[0] !== width)) return undefined
  const inputs = [op.at(normal.inputs, 0), scale, shift].map(name)
  return emit('LayerNormalization', inputs, attributes(normal.attributes.epsilon))
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
