import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GenerationError } from '../../shared/errors.ts'
import { toySpiece, toyTokenizer } from '../../test/checkpoints/tokenizer.ts'
import { sentencePiece } from './sentencepiece.ts'
import { readSpiece } from './spiece.ts'

const letters = fc.constantFrom(...'aredfoxunsthv  ▁é狐🦊ﬁ<s>/')
const text = fc.string({ unit: letters, maxLength: 24 })

describe('a spiece.model', () => {
  it.each([false, true])('gives the ids that the tokenizer.json of its vocabulary gives, with bytes: %s', (bytes) => {
    const [here, there] = [sentencePiece(readSpiece(toySpiece({ bytes }))), sentencePiece(toyTokenizer({ bytes }))]
    expect(here.vocabulary).toBe(there.vocabulary)
    for (const each of ['', 'a red fox runs over the sea', '狐 a', '</s> fox', '<unk>', 'ﬁsh'])
      expect([...here.tokenize(each)]).toEqual([...there.tokenize(each)])
    fc.assert(
      fc.property(text, (each) => {
        expect([...here.tokenize(each)]).toEqual([...there.tokenize(each)])
      }),
      { seed: 12, numRuns: 400 },
    )
  })

  it('says whether texts are normalised and begin with a space', () => {
    const described = readSpiece(toySpiece({ charsmap: false, prefix: false }))
    expect(described.normalizer).toBeNull()
    expect(described.pre_tokenizer).toMatchObject({ add_prefix_space: false, prepend_scheme: 'never' })
  })

  it('is refused where it is something else, by what is wrong', () => {
    expect(() => readSpiece(toySpiece({ modelType: 2 }))).toThrow('a model of type 2, allowed is 1')
    expect(() => readSpiece(new Uint8Array())).toThrow('none of its 0 pieces')
    expect(() => readSpiece(toySpiece().subarray(0, 100))).toThrow('tokenizer: ')
    expect(() => readSpiece(new TextEncoder().encode('{"model": {}}'))).toThrow('tokenizer: ')
  })

  it('is refused by its own error or read, whatever is changed', () => {
    const sound = toySpiece({ bytes: true })
    fc.assert(
      fc.property(fc.nat(), fc.nat(255), fc.nat(), (place, value, cut) => {
        const bytes = sound.slice(0, cut % 3 === 0 ? cut % sound.length : sound.length)
        if (bytes.length > 0) bytes[place % bytes.length] = value
        try {
          readSpiece(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(GenerationError)
        }
      }),
      { seed: 13, numRuns: 2000 },
    )
  })
})
