import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { evaluate } from '../graph/evaluate.ts'
import { input, parameter, scope, trace } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { linear } from '../nn/linear.ts'
import { nodeBackend } from '../node/backend.ts'
import { wasmBackend } from '../node/backend-wasm.ts'
import { encode, type OnnxBytes } from '../onnx/encode.ts'
import { lower } from '../onnx/lower.ts'
import type { StoredTensor } from '../onnx/store.ts'
import { type BlockBits, dequantizeBlocks, errorGates, quantizeBlocks, relativeError } from './quantize.ts'

const errorOf = (values: Float32Array, bits: BlockBits): number => {
  const error = relativeError()
  error.add(values, dequantizeBlocks(quantizeBlocks(values, bits)))
  return error.value()
}

describe('blocks', () => {
  it.each([4, 8] as const)('of %s bits pass the gate on normal weights, and not by far', (bits) => {
    const error = errorOf(gaussian(1, 0, 0, 32_000), bits)
    expect(error).toBeLessThan(errorGates[bits])
    expect(error).toBeGreaterThan(errorGates[bits] / 3)
  })

  it('of 4 bits fail the gate where one weight in a block dwarfs the others', () => {
    expect(
      errorOf(
        Float32Array.from({ length: 320 }, (_, n) => (n % 32 === 0 ? 1 : 0.066)),
        4,
      ),
    ).toBeGreaterThan(errorGates[4])
  })

  it('give the weight of largest magnitude back exactly, up to its float16 scale', () => {
    fc.assert(
      fc.property(fc.array(fc.float({ noNaN: true, min: -8, max: 8 }), { minLength: 32, maxLength: 32 }), (list) => {
        const values = Float32Array.from(list)
        const peak = values.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0)
        if (Math.abs(peak) < 1e-2) return
        for (const bits of [4, 8] as const) {
          const back = dequantizeBlocks(quantizeBlocks(values, bits))
          expect(Math.abs((back[values.indexOf(peak)] as number) - peak)).toBeLessThanOrEqual(Math.abs(peak) * 2 ** -10)
        }
      }),
      { seed: 3 },
    )
  })

  it('err by at most half a step, the positive end of the range apart', () => {
    const values = gaussian(2, 0, 0, 320)
    const { scales } = quantizeBlocks(values, 4)
    const back = dequantizeBlocks(quantizeBlocks(values, 4))
    expect(scales.length).toBe(10)
    values.forEach((value, index) => {
      const block = values.subarray(index - (index % 32), index - (index % 32) + 32)
      const step = Math.max(...block.map(Math.abs)) / 8
      expect(Math.abs(value - (back[index] as number))).toBeLessThanOrEqual(1.001 * step)
    })
  })

  it('of zeros are zeros, and weights that are not finite fail every gate', () => {
    expect(dequantizeBlocks(quantizeBlocks(new Float32Array(64), 4)).every((value) => value === 0)).toBe(true)
    expect(
      errorOf(
        Float32Array.from({ length: 32 }, (_, n) => (n === 3 ? Number.NaN : 1)),
        8,
      ),
    ).toBe(Infinity)
  })
})

const [rows, columns, out] = [5, 64, 96] as const
const weight = gaussian(4, 0, 0, out * columns)
const bias = gaussian(4, 1, 0, out)
const graph = trace(() => ({ out: scope('map', () => linear('to', input('x', [rows, columns]), out)) }))
const bytesOf = (data: ArrayBufferView): OnnxBytes => ({
  kind: 'inline',
  bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
})

/** Weight in blocks, bias plain. */
const stored =
  (bits: BlockBits) =>
  (name: string): StoredTensor => {
    if (name.endsWith('bias')) return { dtype: 'float32', data: bytesOf(bias) }
    const blocks = quantizeBlocks(weight, bits)
    return { dtype: 'blocks', bits, data: bytesOf(blocks.data), scales: bytesOf(blocks.scales) }
  }

for (const backend of [nodeBackend({ threads: 1 }), wasmBackend()]) {
  describe(`a linear map over blocks on ${backend.name}`, () => {
    it.each([4, 8] as const)('of %s bits equals one over the weights they stand for', async (bits) => {
      const x = gaussian(4, 2, 0, rows * columns)
      const parameters = { 'map.to.weight': dequantizeBlocks(quantizeBlocks(weight, bits)), 'map.to.bias': bias }
      const wanted = evaluate(graph, { inputs: { x }, parameters }).out?.data ?? new Float64Array()
      await using session = await backend.load({ model: encode(lower(graph, { stored: stored(bits) })) })
      const got = (await session.run({ x: { dtype: 'float32', shape: [rows, columns], data: x } })).out?.data ?? []
      expect(got.length).toBe(wanted.length)
      wanted.forEach((value, index) => {
        expect(Math.abs((got[index] as number) - value)).toBeLessThan(1e-4)
      })
    })
  })
}

describe('lowering', () => {
  it('refuses blocks anywhere but as the weight of a linear map', () => {
    const squared = trace(() => ({ out: op.square(parameter('map.to.weight', [out, columns], { kind: 'ones' })) }))
    expect(() => lower(squared, { stored: stored(4) })).toThrow('map.to.weight: is stored in blocks')
  })
})
