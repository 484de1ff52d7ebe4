import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toyTokenizer } from '../../test/checkpoints/tokenizer.ts'
import { sentencePiece } from './sentencepiece.ts'

const plain = sentencePiece(toyTokenizer())
const withBytes = sentencePiece(toyTokenizer({ bytes: true }))
const pieces = toyTokenizer().model.vocab

/** The highest total score of a cut of the text, by the plain recurrence. */
function bestScore(text: string): number {
  const best = [0, ...new Array<number>(text.length).fill(Number.NEGATIVE_INFINITY)]
  for (let end = 1; end <= text.length; end++) {
    for (const [piece, score] of pieces.slice(3)) {
      const from = end - piece.length
      if (from >= 0 && text.slice(from, end) === piece)
        best[end] = Math.max(best[end] as number, (best[from] as number) + score)
    }
  }
  return best[text.length] as number
}

const pieceOf = (id: number): string => pieces[id]?.[0] ?? ''
const scoreOf = (id: number): number => pieces[id]?.[1] ?? Number.NaN

describe('a unigram tokenizer', () => {
  it('ends every text, the empty one too', () => {
    expect([...plain.tokenize('')]).toEqual([1])
    expect(plain.tokenize('a red fox').at(-1)).toBe(1)
  })

  it('prefers whole words to their parts, and parts where they score higher', () => {
    const names = (text: string) => [...plain.tokenize(text)].slice(0, -1).map(pieceOf)
    expect(names('a red fox')).toEqual(['▁a', '▁red', '▁fox'])
    expect(names('a fox runs')).toEqual(['▁a', '▁fox', '▁runs'])
    expect(names('a  \n fox ')).toEqual(['▁a', '▁fox'])
    expect(names('seas')).toEqual(['▁sea', 's'])
  })

  it('finds the cut of highest score, whatever the text', () => {
    const letters = fc.constantFrom(...'aredfoxunsthv ')
    fc.assert(
      fc.property(fc.string({ unit: letters, minLength: 1, maxLength: 14 }), (text) => {
        const clean = text.replace(/\s+/g, ' ').trim()
        if (clean === '') return
        const ids = [...plain.tokenize(text)].slice(0, -1)
        const spaced = `▁${clean.replaceAll(' ', '▁')}`
        expect(ids.map(pieceOf).join('')).toBe(spaced)
        // Words are cut one by one, as a metaspace pre-tokenizer has it.
        const words = spaced.split(/(?=▁)/)
        const wanted = words.reduce((total, word) => total + bestScore(word), 0)
        expect(ids.reduce((total, id) => total + scoreOf(id), 0)).toBeCloseTo(wanted, 9)
      }),
      { seed: 8 },
    )
  })

  it('gives one unknown token for a stretch it does not know', () => {
    expect([...plain.tokenize('a zz fox')].filter((id) => id === 2)).toHaveLength(1)
  })

  it('falls back to bytes where the vocabulary has them', () => {
    const ids = [...withBytes.tokenize('a 狐')]
    expect(ids.slice(-4)).toEqual([...new TextEncoder().encode('狐')].map((byte) => 3 + byte).concat(1))
    expect(ids).not.toContain(2)
  })

  it('cuts a long text so that its end stays, and pads a short one', () => {
    const long = plain.encode('a red fox runs over the sea', 4)
    expect([long.truncated, long.ids.length, long.ids.at(-1)]).toEqual([true, 4, 1])
    const short = plain.encode('a fox', 6)
    expect([...short.ids].slice(3)).toEqual([0, 0, 0])
    expect([...short.mask]).toEqual([1, 1, 1, 0, 0, 0])
  })

  it('refuses what is no unigram model, by its first fault', () => {
    expect(() => sentencePiece({ model: { type: 'BPE' } })).toThrow('tokenizer: model.type')
    expect(() => sentencePiece('text')).toThrow('tokenizer: ')
    const endless = toyTokenizer()
    const vocab = endless.model.vocab.filter(([name]) => name !== '</s>')
    expect(() => sentencePiece({ ...endless, added_tokens: [], model: { ...endless.model, vocab } })).toThrow('no </s>')
  })
})
