import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { gradient } from '../autodiff/gradient.ts'
import {
  attention,
  gelu,
  inverseDeviation,
  layerNorm,
  neighbours,
  rmsNorm,
  rope,
  softmax,
  squaredRelu,
} from '../graph/composites.ts'
import { evaluate } from '../graph/evaluate.ts'
import {
  type Composite,
  type Graph,
  graphOf,
  input,
  type Op,
  type Primitive,
  parameter,
  sizeOf,
  topologicalOrder,
  trace,
  type Value,
} from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { nodeBackend } from '../node/backend.ts'
import { wasmBackend } from '../node/backend-wasm.ts'
import type { Backend, HostTensor } from '../pipeline/backend.ts'
import { toFloat16 } from '../weights/float16.ts'
import { encode, type OnnxAttribute, type OnnxModel, type OnnxNode } from './encode.ts'
import { fuseForTraining, lower } from './lower.ts'

const backends: readonly Backend[] = [nodeBackend({ threads: 1 }), wasmBackend()]

/** Relative to the largest number of an output. */
const bound = 1e-5

type Builder = () => Value | readonly Value[]

const x = (...shape: number[]) => input(`x${shape.join('_')}`, shape)
const y = (...shape: number[]) => input(`y${shape.join('_')}`, shape)
const positive = (value: Value) => op.add(op.abs(value), 0.5)
const table = (rows: number, pairs: number) =>
  op.constant(
    Float32Array.from({ length: rows * pairs }, (_, n) => Math.cos(n)),
    [rows, pairs],
  )
const ids = (...shape: number[]) => input(`ids${shape.join('_')}`, shape, 'int32')
const unary =
  (build: (x: Value) => Value): Builder =>
  () => [build(x(2, 3)), build(x(1, 4, 2, 5)), build(x(3, 67))]
const elementwise =
  (build: (x: Value) => Value): Builder =>
  () => [build(x()), build(x(2, 3)), build(x(1, 4, 2, 5)), build(x(3, 67))]
/** Ranks that differ, sizes of one on either side, scalars. */
const binary =
  (build: (a: Value, b: Value) => Value): Builder =>
  () => [
    build(x(2, 3, 4), y(3, 1)),
    build(x(3, 1), y(2, 1, 4)),
    build(x(5), op.constant(0.7)),
    build(op.constant(0.7), x(5)),
    build(x(), y(2, 2)),
  ]

/** A rest that the stride leaves, uneven padding, kernels that are not square, channels that fill vectors. */
const geometries = [
  { image: [5, 4], channels: 2, kernel: [1, 1], stride: [1, 1], padding: [0, 0, 0, 0] },
  { image: [5, 4], channels: 3, kernel: [3, 2], stride: [2, 1], padding: [1, 0, 0, 1] },
  { image: [6, 7], channels: 2, kernel: [2, 3], stride: [2, 3], padding: [0, 2, 1, 0] },
  { image: [9, 11], channels: 16, kernel: [3, 3], stride: [2, 2], padding: [1, 1, 1, 1] },
] as const
type Geometry = (typeof geometries)[number]
const convolved =
  (build: (x: Value, kernel: Value, output: Value, geometry: Geometry) => Value): Builder =>
  () =>
    geometries.map((geometry) => {
      const { image, channels, kernel, stride, padding } = geometry
      const [picture, taps] = [x(2, channels, ...image), y(channels, channels, ...kernel)]
      return build(picture, taps, op.convolution(picture, taps, stride, padding), geometry)
    })

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
  negate: elementwise(op.negate),
  exp: elementwise(op.exp),
  log: elementwise((v) => op.log(positive(v))),
  sqrt: elementwise((v) => op.sqrt(positive(v))),
  reciprocal: elementwise((v) => op.reciprocal(positive(v))),
  sin: elementwise(op.sin),
  cos: elementwise(op.cos),
  tanh: elementwise(op.tanh),
  erf: elementwise(op.erf),
  sigmoid: elementwise(op.sigmoid),
  abs: elementwise(op.abs),
  relu: elementwise(op.relu),
  add: () => {
    const product = op.matmul(x(3, 4), y(4, 2))
    return [
      op.add(x(2, 3, 4), y(3, 1)),
      op.add(x(3, 1), y(2, 1, 4)),
      op.add(input('row', [1, 2]), product),
      op.add(product, product),
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
  select: () => [
    op.select(op.less(x(2, 1, 3), 0), y(4, 1), y(3)),
    op.select(op.less(x(), 0), y(2, 2), 1),
    op.select(op.less(x(2, 2), 0), 1, y(2, 2)),
  ],
  sum: () => [
    op.sum(x(2, 3, 4)),
    op.sum(x(2, 3, 4), [1]),
    op.sum(op.square(x(2, 3, 4)), [0, 2]),
    op.mean(x(2, 3, 4), [0, 2]),
    op.mean(op.square(x(2, 3, 4)), [1]),
    op.multiply(op.sum(x(2, 3, 4), [1]), 0.25),
  ],
  max: () => [op.max(x(2, 3, 4)), op.max(x(2, 3, 4), [1]), op.max(x(2, 3, 4), [0, -1])],
  reshape: () => [op.reshape(op.exp(x(2, 6)), [3, 1, 4]), op.reshape(op.exp(x(1, 1)), [])],
  transpose: () => [
    op.transpose(x(2, 3, 4), [2, 0, 1]),
    op.transpose(x(2, 3), [1, 0]),
    op.transpose(x(2, 3, 4, 5), [0, 2, 1, 3]),
  ],
  broadcast: () => [op.broadcast(x(3, 1), [2, 3, 4]), op.broadcast(x(), [2, 3]), op.broadcast(x(1), [1, 1])],
  slice: () => [op.slice(x(4, 5), 1, 1, -1), op.slice(op.slice(x(4, 5), 0, 2), 1, -3)],
  pad: () => [op.pad(x(2, 3), [1, 0], [0, 2]), op.pad(x(1, 2, 1), [0, 0, 3], [2, 1, 0])],
  concatenate: () => [op.concatenate([x(2, 3), y(2, 1), x(2, 3)], 1), op.concatenate([x(1, 2), y(3, 2)], 0)],
  gather: () => [
    op.gather(x(4, 3), op.constant(Int32Array.of(2, 0, 2, 3), [2, 2])),
    op.gather(x(4, 3), op.constant(Int32Array.of(1, 1), [2]), -1),
    op.gather(x(4, 3), op.constant(Int32Array.of(3), [])),
    op.gather(x(4, 3), ids(2, 5)),
  ],
  scatterAdd: () => [
    op.scatterAdd(x(2, 2, 3), op.constant(Int32Array.of(2, 0, 2, 3), [2, 2]), 0, 5),
    op.scatterAdd(x(4, 3), op.constant(Int32Array.of(1, 1, 0), [3]), 1, 4),
    op.scatterAdd(x(2, 2, 2, 3), op.constant(Int32Array.of(1, 1, 0, 4), [2, 2]), 1, 5),
    op.scatterAdd(x(2, 5, 3), ids(2, 5), 0, 4),
  ],
  matmul: () => [
    op.matmul(x(3, 4), y(4, 2)),
    op.matmul(x(3, 4), op.swapLast(y(5, 4))),
    op.matmul(op.swapLast(x(4, 3)), y(4, 2)),
    op.matmul(op.swapLast(x(4, 3)), op.swapLast(y(5, 4))),
    op.matmul(x(2, 1, 3, 4), y(5, 4, 2)),
    op.matmul(x(2, 3, 4), op.swapLast(y(2, 5, 4))),
    op.matmul(x(3, 4), y(2, 4, 2)),
    op.matmul(x(33, 65), y(65, 17)),
  ],
  convolution: convolved((_x, _kernel, output) => output),
  convolutionInput: convolved((_, kernel, output, { image, stride, padding }) =>
    op.primitive('convolutionInput', [op.sin(output), kernel], { stride, padding, size: image }),
  ),
  convolutionKernel: convolved((picture, _, output, { kernel, stride, padding }) =>
    op.primitive('convolutionKernel', [picture, op.sin(output)], { stride, padding, size: kernel }),
  ),
  cast: () => {
    const whole = op.cast(op.multiply(x(2, 3), 4), 'int32')
    return [
      op.cast(whole, 'float32'),
      op.cast(op.add(whole, op.constant(Int32Array.of(1, 2, 3))), 'float32'),
      op.select(op.constant([1, 0, 1], [3], 'bool'), x(2, 3), 0),
      // Small whole numbers are exact in float16, which the evaluator does not round.
      op.cast(op.cast(op.cast(whole, 'float32'), 'float16'), 'float32'),
      op.cast(op.cast(op.relu(x(2, 3)), 'bool'), 'float32'),
      op.cast(op.less(x(2, 3), 0), 'float32'),
    ]
  },
  stopGradient: () => op.multiply(op.stopGradient(op.exp(x(2, 3))), 2),
  softmax: unary(softmax),
  layerNorm: () => {
    const normal = layerNorm(x(2, 3, 67), 1e-3)
    return [
      layerNorm(x(2, 3), 1e-3),
      layerNorm(x(1, 4, 2, 5), 1e-3),
      // With a scale and a shift: of its rows, of others, and needed by themselves too.
      op.add(op.multiply(layerNorm(x(3, 67), 1e-3), y(67)), op.exp(y(67))),
      op.add(op.multiply(layerNorm(x(3, 5), 1e-3), y(3, 5)), y(5)),
      op.add(op.multiply(normal, y(67)), op.exp(y(67))),
      op.sin(normal),
    ]
  },
  rmsNorm: () => [rmsNorm(x(2, 5), y(5), 1e-3), rmsNorm(x(2, 3, 67), y(67))],
  inverseDeviation: () => {
    // Alone, and beside the norm of the same rows, before it and after it.
    const [rows, moved] = [x(2, 5), op.sin(x(2, 3, 67))]
    return [
      inverseDeviation(rows, 1e-3, true),
      inverseDeviation(rows, 1e-3, false),
      op.multiply(inverseDeviation(moved, 1e-3, false), rmsNorm(moved, y(67), 1e-3)),
      op.multiply(layerNorm(moved, 1e-3), inverseDeviation(moved, 1e-3, true)),
      inverseDeviation(moved, 0.5, true),
    ]
  },
  squaredRelu: unary(squaredRelu),
  neighbours: () => [neighbours(x(2, 3, 4, 5)), neighbours(x(1, 1, 1, 7))],
  gelu: unary((v) => op.add(gelu(v, 'tanh'), gelu(v, 'none'))),
  rope: () => [
    rope(x(2, 3, 16), table(3, 4), op.sin(table(3, 4)), 2),
    rope(x(1, 7, 6), table(7, 3), op.sin(table(7, 3)), 1),
    rope(x(2, 3, 96), table(3, 16), op.sin(table(3, 16)), 3),
    rope(x(2, 3, 16), table(3, 4), op.sin(table(3, 4)), 2, 'neighbours'),
    rope(x(2, 3, 96), table(3, 48), op.sin(table(3, 48)), 1, 'neighbours'),
  ],
  attention: () => [
    attention(x(2, 3, 8), y(2, 5, 8), op.exp(y(2, 5, 8)), 2),
    attention(x(1, 37, 96), x(1, 37, 96), x(1, 37, 96), 3),
    attention(x(2, 3, 8), y(2, 5, 8), op.exp(y(2, 5, 8)), 2, undefined, 1),
    attention(x(2, 3, 8), y(2, 5, 8), op.exp(y(2, 5, 8)), 2, input('row', [1, 2, 3, 5]), 0.3),
    ...[[2, 1, 1, 5], [1, 2, 3, 5], [1, 1, 3, 1], [2, 3, 5], [3, 5], [5]].map((shape) =>
      attention(x(2, 3, 8), y(2, 5, 8), op.exp(y(2, 5, 8)), 2, input(`bias${shape.join('_')}`, shape)),
    ),
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
      node.dtype === 'int32'
        ? { dtype: 'int32', shape: node.shape, data: Int32Array.from({ length: sizeOf(node.shape) }, (_, k) => k % 4) }
        : { dtype: 'float32', shape: node.shape, data: gaussian(4, index, 0, sizeOf(node.shape)) },
    ]),
  )
}

const largest = (numbers: Float64Array) => numbers.reduce((most, number) => Math.max(most, Math.abs(number)), 0)

/** The largest difference from the evaluator, relative to the largest number of the output. */
async function worstError(backend: Backend, graph: Graph, model: OnnxModel, feeds = feedsOf(graph)): Promise<number> {
  const numbers = Object.fromEntries(Object.entries(feeds).map(([name, { data }]) => [name, data]))
  const expected = evaluate(graph, { inputs: numbers, parameters: numbers })
  await using session = await backend.load({ model: encode(model) })
  const outputs = await session.run(
    Object.fromEntries(model.inputs.map(({ name }) => [name, feeds[name] as HostTensor])),
  )
  const errors = Object.entries(expected).map(([name, { data, shape }]) => {
    expect(outputs[name]?.shape).toEqual(shape)
    const differences = data.map((value, index) => value - (outputs[name]?.data[index] ?? Number.NaN))
    return largest(differences) / Math.max(1e-3, largest(data))
  })
  return Math.max(...errors)
}

/** A model that the runtime refuses, or that gives another shape, is infinitely wrong. */
const worstErrorOrRefusal: typeof worstError = (...question) => worstError(...question).catch(() => Infinity)

/** The graph with every value of an op a hundredth too large, or negated where it is a truth value. */
function bent(graph: Graph, name: Op): Graph {
  const done = new Map<Value, Value>()
  for (const node of topologicalOrder([...graph.outputs.values()])) {
    const fresh = { ...node, inputs: node.inputs.map((each) => done.get(each) as Value) } as Value
    const bend = node.dtype === 'bool' ? op.equal(op.cast(fresh, 'float32'), 0) : op.multiply(fresh, 1.01)
    done.set(node, node.op === name && node.dtype !== 'int32' && node.dtype !== 'float16' ? bend : fresh)
  }
  return graphOf(new Map([...graph.outputs].map(([key, node]) => [key, done.get(node) as Value])))
}

/** Everything training meets: attention with a bias, norms, rope, an embedding, a product with bias, a convolution. */
function trainingGraph(): Graph {
  return trace(() => {
    const words = op.gather(parameter('words', [4, 8], { kind: 'ones' }), ids(2, 5))
    const tokens = x(2, 3, 8)
    const turned = rope(op.add(tokens, op.slice(words, 1, 2)), table(3, 2), op.sin(table(3, 2)), 2)
    const read = attention(layerNorm(turned, 1e-3), words, words, 2, input('bias', [2, 1, 1, 5]))
    const normal = rmsNorm(op.add(read, tokens), parameter('scale', [8], { kind: 'ones' }), 1e-3)
    const flat = op.reshape(normal, [6, 8])
    const hidden = op.add(
      op.matmul(flat, op.swapLast(parameter('up', [12, 8], { kind: 'ones' }))),
      parameter('offset', [12], { kind: 'zeros' }),
    )
    const picture = op.reshape(op.add(squaredRelu(hidden), gelu(hidden)), [2, 3, 4, 3])
    const kernel = parameter('kernel', [2, 3, 3, 2], { kind: 'ones' })
    const out = op.convolution(picture, kernel, [2, 1], [1, 0, 0, 1])
    const loss = op.reshape(op.mean(op.square(op.subtract(out, softmax(out)))), [])
    const variables = topologicalOrder([loss]).filter((node) => node.op === 'parameter')
    const slopes = gradient(loss, variables).map((slope, index) => [`slope${index}`, slope])
    return { loss, ...Object.fromEntries(slopes) }
  })
}

const withAttribute = (key: string, value: OnnxAttribute) => (node: OnnxNode) => ({
  ...node,
  attributes: { ...node.attributes, [key]: value },
})
const without = (key: string) => (node: OnnxNode) => ({
  ...node,
  attributes: Object.fromEntries(Object.entries(node.attributes).filter(([name]) => name !== key)),
})
const swapped = (node: OnnxNode) => ({ ...node, inputs: node.inputs.toReversed() })

/** Mistakes that one could make in a rule, by the ONNX operator they spoil. */
const mistakes: Readonly<Record<string, { readonly of: Op; readonly by: (node: OnnxNode) => OnnxNode }>> = {
  Sub: { of: 'subtract', by: swapped },
  Less: { of: 'less', by: swapped },
  Where: { of: 'select', by: (node) => ({ ...node, inputs: [0, 2, 1].map((place) => node.inputs[place] ?? '') }) },
  Gemm: { of: 'matmul', by: without('transB') },
  Conv: { of: 'convolution', by: without('pads') },
  ConvTranspose: { of: 'convolutionInput', by: without('output_padding') },
  Transpose: { of: 'transpose', by: without('perm') },
  Concat: { of: 'concatenate', by: swapped },
  Gather: { of: 'gather', by: without('axis') },
  ReduceMean: { of: 'sum', by: (node) => ({ ...node, type: 'ReduceSum' }) },
  ReduceSumSquare: { of: 'sum', by: (node) => ({ ...node, type: 'ReduceSum' }) },
  Softmax: { of: 'softmax', by: withAttribute('axis', { kind: 'integer', value: 0 }) },
  LayerNormalization: { of: 'layerNorm', by: without('epsilon') },
  SimplifiedLayerNormalization: {
    of: 'inverseDeviation',
    by: (node) => ({ ...node, type: 'LayerNormalization', outputs: node.outputs.toSpliced(1, 0, '') }),
  },
  RMSNormalization: { of: 'rmsNorm', by: withAttribute('epsilon', { kind: 'float', value: 0.1 }) },
  Gelu: { of: 'gelu', by: withAttribute('approximate', { kind: 'text', value: 'none' }) },
  RotaryEmbedding: { of: 'rope', by: withAttribute('interleaved', { kind: 'integer', value: 1 }) },
  MultiHeadAttention: { of: 'attention', by: withAttribute('num_heads', { kind: 'integer', value: 1 }) },
}

for (const backend of backends) {
  describe(`lowering on ${backend.name}`, () => {
    for (const [name, build] of Object.entries(cases) as [Primitive | Composite, Builder][]) {
      it(`of ${name} agrees with the evaluator, fused and written out`, async () => {
        const graph = graphOfCase(build)
        expect(await worstError(backend, graph, lower(graph))).toBeLessThan(bound)
        expect(await worstError(backend, graph, lower(graph, { fuse: () => false }))).toBeLessThan(bound)
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

    it('of a gradient agrees with the evaluator, as training lowers it', async () => {
      const graph = trainingGraph()
      expect(await worstError(backend, graph, lower(graph, { fuse: fuseForTraining }))).toBeLessThan(bound)
    })

    it('of a gradient lays heads out once where products take transposes as flags', async () => {
      const graph = trainingGraph()
      const [plain, flagged] = [false, true].map((forCpu) => lower(graph, { fuse: fuseForTraining, forCpu })) as [
        OnnxModel,
        OnnxModel,
      ]
      const transposes = ({ nodes }: OnnxModel) => nodes.filter(({ type }) => type === 'Transpose').length
      expect(transposes(flagged)).toBeLessThan(transposes(plain))
      expect(await worstError(backend, graph, flagged)).toBeLessThan(bound)
    })

    describe('for the CPU', () => {
      /** Tall enough for tiles, large enough for a bias apart, wide behind a transpose; heads scaled on both sides. */
      const graph = graphOfCase(() => {
        const [rows, up] = [x(640, 130), op.swapLast(parameter('up', [210, 130], { kind: 'ones' }))]
        const heads = op.transpose(x(2, 5, 3, 4), [0, 2, 1, 3])
        return [
          op.multiply(op.matmul(rows, up), 0.3),
          op.add(op.matmul(rows, y(130, 210)), input('offset', [210])),
          op.matmul(rows, y(130, 7)),
          op.add(op.matmul(op.swapLast(x(130, 640)), y(130, 210)), input('offset2', [210])),
          op.multiply(op.matmul(op.swapLast(x(90, 5)), y(90, 11)), 0.6),
          op.multiply(op.matmul(heads, op.swapLast(op.multiply(heads, 0.7))), 0.5),
          op.matmul(op.multiply(op.matmul(heads, op.swapLast(heads)), 0.9), heads),
        ]
      })
      const model = lower(graph, { forCpu: true })

      it('cuts tall products, adds large biases apart and takes factors in, and agrees with the evaluator', async () => {
        const kinds = model.nodes.map(({ type, inputs }) => `${type} ${inputs.length}`)
        expect(kinds.filter((kind) => kind === 'FusedMatMul 2').length).toBe(6)
        expect(kinds.filter((kind) => kind === 'Add 2').length).toBe(2)
        expect(kinds).not.toContain('Gemm 3')
        expect(kinds).not.toContain('Mul 2')
        expect(await worstError(backend, graph, model)).toBeLessThan(bound)
      })

      it.each(['alpha', 'transB', 'transA', 'perm'])('is caught without %s', async (key) => {
        const nodes = model.nodes.map((node) =>
          /Gemm|FusedMatMul|Transpose/.test(node.type) ? without(key)(node) : node,
        )
        expect(await worstErrorOrRefusal(backend, graph, { ...model, nodes })).toBeGreaterThan(bound)
      })
    })

    it('of the gradient of layer norm holds in float32 for rows far from zero, and for rows of one number', async () => {
      const rows = input('rows', [4, 64])
      const weights = op.constant(gaussian(1, 1, 0, 256), [4, 64])
      const loss = op.reshape(op.sum(op.multiply(layerNorm(rows), weights)), [])
      const graph = trace(() => ({ slope: gradient(loss, [rows])[0] as Value }))
      const noise = gaussian(4, 0, 0, 256)
      for (const data of [noise.map((value) => 30 + 0.3 * value), new Float32Array(256).fill(30.7)]) {
        const feeds = { rows: { dtype: 'float32', shape: [4, 64], data } } as const
        const model = lower(graph, { fuse: fuseForTraining })
        // The mean itself is rounded, which a row of one number divides by √ε.
        expect(await worstError(backend, graph, model, feeds)).toBeLessThan(1e-3)
      }
    })

    for (const [type, edit] of Object.entries(mistakes)) {
      it(`is caught when ${type} is written wrongly`, async () => {
        const graph = graphOfCase(cases[edit.of])
        const model = lower(graph)
        const broken = { ...model, nodes: model.nodes.map((node) => (node.type === type ? edit.by(node) : node)) }
        expect(model.nodes.some((node) => node.type === type)).toBe(true)
        expect(await worstErrorOrRefusal(backend, graph, broken)).toBeGreaterThan(bound)
      })
    }
  })
}

describe('each case', () => {
  for (const [name, build] of Object.entries(cases) as [Op, Builder][]) {
    it(`shows a lowering of ${name} that is a hundredth off`, async () => {
      const graph = graphOfCase(build)
      expect(await worstError(op.at(backends, 0), graph, lower(bent(graph, name)))).toBeGreaterThan(100 * bound)
    })
  }
})

describe('lower', () => {
  it('writes one Gemm for a linear layer, its transpose and bias taken in', () => {
    const graph = trace(() => ({
      out: op.add(
        op.matmul(x(3, 4), op.swapLast(parameter('w', [2, 4], { kind: 'ones' }))),
        parameter('b', [2], { kind: 'zeros' }),
      ),
    }))
    expect(lower(graph).nodes.map(({ type }) => type)).toEqual(['Gemm'])
  })

  it('never adds to one row from several threads, which loses updates', () => {
    const types = lower(graphOfCase(cases.scatterAdd)).nodes.map(({ type }) => type)
    expect(types).toContain('ScatterElements')
    expect(types).not.toContain('ScatterND')
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
