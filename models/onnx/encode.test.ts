import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nodeBackend } from '../node/backend.ts'
import { encode, type OnnxModel } from './encode.ts'
import { message } from './protobuf.ts'

/** One field as it stands on the wire: a varint as bigint, everything else as bytes. */
interface Field {
  readonly number: number
  readonly wire: number
  readonly value: bigint | Uint8Array
}

/** Reads wire format by the book (protobuf.dev, "Encoding"), sharing nothing with the writer. */
function read(bytes: Uint8Array): Field[] {
  const fields: Field[] = []
  let cursor = 0
  const varintHere = (): bigint => {
    let [value, shift] = [0n, 0n]
    for (;;) {
      const byte = bytes[cursor++]
      if (byte === undefined || shift > 63n) throw new Error(`no varint ends at ${cursor}`)
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asUintN(64, value)
      shift += 7n
    }
  }
  const take = (length: number): Uint8Array => {
    if (cursor + length > bytes.length) throw new Error(`${length} bytes wanted at ${cursor} of ${bytes.length}`)
    cursor += length
    return bytes.slice(cursor - length, cursor)
  }
  while (cursor < bytes.length) {
    const tag = Number(varintHere())
    const [number, wire] = [Math.floor(tag / 8), tag % 8]
    if (wire === 0) fields.push({ number, wire, value: varintHere() })
    else if (wire === 2) fields.push({ number, wire, value: take(Number(varintHere())) })
    else if (wire === 5) fields.push({ number, wire, value: take(4) })
    else throw new Error(`wire type ${wire} at ${cursor}`)
  }
  return fields
}

const all = (bytes: Uint8Array, number: number) =>
  read(bytes)
    .filter((field) => field.number === number)
    .map(({ value }) => value)
const nested = (bytes: Uint8Array, ...path: readonly number[]): Uint8Array =>
  path.reduce((inside, number) => all(inside, number)[0] as Uint8Array, bytes)
const text = (value: bigint | Uint8Array | undefined) => new TextDecoder().decode(value as Uint8Array)
const texts = (bytes: Uint8Array, number: number) => all(bytes, number).map(text)
const signed = (value: bigint | Uint8Array | undefined) => Number(BigInt.asIntN(64, value as bigint))
const packed = (bytes: Uint8Array): number[] => {
  // A packed list is varints end to end: dress each as a field of its own.
  const numbers: number[] = []
  let start = 0
  bytes.forEach((byte, index) => {
    if (byte >= 0x80) return
    numbers.push(signed(read(Uint8Array.from([8, ...bytes.subarray(start, index + 1)]))[0]?.value))
    start = index + 1
  })
  return numbers
}
const float = (value: bigint | Uint8Array | undefined) => new Float32Array((value as Uint8Array).slice().buffer)[0]

/** A varint alone: the field around it is its key and its length, a byte each. */
const varint = (value: number) => message().integers(1, [value]).bytes().slice(2)

describe('message', () => {
  it('writes varints of the specification', () => {
    expect(Array.from(varint(0))).toEqual([0])
    expect(Array.from(varint(1))).toEqual([1])
    expect(Array.from(varint(150))).toEqual([0x96, 0x01])
    expect(Array.from(varint(-1))).toEqual([...new Array(9).fill(0xff), 1])
  })

  it('writes every safe integer so that another reader finds it', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), fc.integer({ min: 1, max: 536870911 }), (value, number) => {
        const [field, ...rest] = read(message().integer(number, value).bytes())
        expect(rest).toEqual([])
        expect(field).toMatchObject({ number, wire: 0 })
        expect(signed(field?.value)).toBe(value)
      }),
    )
  })

  it.each([2 ** 53, 0.5, Number.NaN, Number.POSITIVE_INFINITY])('refuses %s as an integer', (value) => {
    expect(() => varint(value)).toThrow(`varint: got ${value}, allowed is a safe integer`)
  })

  it('writes text, bytes, floats, packed integers and nested messages', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 200 }),
        fc.uint8Array({ maxLength: 300 }),
        fc.float({ noNaN: true }),
        fc.array(fc.maxSafeInteger(), { maxLength: 40 }),
        (words, data, number, list) => {
          const outer = message().integer(1, 7)
          outer.message(16, (inner) => inner.text(1, words).data(2, data).float(3, number).integers(4, list))
          const bytes = nested(outer.bytes(), 16)
          expect(texts(bytes, 1)).toEqual([words])
          expect(all(bytes, 2)).toEqual([data])
          expect(float(all(bytes, 3)[0])).toBe(number)
          expect(packed(all(bytes, 4)[0] as Uint8Array)).toEqual(list)
        },
      ),
    )
  })

  it.each([0, 1, 127, 128, 1013, 1014, 16_383, 16_384, 3_000_000])('nests %i bytes, whatever came before', (size) => {
    const data = Uint8Array.from({ length: size }, (_, index) => index % 251)
    for (const before of [0, 990, 1000, 1010, 1020]) {
      const outer = message()
        .data(1, new Uint8Array(before))
        .message(2, (middle) => middle.message(3, (inner) => inner.integers(4, []).data(5, data).text(6, 'end')))
      const inner = nested(outer.bytes(), 2, 3)
      expect([all(inner, 4), texts(inner, 6)]).toEqual([[new Uint8Array(0)], ['end']])
      expect(Buffer.compare(all(inner, 5)[0] as Uint8Array, data)).toBe(0)
      expect(read(outer.bytes()).length).toBe(2)
    }
  })

  it('keeps short words wherever in its buffer they end', () => {
    for (let before = 1000; before < 1030; before++)
      expect(texts(message().data(1, new Uint8Array(before)).text(2, 'ab').bytes(), 2)).toEqual(['ab'])
  })

  it('keeps repeated fields in order', () => {
    const bytes = message().text(1, 'b').text(1, 'a').text(1, '').bytes()
    expect(texts(bytes, 1)).toEqual(['b', 'a', ''])
  })
})

const model: OnnxModel = {
  nodes: [
    {
      name: 'sum',
      type: 'Gemm',
      domain: '',
      inputs: ['x', 'weight', ''],
      outputs: ['sum'],
      attributes: { transB: { kind: 'integer', value: 1 }, alpha: { kind: 'float', value: 0.5 } },
    },
    {
      name: 'out',
      type: 'FusedThing',
      domain: 'com.microsoft',
      inputs: ['sum', 'stored'],
      outputs: ['out'],
      attributes: {
        mode: { kind: 'text', value: 'ä' },
        axes: { kind: 'integers', value: [-1, 0, 300] },
        none: { kind: 'integers', value: [] },
      },
    },
  ],
  initializers: [
    {
      name: 'weight',
      dtype: 'float32',
      shape: [2, 3],
      data: { kind: 'inline', bytes: new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer) },
    },
    {
      name: 'stored',
      dtype: 'float16',
      shape: [],
      data: { kind: 'external', location: 'w.safetensors', offset: 5_000_000_000, length: 2 },
    },
  ],
  inputs: [{ name: 'x', dtype: 'float32', shape: [1, 3] }],
  outputs: [{ name: 'out', dtype: 'int64', shape: [] }],
}

describe('encode', () => {
  const bytes = encode(model)
  const graph = nested(bytes, 7)

  it('states its versions', () => {
    expect(signed(all(bytes, 1)[0])).toBe(10)
    const opsets = all(bytes, 8).map((each) => [
      text(all(each as Uint8Array, 1)[0]),
      signed(all(each as Uint8Array, 2)[0]),
    ])
    expect(opsets).toEqual([
      ['', 23],
      ['com.microsoft', 1],
    ])
  })

  it('writes nodes with their inputs, outputs, domain and attributes', () => {
    const [gemm, fused] = all(graph, 1) as Uint8Array[]
    expect(texts(gemm as Uint8Array, 1)).toEqual(['x', 'weight', ''])
    expect([2, 3, 4, 7].map((number) => texts(gemm as Uint8Array, number))).toEqual([['sum'], ['sum'], ['Gemm'], []])
    expect([2, 3, 4, 7].map((number) => texts(fused as Uint8Array, number))).toEqual([
      ['out'],
      ['out'],
      ['FusedThing'],
      ['com.microsoft'],
    ])
    const [transB, alpha] = all(gemm as Uint8Array, 5) as Uint8Array[]
    expect([texts(transB as Uint8Array, 1), ...[3, 20].map((n) => signed(all(transB as Uint8Array, n)[0]))]).toEqual([
      ['transB'],
      1,
      2,
    ])
    expect([float(all(alpha as Uint8Array, 2)[0]), signed(all(alpha as Uint8Array, 20)[0])]).toEqual([0.5, 1])
    const [mode, axes, none] = all(fused as Uint8Array, 5) as Uint8Array[]
    expect([texts(mode as Uint8Array, 4), signed(all(mode as Uint8Array, 20)[0])]).toEqual([['ä'], 3])
    expect([packed(nested(axes as Uint8Array, 8)), signed(all(axes as Uint8Array, 20)[0])]).toEqual([[-1, 0, 300], 7])
    expect([packed(nested(none as Uint8Array, 8)), signed(all(none as Uint8Array, 20)[0])]).toEqual([[], 7])
  })

  it('holds inline tensors and refers to stored ones', () => {
    const [weight, stored] = all(graph, 5) as [Uint8Array, Uint8Array]
    expect([packed(nested(weight, 1)), signed(all(weight, 2)[0]), texts(weight, 8)]).toEqual([[2, 3], 1, ['weight']])
    expect(Array.from(new Float32Array((all(weight, 9)[0] as Uint8Array).slice().buffer))).toEqual([1, 2, 3, 4, 5, 6])
    expect(all(weight, 14)).toEqual([])
    expect([signed(all(stored, 2)[0]), signed(all(stored, 14)[0]), all(stored, 9)]).toEqual([10, 1, []])
    const where = (all(stored, 13) as Uint8Array[]).map((each) => [text(all(each, 1)[0]), text(all(each, 2)[0])])
    expect(Object.fromEntries(where)).toEqual({ location: 'w.safetensors', offset: '5000000000', length: '2' })
  })

  it('types its inputs and outputs', () => {
    const port = (number: number) => {
      const info = nested(graph, number)
      const tensor = nested(info, 2, 1)
      const sizes = all(nested(tensor, 2), 1).map((each) => signed(all(each as Uint8Array, 1)[0]))
      return [texts(info, 1)[0], signed(all(tensor, 1)[0]), sizes]
    }
    expect(port(11)).toEqual(['x', 1, [1, 3]])
    expect(port(12)).toEqual(['out', 7, []])
  })

  it('is read by a runtime, every dtype of inline tensor included', async () => {
    const tensor = (
      name: string,
      dtype: 'float32' | 'float16' | 'int32' | 'int64' | 'bool',
      data: ArrayBufferView,
    ) => ({
      name,
      dtype,
      shape: [2],
      data: { kind: 'inline' as const, bytes: new Uint8Array(data.buffer as ArrayBuffer) },
    })
    const cast = (name: string) => ({
      name: `${name}.cast`,
      type: 'Cast',
      domain: '' as const,
      inputs: [name],
      outputs: [`${name}.cast`],
      attributes: { to: { kind: 'integer' as const, value: 1 } },
    })
    const initializers = [
      tensor('float32', 'float32', Float32Array.of(1.5, -2)),
      tensor('float16', 'float16', Uint16Array.of(0x3e00, 0xc000)),
      tensor('int32', 'int32', Int32Array.of(7, -8)),
      tensor('int64', 'int64', BigInt64Array.of(9n, -10n)),
      tensor('bool', 'bool', Uint8Array.of(1, 0)),
    ]
    const small: OnnxModel = {
      nodes: initializers.map(({ name }) => cast(name)),
      initializers,
      inputs: [],
      outputs: initializers.map(({ name }) => ({ name: `${name}.cast`, dtype: 'float32', shape: [2] })),
    }
    await using session = await nodeBackend({ threads: 1 }).load({ model: encode(small) })
    const outputs = await session.run({})
    expect(Object.values(outputs).map(({ data }) => Array.from(data))).toEqual([
      [1.5, -2],
      [1.5, -2],
      [7, -8],
      [9, -10],
      [1, 0],
    ])
  })

  it('gives the same bytes for the same model', () => {
    expect(encode(structuredClone(model) as OnnxModel)).toEqual(bytes)
  })
})
