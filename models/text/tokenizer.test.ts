/** The tokenizer: stable ids, a token for everything, help with strange words. */

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { allWords } from '../world/grammar.ts'
import { begin, encodeText, padding, tokenize, tokenizerRevision, unknownWords, vocabularySize } from './tokenizer.ts'

describe('tokenizer', () => {
  it('knows every word of the grammar by one token', () => {
    const ids = allWords().map((word) => {
      const [first, id, ...rest] = tokenize(word)
      expect([first, rest]).toEqual([begin, []])
      return id as number
    })
    expect(new Set(ids).size).toBe(ids.length)
    expect(Math.max(...ids)).toBeLessThan(vocabularySize)
  })

  it('gives every text ids within the table, the same for the same letters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const ids = tokenize(text)
        expect(ids.every((id) => id > padding && id < vocabularySize)).toBe(true)
        expect(tokenize(text.normalize('NFD'))).toEqual(ids)
      }),
    )
  })

  it('does not mind case, punctuation or the form of a word', () => {
    expect(tokenize('A Blue BIRD -- jumps!')).toEqual(tokenize('a blue birds jumping'))
  })

  it('spells unknown words, each differently', () => {
    expect(tokenize('zebra').length).toBe(7)
    expect(tokenize('zebra')).not.toEqual(tokenize('zebro'))
  })

  it('pads, masks and tells when it cuts', () => {
    const short = encodeText('a blue bird', 6)
    expect([...short.mask]).toEqual([1, 1, 1, 1, 0, 0])
    expect([...short.ids.subarray(4)]).toEqual([padding, padding])
    expect(short.truncated).toBe(false)
    expect(encodeText('a blue bird flies left', 4).truncated).toBe(true)
    expect([...encodeText('', 2).ids]).toEqual([begin, padding])
  })

  it('names unknown words once, with the nearest known one', () => {
    expect(unknownWords('a bleu brid, a bleu quetzalcoatl flies')).toEqual([
      { word: 'bleu', suggestion: 'blue' },
      { word: 'brid', suggestion: 'bird' },
      { word: 'quetzalcoatl', suggestion: undefined },
    ])
    expect(unknownWords('two birds flying')).toEqual([{ word: 'two', suggestion: undefined }])
  })

  it('changes its revision with its words only', () => {
    expect(tokenizerRevision).toMatch(/^sticker-words-[0-9a-f]{8}$/)
  })
})
