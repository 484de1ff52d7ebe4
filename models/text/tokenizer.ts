/**
 * Prompts to token ids: the grammar's words whole, other forms of them as the nearest, everything else as UTF-8 bytes.
 *
 * Every text has tokens, so nothing is unknown to the network's first layer; what the world has no word for is merely
 * unlearned, and `unknownWords` says so. Ids: padding, begin, end of an unlearned word, 256 bytes, then the words.
 */

import { normalise } from '../world/captions.ts'
import { allWords, stem } from '../world/grammar.ts'
import { fnv1a } from '../world/vocabulary.ts'

export const padding = 0
export const begin = 1
const wordEnd = 2
const firstByte = 3
const firstWord = firstByte + 256

const words = allWords()
const ids: ReadonlyMap<string, number> = new Map(words.map((word, index) => [word, firstWord + index]))
/** Ids of stems, the first word of each: "jumping" is read as "jumps". */
const stemIds: ReadonlyMap<string, number> = new Map(
  words.map((word, index) => [stem(word), firstWord + index] as const).reverse(),
)

const idOf = (word: string): number | undefined => ids.get(word) ?? stemIds.get(stem(word))

/** Rows that an embedding table needs; room is left for words to come. */
export const vocabularySize = 512

/** Changes when an id changes its meaning. */
export const tokenizerRevision = `sticker-words-${fnv1a(words.join(' ')).toString(16).padStart(8, '0')}`

/** Ids of a text, begin first. The empty text, which conditions on nothing, is begin alone. */
export function tokenize(text: string): Int32Array {
  const tokens = [begin]
  for (const word of normalise(text).split(' ')) {
    if (word === '') continue
    const id = idOf(word)
    if (id !== undefined) tokens.push(id)
    else tokens.push(...Array.from(new TextEncoder().encode(word), (byte) => firstByte + byte), wordEnd)
  }
  return Int32Array.from(tokens)
}

export interface EncodedText {
  readonly ids: Int32Array
  /** 1 for a token, 0 for padding. */
  readonly mask: Float32Array
  readonly truncated: boolean
}

/** Ids padded or cut to `length`. */
export function encodeText(text: string, length: number): EncodedText {
  const tokens = tokenize(text)
  const kept = tokens.subarray(0, length)
  const [padded, mask] = [new Int32Array(length), new Float32Array(length)]
  padded.set(kept)
  mask.fill(1, 0, kept.length)
  return { ids: padded, mask, truncated: tokens.length > length }
}

export interface UnknownWord {
  readonly word: string
  /** The nearest known word within two edits. */
  readonly suggestion: string | undefined
}

/** Words of the text that the world has no word for. */
export function unknownWords(text: string): UnknownWord[] {
  const strange = normalise(text)
    .split(' ')
    .filter((word) => word !== '' && idOf(word) === undefined)
  return [...new Set(strange)].map((word) => ({ word, suggestion: nearest(word) }))
}

function nearest(word: string): string | undefined {
  const limit = word.length < 4 ? 0 : word.length < 5 ? 1 : 2
  // No word is nearer than the difference of the lengths; a pasted text may be one long word.
  const alike = words.filter((known) => Math.abs(known.length - word.length) <= limit)
  const ranked = alike.map((known) => ({ known, edits: editDistance(word, known) })).sort((a, b) => a.edits - b.edits)
  const [best] = ranked
  return best !== undefined && best.edits <= limit ? best.known : undefined
}

/** Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours (Damerau 1964). */
function editDistance(a: string, b: string): number {
  const rows = Array.from({ length: a.length + 1 }, (_, i) =>
    Array.from({ length: b.length + 1 }, (_, j) => (i === 0 ? j : j === 0 ? i : 0)),
  )
  const cell = (i: number, j: number) => rows[i]?.[j] ?? Number.POSITIVE_INFINITY
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const substitution = cell(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swapped =
        i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
          ? cell(i - 2, j - 2) + 1
          : Number.POSITIVE_INFINITY
      ;(rows[i] as number[])[j] = Math.min(cell(i - 1, j) + 1, cell(i, j - 1) + 1, substitution, swapped)
    }
  }
  return cell(a.length, b.length)
}
