/**
 * Spatial convolution over channels-last frames, as one product over gathered neighbours.
 *
 * x [N, H, W, C] with zero borders; the nine neighbours are laid side by side and meet a weight [out, 9·C]. Written
 * this way both gradients are plain products too: a kernel cotangent as an ordinary convolution has a 3×3 output and
 * starves the machine.
 */

import { neighbours } from '../graph/composites.ts'
import { scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { linear } from './linear.ts'

/** 3×3 convolution, stride 1, same size: [N, H, W, C] → [N, H, W, out]. */
export function convolution3x3(name: string, x: Value, out: number, gain = 1): Value {
  return scope(name, () => linear('kernel', neighbours(x), out, { gain }))
}

/** Space to depth: [N, H, W, C] → [N, H/s, W/s, s·s·C]. */
export function foldSpace(x: Value, stride: number): Value {
  const [batch, height, width, channels] = fourOf(x)
  const [rows, columns] = [height / stride, width / stride]
  const split = op.reshape(x, [batch, rows, stride, columns, stride, channels])
  return op.reshape(op.transpose(split, [0, 1, 3, 2, 4, 5]), [batch, rows, columns, stride * stride * channels])
}

/** Depth to space, the inverse of foldSpace: [N, H, W, s·s·C] → [N, H·s, W·s, C]. */
export function unfoldSpace(x: Value, stride: number): Value {
  const [batch, height, width, folded] = fourOf(x)
  const channels = folded / (stride * stride)
  const split = op.transpose(op.reshape(x, [batch, height, width, stride, stride, channels]), [0, 1, 3, 2, 4, 5])
  return op.reshape(split, [batch, height * stride, width * stride, channels])
}

function fourOf(x: Value): readonly [number, number, number, number] {
  return [op.at(x.shape, 0), op.at(x.shape, 1), op.at(x.shape, 2), op.at(x.shape, 3)]
}
