import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bodyLimit, parseStrict, readJson } from './json.ts'

const request = (body: BodyInit, headers: Record<string, string> = {}) =>
  new Request('https://edge.test/', {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', ...headers },
  })

describe('strict JSON', () => {
  it('reads what JSON.stringify writes, up to its depth', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const text = JSON.stringify(value)
        expect(parseStrict(text)).toEqual(JSON.parse(text))
      }),
      { numRuns: 1_000 },
    )
  })

  it('refuses a key that comes twice, however it is spelled and wherever it is', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.jsonValue({ maxDepth: 2 }), fc.nat(3), (key, value, depth) => {
        const name = JSON.stringify(key)
        const escaped = `"${[...key].map((each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')}"`
        if ([...key].some((each) => each.length > 1)) return
        const twice = `{${name}:${JSON.stringify(value)},${escaped}:1}`
        expect(() => parseStrict('['.repeat(depth) + twice + ']'.repeat(depth))).toThrow(/twice/)
      }),
      { numRuns: 1_000 },
    )
  })

  it('lets equal keys stand in different objects', () => {
    expect(parseStrict('[{"a":{"a":1}},{"a":2}]')).toEqual([{ a: { a: 1 } }, { a: 2 }])
    expect(parseStrict('{"a":["a","a"],"b":"a"}')).toEqual({ a: ['a', 'a'], b: 'a' })
  })

  it('refuses lone surrogates, depth, and what is no JSON', () => {
    expect(() => parseStrict('{"a":"\\ud800"}')).toThrow(/surrogate/)
    expect(() => parseStrict('{"\\udc00":1}')).toThrow(/surrogate/)
    expect(() => parseStrict('['.repeat(17) + ']'.repeat(17))).toThrow(/deeper/)
    expect(parseStrict('['.repeat(16) + ']'.repeat(16))).toBeTruthy()
    for (const bad of ['', '{', '{"a":1,}', "{'a':1}", 'NaN', '01', '"\n"', '[1]x', '{"a":1}{"b":2}']) {
      expect(() => parseStrict(bad)).toThrow(/body/)
    }
  })

  it('throws nothing but its own kind, whatever it is given', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'{}[]":,\\ue0123 \n\u2028a'), maxLength: 60 }), (text) => {
        try {
          parseStrict(text)
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_json' })
        }
      }),
      { numRuns: 2_000 },
    )
  })

  it('reads no further than its limit and takes no other type or encoding', async () => {
    await expect(readJson(request('x'.repeat(bodyLimit + 1)))).rejects.toMatchObject({ code: 'payload_too_large' })
    await expect(readJson(request(JSON.stringify('x'.repeat(bodyLimit - 2))))).resolves.toBeTruthy()
    const lying = request('x'.repeat(bodyLimit + 1), { 'content-length': '2' })
    await expect(readJson(lying)).rejects.toMatchObject({ code: 'payload_too_large' })
    await expect(readJson(request('{}', { 'content-length': '2' }))).resolves.toEqual({})
    await expect(readJson(request('{}', { 'content-type': 'text/plain' }))).rejects.toMatchObject({ status: 415 })
    await expect(readJson(request('{}', { 'content-encoding': 'gzip' }))).rejects.toMatchObject({ status: 415 })
    await expect(readJson(request(new Uint8Array([0x22, 0xff, 0x22])))).rejects.toMatchObject({ code: 'invalid_json' })
    await expect(readJson(request('{}', { 'content-type': 'application/json; charset=utf-8' }))).resolves.toEqual({})
  })
})
