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

describe('tidying', () => {
  it('makes one concatenation of the cotangents of a split, in whatever order they come back', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 5 }), fc.boolean(), (order, more) => {
        const graph = trace(() => {
          const x = input('x', [2, 10])
          const parts = op.split(x, 5, -1)
          const back = order.map((part) => op.pad(op.at(parts, part), [0, 2 * part], [0, 8 - 2 * part]))
          const terms = more ? [op.exp(x), ...back] : back
          return { out: terms.reduce((total, each) => op.add(total, each)) }
        })
        const written = rewrite(graph)
        expect(opsOf(written).filter((name) => name === 'pad')).toEqual([])
        expect(opsOf(written).filter((name) => name === 'concatenate')).toHaveLength(1)
        expect(evaluate(written, feedsOf(graph))).toEqual(evaluate(graph, feedsOf(graph)))
      }),
      { seed: 2 },
    )
  })

  it('leaves paddings alone that overlap, leave a gap or differ along two axes', () => {
    const overlapping = [
      [op.pad(input('a', [2, 4]), [0, 0], [0, 4]), op.pad(input('b', [2, 5]), [0, 3], [0, 0])],
      [op.pad(input('a', [2, 3]), [0, 0], [0, 5]), op.pad(input('b', [2, 4]), [0, 4], [0, 0])],
      [op.pad(input('a', [1, 4]), [0, 0], [1, 4]), op.pad(input('b', [1, 4]), [1, 4], [0, 0])],
    ] as const
    for (const [a, b] of overlapping) {
      const graph = trace(() => ({ out: op.add(a, b) }))
      expect(opsOf(rewrite(graph)).filter((name) => name === 'pad')).toHaveLength(2)
    }
  })

  it('sinks reshapes below what acts on elements and rows, with the same numbers', () => {
    const graph = trace(() => {
      const x = input('x', [6, 4])
      const wide = op.reshape(x, [2, 3, 4])
      const normed = layerNorm(op.add(op.exp(wide), op.multiply(wide, 2)))
      return { out: op.matmul(op.reshape(gelu(normed), [6, 4]), op.swapLast(op.reshape(softmax(wide), [6, 4]))) }
    })
    const written = rewrite(graph)
    expect(opsOf(written)).not.toContain('reshape')
    expect(evaluate(written, feedsOf(graph))).toEqual(evaluate(graph, feedsOf(graph)))
  })

  it('keeps a reshape above rows that it cuts', () => {
    const graph = trace(() => ({ out: softmax(op.reshape(input('x', [6, 4]), [4, 6])) }))
    const written = rewrite(graph)
    expect(evaluate(written, feedsOf(graph))).toEqual(evaluate(graph, feedsOf(graph)))
  })
})
