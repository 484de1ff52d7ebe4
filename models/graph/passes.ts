/**
 * Rewrites from graph to graph: equal values become one, chosen composites are written out.
 *
 * A gradient repeats transposes, constants and broadcasts freely; merging them here keeps the rules in autodiff/ short.
 * Nothing numeric is decided: every rewrite gives the same numbers bit for bit.
 */

import { expansion, isComposite } from './composites.ts'
import { type Composite, type Graph, graphOf, topologicalOrder, type Value } from './graph.ts'

export interface RewriteOptions {
  /** Composites to write out in primitives; none when left out. */
  readonly expand?: (composite: Composite) => boolean
}

/** Merges equal values and writes out the composites asked for. */
export function rewrite(graph: Graph, { expand = () => false }: RewriteOptions = {}): Graph {
  const written = (node: Value): Value => {
    let current = node
    while (isComposite(current) && expand(current.op)) current = expansion(current)
    return current
  }
  const rewritten = new Map<Value, Value>()
  const known = new Map<string, Value>()
  const numbers = new Map<object, number>()
  const numberOf = (thing: object): number => {
    const number = numbers.get(thing) ?? numbers.size
    numbers.set(thing, number)
    return number
  }
  const roots = [...graph.outputs.values()].map(written)
  for (const node of topologicalOrder(roots, (each) => each.inputs.map(written))) {
    const inputs = node.inputs.map((input) => rewritten.get(written(input)) as Value)
    const key = keyOf(node, inputs, numberOf)
    const same = known.get(key)
    // Rebuilding keeps op and attributes together, so the union member stays the same.
    const fresh =
      same ?? (inputs.every((each, index) => each === node.inputs[index]) ? node : ({ ...node, inputs } as Value))
    known.set(key, fresh)
    rewritten.set(node, fresh)
  }
  return graphOf(new Map([...graph.outputs].map(([name, node]) => [name, rewritten.get(written(node)) as Value])))
}

/** Two values of one key hold the same numbers. Long constants are told apart by identity only. */
function keyOf(node: Value, inputs: readonly Value[], numberOf: (thing: object) => number): string {
  if (node.op === 'constant') {
    const { data } = node.attributes
    return `constant ${node.dtype} ${node.shape} ${data.length <= 16 ? Array.from(data, numeral).join() : numberOf(data)}`
  }
  return `${node.op} ${node.dtype} ${inputs.map(numberOf)} ${JSON.stringify(node.attributes)}`
}

/** A number as text that tells −0 from 0, which join() does not. */
const numeral = (number: number): string => (Object.is(number, -0) ? '-0' : String(number))
