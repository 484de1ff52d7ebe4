/**
 * What a graph costs: floating-point operations of its products, two to a multiply-add.
 *
 * Counted on values, with composites written out, so that fused and plain lowerings count alike. Everything that is
 * not a product counts as nothing, as is usual.
 */

import { expansion, isComposite } from './composites.ts'
import { type Graph, sizeOf, topologicalOrder, type Value } from './graph.ts'
import { at } from './ops.ts'

/** Operations of one run of the graph. */
export function flopsOf({ outputs }: Pick<Graph, 'outputs'>): number {
  const written = (node: Value): Value => (isComposite(node) ? written(expansion(node)) : node)
  const order = topologicalOrder([...outputs.values()].map(written), (node) => node.inputs.map(written))
  return order.reduce((total, node) => total + productFlops(node), 0)
}

function productFlops(node: Value): number {
  switch (node.op) {
    case 'matmul':
      return 2 * sizeOf(node.shape) * at(at(node.inputs, 0).shape, at(node.inputs, 0).shape.length - 1)
    case 'convolution':
      return 2 * sizeOf(node.shape) * sizeOf(at(node.inputs, 1).shape.slice(1))
    case 'convolutionInput':
      return 2 * sizeOf(at(node.inputs, 0).shape) * sizeOf(at(node.inputs, 1).shape.slice(1))
    case 'convolutionKernel':
      return 2 * sizeOf(at(node.inputs, 1).shape) * sizeOf(node.shape.slice(1))
    default:
      return 0
  }
}
