import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromFloat16, toFloat16 } from './float16.ts'
import { readSafetensors, readTensor, WeightsFormatError, writeSafetensors } from './safetensors.ts'

const tensors = {
  'a.weight': { shape: [2, 3], data: Float32Array.of(1, -2, 0.5, 4, 0.25, -8) },
  'a.bias': { shape: [2], data: Float32Array.of(0.125, 3) },
}

const headed = (header: string, data = 0, claimed = BigInt(header.length)): Uint8Array => {
  const bytes = new Uint8Array(8 + header.length + data)
  new DataView(bytes.buffer).setBigUint64(0, claimed, true)
  bytes.set(new TextEncoder().encode(header), 8)
  return bytes
}

describe('safetensors', () => {
  it('gives back what was written, in either precision', () => {
    for (const dtype of ['float32', 'float16'] as const) {
      const file = readSafetensors(writeSafetensors(tensors, dtype, { made: 'here' }))
      expect(file.metadata).toEqual({ made: 'here' })
      for (const [name, { shape, data }] of Object.entries(tensors)) {
        expect(file.entries.get(name)).toMatchObject({ dtype, shape })
        expect(readTensor(file, name)).toEqual(data)
      }
    }
  })

  it('reads from a Buffer, whose slice() would share memory', () => {
    const file = readSafetensors(Buffer.from(writeSafetensors(tensors, 'float32')))
    expect(readTensor(file, 'a.bias')).toEqual(tensors['a.bias'].data)
  })

  it('begins its data at a multiple of 64 bytes', () => {
    const { entries } = readSafetensors(writeSafetensors(tensors, 'float16'))
    expect((entries.get('a.weight')?.offset ?? 1) % 64).toBe(0)
  })

  const refused: Readonly<Record<string, readonly [Uint8Array, string]>> = {
    'of four bytes': [new Uint8Array(4), 'the file has 4 bytes'],
    'whose header claims 2^60 bytes': [
      headed('{}', 0, 2n ** 60n),
      'the header claims 1152921504606846976 bytes, allowed here are 2',
    ],
    'that is cut short': [writeSafetensors(tensors, 'float32').slice(0, -4), 'it is cut short'],
    'with bytes to spare': [headed('{}', 3), 'has bytes to spare'],
    'whose header is no JSON': [headed('{"a":'), 'not a JSON object'],
    'with an unknown dtype': [
      headed('{"a":{"dtype":"F8","shape":[1],"data_offsets":[0,1]}}', 1),
      'tensor a is "F8", allowed are F64, F32, F16',
    ],
    'whose shape and range differ': [
      headed('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', 4),
      'takes 8 bytes, its range has 4',
    ],
    'with a gap': [headed('{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', 8), 'ranges must be seamless'],
    'with overlapping tensors': [
      headed(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        4,
      ),
      'ranges must be seamless',
    ],
    'with a negative size': [
      headed('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', 4),
      'not a list of counts',
    ],
  }
  for (const [name, [bytes, message]] of Object.entries(refused)) {
    it(`refuses a file ${name}`, () => {
      expect(() => readSafetensors(bytes)).toThrow(WeightsFormatError)
      expect(() => readSafetensors(bytes)).toThrow(message)
    })
  }

  it('never fails otherwise than by its own error, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(100), (noise, length) => {
        const bytes = Uint8Array.from(noise)
        if (bytes.length >= 8) new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true)
        try {
          readSafetensors(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(WeightsFormatError)
        }
      }),
      { seed: 5 },
    )
  })

  it('says which tensor is missing', () => {
    expect(() => readTensor(readSafetensors(writeSafetensors(tensors, 'float32')), 'b')).toThrow('there is no tensor b')
  })
})

describe('float16', () => {
  it('survives the round trip for every pattern that is a number', () => {
    const patterns = Uint16Array.from({ length: 65536 }, (_, n) => n).filter(
      (n) => (n & 0x7c00) !== 0x7c00 || (n & 0x3ff) === 0,
    )
    expect(toFloat16(fromFloat16(patterns))).toEqual(patterns)
  })

  it('rounds to nearest, ties to even, and overflows to infinity', () => {
    const back = (x: number) => fromFloat16(toFloat16([x]))[0]
    expect(back(1 + 2 ** -11)).toBe(1)
    expect(back(1 + 3 * 2 ** -11)).toBe(1 + 2 ** -9)
    expect(back(65519)).toBe(65504)
    expect(back(65520)).toBe(Number.POSITIVE_INFINITY)
    expect(back(2 ** -25)).toBe(0)
    expect(back(2 ** -24)).toBe(2 ** -24)
    expect(back(Number.NaN)).toBeNaN()
  })
})
