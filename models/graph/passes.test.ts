import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { gradient } from '../autodiff/gradient.ts'
import { attention, gelu, isComposite, layerNorm, softmax } from './composites.ts'
import { evaluate } from './evaluate.ts'
import { type Graph, input, parameter, sizeOf, topologicalOrder, trace, type Value } from './graph.ts'
import * as op from './ops.ts'
import { rewrite } from './passes.ts'

const nodesOf = (graph: Graph): Value[] => topologicalOrder([...graph.outputs.values()])
const opsOf = (graph: Graph): string[] => nodesOf(graph).map((node) => node.op)

function feedsOf(graph: Graph) {
  const drawn = [...graph.inputs, ...graph.parameters].map(
    (node, index) => [node.attributes.name, gaussian(6, index, 0, sizeOf(node.shape))] as const,
  )
  return { inputs: Object.fromEntries(drawn), parameters: Object.fromEntries(drawn) }
}

/** A network with its gradient, which repeats much of itself. */
const trained = (): Graph =>
  trace(() => {
    const x = input('x', [2, 3, 4])
    const matrix = parameter('matrix', [4, 4], { kind: 'ones' })
    const hidden = op.matmul(gelu(layerNorm(x)), op.swapLast(matrix))
    const out = attention(hidden, op.matmul(x, op.swapLast(matrix)), hidden, 2)
    const loss = op.reshape(op.sum(op.square(softmax(out))), [])
    const [slope] = gradient(loss, [matrix])
    return { loss, slope: slope as Value }
  })

describe('rewrite', () => {
  it('gives the same numbers bit for bit, whatever is written out', () => {
    const graph = trained()
    const expected = evaluate(graph, feedsOf(graph))
    fc.assert(
      fc.property(fc.subarray(['gelu', 'layerNorm', 'attention', 'softmax']), (chosen) => {
        const written = rewrite(graph, { expand: (composite) => chosen.includes(composite) })
        expect(evaluate(written, feedsOf(graph))).toEqual(expected)
        expect(opsOf(written).some((name) => chosen.includes(name))).toBe(false)
      }),
    )
  })

  it('merges equal values', () => {
    const graph = trace(() => {
      const x = input('x', [2, 3])
      return { out: op.add(op.matmul(x, op.swapLast(x)), op.exp(op.matmul(x, op.swapLast(x)))) }
    })
    expect(opsOf(graph).filter((name) => name === 'matmul')).toHaveLength(2)
    expect(opsOf(rewrite(graph)).sort()).toEqual(['add', 'exp', 'input', 'matmul', 'transpose'])
  })

  it('merges what only its expansion shows to be equal', () => {
    const graph = trace(() => {
      const x = input('x', [2, 3])
      return { out: op.add(softmax(x), op.exp(op.subtract(x, op.max(x, [-1])))) }
    })
    const written = rewrite(graph, { expand: () => true })
    expect(opsOf(written).filter((name) => name === 'exp')).toHaveLength(1)
    expect(nodesOf(written).some(isComposite)).toBe(false)
  })

  it('keeps apart what differs in dtype, shape, attributes or inputs', () => {
    const apart = trace(() => {
      const [x, y] = [input('x', [2, 2]), input('y', [2, 2])]
      return Object.fromEntries(
        [
          op.subtract(x, y),
          op.subtract(y, x),
          op.sum(x, [0]),
          op.sum(x, [1]),
          op.cast(x, 'float16'),
          op.cast(x, 'int32'),
          layerNorm(x, 1e-3),
          layerNorm(x, 1e-6),
          op.reshape(x, [4]),
          op.reshape(x, [4, 1]),
          op.constant([1, 1]),
          op.constant([1, 1], [2, 1]),
          op.constant([0]),
          op.constant([-0]),
          op.constant(Int32Array.of(1, 1)),
        ].map((value, index) => [`out${index}`, value]),
      )
    })
    expect(new Set(rewrite(apart).outputs.values()).size).toBe(15)
  })

  it('changes nothing the second time', () => {
    const once = rewrite(trained())
    const twice = rewrite(once)
    expect(nodesOf(twice)).toHaveLength(nodesOf(once).length)
    for (const [name, node] of twice.outputs) expect(node).toBe(once.outputs.get(name))
  })

  it('keeps leaves, names and shapes', () => {
    const graph = trained()
    const after = rewrite(graph, { expand: () => true })
    const portsOf = ({ inputs, parameters, outputs }: Graph) => [
      inputs.map(({ attributes, shape }) => [attributes.name, shape]),
      parameters.map(({ attributes, shape }) => [attributes.name, shape]),
      [...outputs].map(([name, { shape }]) => [name, shape]),
    ]
    expect(portsOf(after)).toEqual(portsOf(graph))
  })
})
