/**
 * A small unigram tokenizer in both forms that T5's and UMT5's come in: a metaspace, scores, an end token.
 */

import { message } from '../../models/onnx/protobuf.ts'

type Piece = readonly [piece: string, score: number]

const words: readonly Piece[] = [
  ['▁', -3],
  ['▁a', -3.2],
  ['▁red', -5],
  ['▁fox', -5.5],
  ['▁runs', -6],
  ['▁run', -5.8],
  ['s', -3.4],
  ['▁fo', -5.2],
  ['x', -4],
  ['r', -4.1],
  ['f', -4.5],
  ['e', -3.9],
  ['d', -4.3],
  ['o', -4.2],
  ['u', -4.6],
  ['n', -4.4],
  ['▁over', -5.1],
  ['▁the', -4.5],
  ['▁sea', -5.6],
  ['t', -4],
  ['h', -4.2],
  ['a', -3.8],
  ['v', -4.9],
  ['ea', -4.7],
  ['un', -4.8],
]

/** Ids 0, 1 and 2 are padding, end and unknown, as T5 has them; `bytes` adds UMT5's 256 byte pieces behind those. */
export function toyTokenizer({ bytes = false } = {}) {
  const special = ['<pad>', '</s>', '<unk>']
  const bytePieces = Array.from(
    { length: bytes ? 256 : 0 },
    (_, byte): Piece => [`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`, 0],
  )
  // Scores are single-precision numbers in either form.
  const scored = words.map(([piece, score]): Piece => [piece, Math.fround(score)])
  const vocab: Piece[] = [...special.map((name): Piece => [name, 0]), ...bytePieces, ...scored]
  return {
    version: '1.0',
    added_tokens: special.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: { type: 'Precompiled', precompiled_charsmap: null },
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', add_prefix_space: true, prepend_scheme: 'always' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
      pair: [],
      special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
    },
    decoder: { type: 'Metaspace', replacement: '▁', add_prefix_space: true, prepend_scheme: 'always' },
    model: { type: 'Unigram', unk_id: 2, vocab, byte_fallback: bytes },
  }
}

/** The same vocabulary as a spiece.model: google/sentencepiece's ModelProto. */
export function toySpiece({ bytes = false, charsmap = true, prefix = true, modelType = 1 } = {}): Uint8Array {
  const { vocab, unk_id } = toyTokenizer({ bytes }).model
  const model = message()
  vocab.forEach(([piece, score], id) => {
    const type = id === unk_id ? 2 : id < 3 ? 3 : id < 3 + (bytes ? 256 : 0) ? 6 : 1
    model.message(1, (entry) => {
      entry.text(1, piece as string).float(2, score as number)
      if (type !== 1) entry.integer(3, type)
    })
  })
  model.message(2, (trainer) =>
    trainer
      .integer(3, modelType)
      .integer(4, vocab.length)
      .integer(35, bytes ? 1 : 0),
  )
  // What the map says is stood in for; that there is one counts.
  model.message(3, (normalizer) => {
    normalizer
      .text(1, 'nmt_nfkc')
      .integer(3, prefix ? 1 : 0)
      .integer(4, 1)
    if (charsmap) normalizer.data(2, Uint8Array.of(1, 2, 3))
  })
  return model.bytes()
}
