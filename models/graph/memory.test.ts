import { describe, expect, it } from 'vitest'
import { attention, softmax } from './composites.ts'
import { input, parameter, trace } from './graph.ts'
import { memoryOf } from './memory.ts'
import * as op from './ops.ts'

describe('the memory of a graph', () => {
  it('holds a value until its last reader is done', () => {
    // x 400; exp 400 beside it; then x is gone and sin takes its room; the sum needs both.
    const chain = trace(() => {
      const x = input('x', [100])
      return { out: op.sin(op.exp(x)) }
    })
    expect(memoryOf(chain).activations).toBe(800)
    const kept = trace(() => {
      const x = input('x', [100])
      return { out: op.add(op.sin(op.exp(x)), x) }
    })
    expect(memoryOf(kept).activations).toBe(1200)
  })

  it('counts neither weights, nor what is made of weights alone, nor views', () => {
    const graph = trace(() => {
      const weight = op.swapLast(parameter('w', [50, 10], { kind: 'ones' }))
      return { out: op.reshape(op.matmul(input('x', [3, 10]), weight), [150]) }
    })
    expect(memoryOf(graph)).toMatchObject({ activations: 4 * (30 + 150), largest: 600 })
  })

  it('tells what logits would take where attention is not fused', () => {
    const [query, memory] = [input('q', [2, 7, 8]), input('k', [2, 5, 8])]
    const graph = trace(() => ({ out: attention(query, memory, memory, 4) }))
    expect(memoryOf(graph).logits).toBe(2 * 4 * 7 * 5 * 4)
    expect(memoryOf(trace(() => ({ out: softmax(input('x', [3])) }))).logits).toBe(0)
  })
})
