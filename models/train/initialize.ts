/**
 * Fresh parameters: each is drawn from a stream of its own name, so adding one leaves the others as they were.
 */

import { gaussian } from '../../shared/random.ts'
import { type ParameterDescription, sizeOf } from '../graph/graph.ts'
import { fnv1a } from '../world/vocabulary.ts'

export function initialize(seed: number): (parameter: ParameterDescription) => Float32Array {
  return ({ name, shape, initializer }) => {
    const size = sizeOf(shape)
    switch (initializer.kind) {
      case 'zeros':
        return new Float32Array(size)
      case 'ones':
        return new Float32Array(size).fill(1)
      case 'normal':
        return gaussian(seed, fnv1a(name), 0, size).map((value) => value * initializer.scale)
      default:
        return initializer satisfies never
    }
  }
}
