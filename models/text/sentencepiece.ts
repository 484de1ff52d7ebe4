/**
 * Tokenizers of released text encoders: sentencepiece's unigram model, read from a tokenizer.json.
 *
 * Kudo 2018 (1804.10959): of all ways to cut a text into pieces, the one of highest total score. The segmentation is
 * @huggingface/tokenizers'; what it leaves out is done here: pieces that no vocabulary has fall back to their UTF-8
 * bytes where the vocabulary holds bytes (UMT5), and texts are cut so that the end token stays.
 *
 * Sentencepiece's precompiled character map is stood in for by NFKC, which differs from it in a few compatibility
 * characters only.
 */

import { Tokenizer } from '@huggingface/tokenizers'
import * as v from 'valibot'
import { GenerationError } from '../../shared/errors.ts'
import type { EncodedText } from './tokenizer.ts'

/** Prompts to the token ids of one text encoder. */
export interface PromptTokenizer {
  /** Ids are below this. */
  readonly vocabulary: number
  /** Ids without padding, the end token last. */
  readonly tokenize: (text: string) => Int32Array
  /** Ids padded or cut to `length`, the end token kept. */
  readonly encode: (text: string, length: number) => EncodedText
}

/** What is used of the package, whose own declarations this compiler cannot follow. */
interface Segmenter {
  readonly encode: (
    text: string,
    options: { readonly add_special_tokens: boolean },
  ) => { readonly tokens: readonly string[]; readonly ids: readonly number[] }
  readonly token_to_id: (token: string) => number | undefined
}

const piece = v.tuple([v.string(), v.number()])
const added = v.looseObject({ id: v.pipe(v.number(), v.integer(), v.minValue(0)), content: v.string() })
const description = v.looseObject({
  model: v.looseObject({
    type: v.literal('Unigram'),
    unk_id: v.pipe(v.number(), v.integer(), v.minValue(0)),
    vocab: v.pipe(v.array(piece), v.minLength(1)),
    byte_fallback: v.optional(v.boolean()),
  }),
  added_tokens: v.optional(v.array(added), []),
})

const paddingName = '<pad>'
const endName = '</s>'

/**
 * A tokenizer of the contents of a tokenizer.json.
 * @throws GenerationError model_format when it is not a unigram model with an end and a padding token.
 */
export function sentencePiece(json: unknown): PromptTokenizer {
  const { output: read, issues, success } = v.safeParse(description, json)
  if (!success) {
    const [{ message }] = issues
    throw new GenerationError('model_format', `tokenizer: ${v.getDotPath(issues[0]) ?? 'the file'}: ${message}`)
  }
  const { model } = read
  if (model.unk_id >= model.vocab.length)
    throw new GenerationError('model_format', `tokenizer: unk_id is ${model.unk_id} of ${model.vocab.length} pieces`)
  const tokenizer: Segmenter = new Tokenizer(read, {})
  const [end, padding] = [endName, paddingName].map((name) => requiredId(tokenizer, name)) as [number, number]
  const bytes = bytePieces(tokenizer, model.byte_fallback === true)

  const tokenize = (text: string): Int32Array => {
    const clean = text.replace(/\s+/g, ' ').trim()
    const { tokens, ids } = tokenizer.encode(clean, { add_special_tokens: false })
    const cut = ids.flatMap((id, index) => (id === model.unk_id ? bytes(tokens[index] as string, id) : [id]))
    return Int32Array.from([...cut, end])
  }
  const highest = read.added_tokens.reduce((most, { id }) => Math.max(most, id), model.vocab.length - 1)
  return {
    vocabulary: highest + 1,
    tokenize,
    encode: (text, length) => padded(tokenize(text), length, end, padding),
  }
}

function requiredId(tokenizer: Segmenter, name: string): number {
  const id = tokenizer.token_to_id(name)
  if (id === undefined)
    throw new GenerationError('model_format', `tokenizer: it has no ${name}; take the encoder's own`)
  return id
}

/** An unknown stretch of text as its bytes, where the vocabulary has all of them; the unknown token elsewhere. */
function bytePieces(tokenizer: Segmenter, wanted: boolean): (text: string, unknown: number) => number[] {
  const ids = Array.from({ length: 256 }, (_, byte) =>
    tokenizer.token_to_id(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  )
  const whole = wanted && ids.every((id) => id !== undefined)
  return (text, unknown) =>
    whole ? Array.from(new TextEncoder().encode(text), (byte) => ids[byte] as number) : [unknown]
}

function padded(tokens: Int32Array, length: number, end: number, padding: number): EncodedText {
  const truncated = tokens.length > length
  const kept = tokens.slice(0, length)
  if (truncated) kept[length - 1] = end
  const [ids, mask] = [new Int32Array(length).fill(padding), new Float32Array(length)]
  ids.set(kept)
  mask.fill(1, 0, kept.length)
  return { ids, mask, truncated }
}
