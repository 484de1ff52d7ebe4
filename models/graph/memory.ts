/**
 * What a graph holds in memory while it runs: its largest set of live intermediates, weights apart.
 *
 * A value lives from the node that makes it to the last that reads it; views (reshapes) share their source's memory, and
 * what depends on no input is folded when a session is made. Composites are whole, as runtimes fuse them; what an
 * attention that is not fused would add for its logits is told apart. Runtimes differ by their allocators, not by this.
 */

import { type Graph, sizeOf, topologicalOrder, type Value } from './graph.ts'
import { at } from './ops.ts'

export interface MemoryNeed {
  /** Bytes of live values at the worst moment, inputs and outputs included. */
  readonly activations: number
  /** Bytes of the largest single value: what a GPU must bind as one buffer. */
  readonly largest: number
  /** Bytes of logits that the largest attention makes where it is not fused. */
  readonly logits: number
}

const elementBytes = { float32: 4, float16: 2, int32: 4, bool: 1 } as const

const bytesOf = ({ shape, dtype }: Value): number => sizeOf(shape) * elementBytes[dtype]

/** The memory of one run of the graph. */
export function memoryOf({ outputs }: Pick<Graph, 'outputs'>): MemoryNeed {
  const order = topologicalOrder([...outputs.values()])
  const moving = dependents(order)
  const live = order.filter((node) => moving.has(node))
  const last = lastUses(live, moving, [...outputs.values()])
  let [held, activations] = [0, 0]
  for (const [step, node] of live.entries()) {
    if (!isView(node)) held += bytesOf(node)
    activations = Math.max(activations, held)
    for (const freed of last.get(step) ?? []) held -= bytesOf(freed)
  }
  return {
    activations,
    largest: live.reduce((most, node) => Math.max(most, bytesOf(node)), 0),
    logits: live.reduce((most, node) => Math.max(most, logitsOf(node)), 0),
  }
}

/** Values that change with the inputs. */
function dependents(order: readonly Value[]): ReadonlySet<Value> {
  const moving = new Set<Value>()
  for (const node of order) if (node.op === 'input' || node.inputs.some((each) => moving.has(each))) moving.add(node)
  return moving
}

const isView = (node: Value): boolean => node.op === 'reshape' || node.op === 'stopGradient'

/** The value whose memory a view shows. */
const owner = (node: Value): Value => (isView(node) ? owner(at(node.inputs, 0)) : node)

/** For each step, the values that nobody reads after it. Outputs stay. */
function lastUses(
  live: readonly Value[],
  moving: ReadonlySet<Value>,
  outputs: readonly Value[],
): ReadonlyMap<number, readonly Value[]> {
  const final = new Map<Value, number>()
  for (const [step, node] of live.entries()) {
    final.set(owner(node), step)
    for (const each of node.inputs) if (moving.has(each)) final.set(owner(each), step)
  }
  for (const output of outputs) final.delete(owner(output))
  return Map.groupBy(final.keys(), (node) => final.get(node) as number)
}

function logitsOf(node: Value): number {
  if (node.op !== 'attention') return 0
  const [query, key] = [at(node.inputs, 0), at(node.inputs, 1)]
  return at(query.shape, 0) * node.attributes.heads * at(query.shape, 1) * at(key.shape, 1) * 4
}
