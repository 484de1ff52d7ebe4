import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { attention, gelu, layerNorm, rmsNorm, rope, softmax, squaredRelu } from '../graph/composites.ts'
import { evaluate } from '../graph/evaluate.ts'
import {
  type Composite,
  type Graph,
  input,
  type Primitive,
  parameter,
  sizeOf,
  trace,
  type Value,
} from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { nodeBackend } from '../node/backend.ts'
import { wasmBackend } from '../node/backend-wasm.ts'
import type { Backend, HostTensor } from '../pipeline/backend.ts'
import { toFloat16 } from '../weights/float16.ts'
import { encode, type OnnxModel } from './encode.ts'
import { lower } from './lower.ts'

const backends: readonly Backend[] = [nodeBackend({ threads: 1 }), wasmBackend()]

type Builder = () => Value | readonly Value[]

const x = (...shape: number[]) => input(`x${shape.join('_')}`, shape)
const y = (...shape: number[]) => input(`y${shape.join('_')}`, shape)
const positive = (value: Value) => op.add(op.abs(value), 0.5)
const table = (rows: number, pairs: number) =>
  op.constant(
    Float32Array.from({ length: rows * pairs }, (_, n) => Math.cos(n)),
    [rows, pairs],
  )
const strided = { stride: [2, 1], padding: [1, 0, 0, 1] } as const
const unary =
  (build: (x: Value) => Value): Builder =>
  () => [build(x(2, 3)), build(x(1, 4, 2, 5))]
const binary =
  (build: (a: Value, b: Value) => Value): Builder =>
  () => [build(x(2, 3, 4), y(3, 1)), build(x(3, 1), y(2, 3, 4)), build(x(5), op.constant(0.7))]

/** Graphs for every op; total, so a new one without a case does not compile. */
const cases = {
  input: () => op.add(x(2, 3), 0),
  parameter: () => op.multiply(parameter('weight', [2, 3], { kind: 'ones' }), x(2, 3)),
  constant: () =>
    op.add(
      op.multiply(x(4), op.constant([1, 2, 3, 4])),
      op.constant(
        Float32Array.from({ length: 20 }, (_, n) => n),
        [5, 4],
      ),
    ),
  negate: unary(op.negate),
  exp: unary(op.exp),
  log: unary((v) => op.log(positive(v))),
  sqrt: unary((v) => op.sqrt(positive(v))),
  reciprocal: unary((v) => op.reciprocal(positive(v))),
  sin: unary(op.sin),
  cos: unary(op.cos),
  tanh: unary(op.tanh),
  erf: unary(op.erf),
  sigmoid: unary(op.sigmoid),
  abs: unary(op.abs),
  relu: unary(op.relu),
  add: () => {
    const product = op.matmul(x(3, 4), y(4, 2))
    return [
      op.add(x(2, 3, 4), y(3, 1)),
      op.add(product, input('bias', [2])),
      op.add(op.multiply(product, product), input('bias2', [1, 2])),
    ]
  },
  subtract: binary(op.subtract),
  multiply: binary(op.multiply),
  divide: binary((a, b) => op.divide(a, positive(b))),
  maximum: binary(op.maximum),
  minimum: binary(op.minimum),
  less: binary((a, b) => op.select(op.less(a, b), 1, 0)),
  equal: () => op.select(op.equal(x(2, 3), op.multiply(x(2, 3), 1)), x(2, 3), 0),
  select: binary((a, b) => op.select(op.less(a, 0), a, b)),
  sum: () => [op.sum(x(2, 3, 4)), op.sum(x(2, 3, 4), [1]), op.sum(op.square(x(2, 3, 4)), [0, 2])],
  max: () => [op.max(x(2, 3, 4)), op.max(x(2, 3, 4), [1])],
  reshape: () => op.reshape(op.exp(x(2, 6)), [3, 4]),
  transpose: () => [op.transpose(x(2, 3, 4), [2, 0, 1]), op.transpose(x(2, 3), [1, 0])],
  broadcast: () => op.broadcast(x(3, 1), [2, 3, 4]),
  slice: () => [op.slice(x(4, 5), 1, 1, -1), op.slice(op.slice(x(4, 5), 0, 2), 1, -3)],
  pad: () => op.pad(x(2, 3), [1, 0], [0, 2]),
  concatenate: () => op.concatenate([x(2, 3), y(2, 1), x(2, 3)], 1),
  gather: () => [
    op.gather(x(4, 3), op.constant(Int32Array.of(2, 0, 2, 3), [2, 2])),
    op.gather(x(4, 3), op.constant(Int32Array.of(1, 1), [2]), 1),
  ],
  scatterAdd: () => [
    op.scatterAdd(x(2, 2, 3), op.constant(Int32Array.of(2, 0, 2, 3), [2, 2]), 0, 5),
    op.scatterAdd(x(4, 3), op.constant(Int32Array.of(1, 1, 0), [3]), 1, 4),
  ],
  matmul: () => [
    op.matmul(x(3, 4), y(4, 2)),
    op.matmul(x(3, 4), op.swapLast(y(5, 4))),
    op.matmul(op.swapLast(x(4, 3)), y(4, 2)),
    op.matmul(x(2, 1, 3, 4), y(5, 4, 2)),
  ],
  convolution: () => op.convolution(x(2, 3, 5, 4), y(2, 3, 3, 2), strided.stride, strided.padding),
  convolutionInput: () =>
    op.primitive('convolutionInput', [x(1, 2, 2, 4), y(2, 3, 3, 2)], { ...strided, size: [5, 4] }),
  convolutionKernel: () =>
    op.primitive('convolutionKernel', [x(1, 3, 5, 4), y(1, 2, 2, 4)], { ...strided, size: [3, 2] }),
  cast: () => op.cast(op.cast(x(2, 3), 'int32'), 'float32'),
  stopGradient: () => op.multiply(op.stopGradient(op.exp(x(2, 3))), 2),
  softmax: unary(softmax),
  layerNorm: unary((v) => layerNorm(v, 1e-3)),
  rmsNorm: () => rmsNorm(x(2, 5), y(5), 1e-3),
  squaredRelu: unary(squaredRelu),
  gelu: unary((v) => op.add(gelu(v, 'tanh'), gelu(v, 'none'))),
  rope: () => rope(x(2, 3, 16), table(3, 4), op.sin(table(3, 4)), 2),
  attention: () => [
    attention(x(2, 3, 8), y(2, 5, 8), op.exp(y(2, 5, 8)), 2),
    attention(x(2, 3, 8), y(2, 5, 8), op.exp(y(2, 5, 8)), 2, input('bias', [2, 1, 1, 5])),
  ],
} satisfies Readonly<Record<Primitive | Composite, Builder>>

function graphOfCase(build: Builder): Graph {
  return trace(() => {
    const built = build()
    const list: readonly Value[] = 'op' in built ? [built] : built
    // A name is one input, however often the case asks for it.
    return Object.fromEntries(merged(list).map((value, index) => [`out${index}`, value]))
  })
}

function merged(values: readonly Value[]): Value[] {
  const known = new Map<string, Value>()
  const done = new Map<Value, Value>()
  const walk = (node: Value): Value => {
    const ready = done.get(node)
    if (ready !== undefined) return ready
    const fresh =
      node.op === 'input'
        ? (known.get(node.attributes.name) ?? node)
        : ({ ...node, inputs: node.inputs.map(walk) } as Value)
    if (node.op === 'input') known.set(node.attributes.name, fresh)
    done.set(node, fresh)
    return fresh
  }
  return values.map(walk)
}

function feedsOf(graph: Graph): Record<string, HostTensor> {
  const leaves = [...graph.inputs, ...graph.parameters]
  return Object.fromEntries(
    leaves.map((node, index) => [
      node.attributes.name,
      { dtype: 'float32', shape: node.shape, data: gaussian(4, index, 0, sizeOf(node.shape)) },
    ]),
  )
}

/** The largest difference from the evaluator, relative to the largest number of the output. */
async function worstError(backend: Backend, graph: Graph, model: OnnxModel): Promise<number> {
  const feeds = feedsOf(graph)
  const numbers = Object.fromEntries(Object.entries(feeds).map(([name, { data }]) => [name, data]))
  const expected = evaluate(graph, { inputs: numbers, parameters: numbers })
  await using session = await backend.load({ model: encode(model) })
  const outputs = await session.run(
    Object.fromEntries(model.inputs.map(({ name }) => [name, feeds[name] as HostTensor])),
  )
  const errors = Object.entries(expected).map(([name, { data, shape }]) => {
    expect(outputs[name]?.shape).toEqual(shape)
    const scale = Math.max(1e-3, ...data.map(Math.abs))
    return Math.max(...data.map((value, index) => Math.abs(value - (outputs[name]?.data[index] ?? Number.NaN)))) / scale
  })
  return Math.max(...errors)
}

for (const backend of backends) {
  describe(`lowering on ${backend.name}`, () => {
    for (const [name, build] of Object.entries(cases) as [Primitive | Composite, Builder][]) {
      it(`of ${name} agrees with the evaluator, fused and written out`, async () => {
        const graph = graphOfCase(build)
        expect(await worstError(backend, graph, lower(graph))).toBeLessThan(1e-5)
        expect(await worstError(backend, graph, lower(graph, { fuse: () => false }))).toBeLessThan(1e-5)
      })
    }

    it('reads float32 and float16 parameters from an unmodified weights file', async () => {
      const graph = graphOfCase(cases.parameter)
      const values = [1, -2, 0.5, 4, 0.25, -8]
      const file = new Uint8Array(64 + 24 + 12)
      file.set(new Uint8Array(Float32Array.from(values).buffer), 64)
      file.set(new Uint8Array(toFloat16(values).buffer), 88)
      for (const [dtype, offset, length] of [
        ['float32', 64, 24],
        ['float16', 88, 12],
      ] as const) {
        const model = lower(graph, {
          stored: () => ({ dtype, data: { kind: 'external', location: 'w.safetensors', offset, length } }),
        })
        await using session = await backend.load({ model: encode(model), weights: { 'w.safetensors': file } })
        const outputs = await session.run({
          x2_3: { dtype: 'float32', shape: [2, 3], data: Float32Array.of(1, 1, 1, 2, 2, 2) },
        })
        expect(Array.from(outputs.out0?.data ?? [])).toEqual([1, -2, 0.5, 8, 0.5, -16])
      }
    })

    it('is caught when it is broken', async () => {
      const graph = graphOfCase(cases.subtract)
      const model = lower(graph)
      const broken = {
        ...model,
        nodes: model.nodes.map((node) => (node.type === 'Sub' ? { ...node, type: 'Add' } : node)),
      }
      expect(await worstError(backend, graph, broken)).toBeGreaterThan(1e-2)
    })
  })
}

describe('lower', () => {
  it('writes one Gemm for a linear layer, its transpose and bias taken in', () => {
    const graph = trace(() => ({
      out: op.add(
        op.matmul(x(3, 4), op.swapLast(parameter('w', [2, 4], { kind: 'ones' }))),
        parameter('b', [2], { kind: 'zeros' }),
      ),
    }))
    expect(lower(graph).nodes.map(({ type }) => type)).toEqual(['Gemm', 'Identity'])
  })

  it('names the scope of a shape error', () => {
    expect(() => trace(() => ({ out: op.matmul(x(3, 4), y(5, 2)) }))).toThrow(
      'graph: matmul [3,4] · [5,2]: inner sizes 4 and 5 differ',
    )
  })

  it('gives the same bytes for the same graph', () => {
    const bytes = () => encode(lower(graphOfCase(cases.attention)))
    expect(bytes()).toEqual(bytes())
  })
})
