/**
 * A small unigram tokenizer.json, in the form that T5's and UMT5's have: a metaspace, scores, an end token.
 */

const words: readonly (readonly [string, number])[] = [
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
  const bytePieces = Array.from({ length: bytes ? 256 : 0 }, (_, byte) => [
    `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
    0,
  ])
  const vocab = [...special.map((name) => [name, 0]), ...bytePieces, ...words]
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
