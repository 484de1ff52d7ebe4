/**
 * A sentencepiece model (spiece.model) as the description that a tokenizer.json gives.
 *
 * The file is one protobuf message; read are the fields that decide ids: pieces with score and type, the kind of model,
 * the special ids, byte fallback, and whether texts are normalised and begin with a space. Format: google/sentencepiece,
 * src/sentencepiece_model.proto; wire: protobuf.dev, "Encoding". Segmentation itself is sentencepiece.ts's.
 */

import { GenerationError } from '../../shared/errors.ts'

/** What sentencepiece.ts reads of a tokenizer.json. */
export interface TokenizerDescription {
  readonly version: '1.0'
  readonly added_tokens: readonly AddedToken[]
  readonly normalizer: { readonly type: 'Precompiled'; readonly precompiled_charsmap: null } | null
  readonly pre_tokenizer: Metaspace
  readonly post_processor: null
  readonly decoder: Metaspace
  readonly model: {
    readonly type: 'Unigram'
    readonly unk_id: number
    readonly vocab: readonly (readonly [string, number])[]
    readonly byte_fallback: boolean
  }
}

interface AddedToken {
  readonly id: number
  readonly content: string
  readonly single_word: false
  readonly lstrip: false
  readonly rstrip: false
  readonly normalized: false
  readonly special: boolean
}

interface Metaspace {
  readonly type: 'Metaspace'
  readonly replacement: '▁'
  readonly add_prefix_space: boolean
  readonly prepend_scheme: 'always' | 'never'
}

/** ModelProto */
const modelFields = { pieces: 1, trainer: 2, normalizer: 3 } as const
/** SentencePiece, and its types */
const pieceFields = { piece: 1, score: 2, type: 3 } as const
const pieceTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4 } as const
/** TrainerSpec */
const trainerFields = { modelType: 3, byteFallback: 35 } as const
const unigram = 1
/** NormalizerSpec */
const normalizerFields = { charsmap: 2, dummyPrefix: 3 } as const

/**
 * Reads a spiece.model.
 * @throws GenerationError model_format for what is no unigram model of sentencepiece.
 */
export function readSpiece(bytes: Uint8Array): TokenizerDescription {
  const file = fieldsOf(bytes)
  const pieces = every(file, modelFields.pieces).map(pieceOf)
  const trainer = fieldsOf(last(file, modelFields.trainer) ?? new Uint8Array())
  const normalizer = fieldsOf(last(file, modelFields.normalizer) ?? new Uint8Array())
  const kind = number(trainer, trainerFields.modelType, unigram)
  if (kind !== unigram) fail(`it is a model of type ${kind}, allowed is ${unigram}, unigram`)
  const unknown = pieces.findIndex(({ type }) => type === pieceTypes.unknown)
  if (unknown < 0) fail(`none of its ${pieces.length} pieces is the unknown one; the file is damaged`)
  const prefixed = number(normalizer, normalizerFields.dummyPrefix, 1) !== 0
  const metaspace: Metaspace = {
    type: 'Metaspace',
    replacement: '▁',
    add_prefix_space: prefixed,
    prepend_scheme: prefixed ? 'always' : 'never',
  }
  const mapped = (last(normalizer, normalizerFields.charsmap)?.length ?? 0) > 0
  return {
    version: '1.0',
    added_tokens: pieces.flatMap(({ piece, type }, id) => addedToken(piece, type, id)),
    normalizer: mapped ? { type: 'Precompiled', precompiled_charsmap: null } : null,
    pre_tokenizer: metaspace,
    post_processor: null,
    decoder: metaspace,
    model: {
      type: 'Unigram',
      unk_id: unknown,
      vocab: pieces.map(({ piece, score }) => [piece, score] as const),
      byte_fallback: number(trainer, trainerFields.byteFallback, 0) !== 0,
    },
  }
}

/** Pieces that are taken whole before a text is cut. */
function addedToken(content: string, type: number, id: number): AddedToken[] {
  const special = type === pieceTypes.control || type === pieceTypes.unknown
  if (!special && type !== pieceTypes.userDefined) return []
  return [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special }]
}

interface Piece {
  readonly piece: string
  readonly score: number
  readonly type: number
}

function pieceOf(bytes: Uint8Array): Piece {
  const fields = fieldsOf(bytes)
  const text = last(fields, pieceFields.piece)
  const score = fields.findLast(({ field }) => field === pieceFields.score)?.value
  if (text === undefined) return fail('a piece has no text; the file is damaged')
  return {
    piece: new TextDecoder().decode(text),
    score: score instanceof Uint8Array && score.length === 4 ? floatOf(score) : 0,
    type: number(fields, pieceFields.type, pieceTypes.normal),
  }
}

const floatOf = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true)

/** A field of a message: a varint as a number, everything else as its bytes. */
interface Field {
  readonly field: number
  readonly value: number | Uint8Array
}

const every = (fields: readonly Field[], wanted: number): Uint8Array[] =>
  fields.flatMap(({ field, value }) => (field === wanted && value instanceof Uint8Array ? [value] : []))

/** Of a field that was written twice, the last one counts. */
const last = (fields: readonly Field[], wanted: number): Uint8Array | undefined => every(fields, wanted).at(-1)

function number(fields: readonly Field[], wanted: number, otherwise: number): number {
  const value = fields.findLast(({ field }) => field === wanted)?.value
  return typeof value === 'number' ? value : otherwise
}

/** The fields of a message, in their order. @throws GenerationError where they do not fill it exactly. */
function fieldsOf(bytes: Uint8Array): Field[] {
  const fields: Field[] = []
  let cursor = 0
  const varint = (): number => {
    let [value, scale] = [0, 1]
    for (let group = 0; group < 10; group++) {
      const byte = bytes[cursor++]
      if (byte === undefined) return fail('it ends within a number; the file is cut short or no sentencepiece model')
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 0x80
    }
    return fail('it has a number of more than ten bytes; it is no sentencepiece model')
  }
  const taken = (length: number): Uint8Array => {
    if (length > bytes.length - cursor)
      fail(`a field claims ${length} bytes, ${bytes.length - cursor} are left; the file is cut short or damaged`)
    cursor += length
    return bytes.subarray(cursor - length, cursor)
  }
  while (cursor < bytes.length) {
    const key = varint()
    const [field, wire] = [Math.floor(key / 8), key % 8]
    if (wire === 0) fields.push({ field, value: varint() })
    else if (wire === 1) fields.push({ field, value: taken(8) })
    else if (wire === 2) fields.push({ field, value: taken(varint()) })
    else if (wire === 5) fields.push({ field, value: taken(4) })
    else fail(`it has a field of wire type ${wire}; it is no sentencepiece model`)
  }
  return fields
}

function fail(message: string): never {
  throw new GenerationError('model_format', `tokenizer: ${message}`)
}
