/**
 * JSON bodies read strictly: small, shallow, well-formed Unicode, and no key twice.
 *
 * JSON.parse lets the last of two equal keys win and a reader downstream may let the first; what is checked must be
 * what is meant. Source: RFC 8259 §4, RFC 7493 (I-JSON).
 */

import { GenerationError } from '../shared/errors.ts'

export const bodyLimit = 65_536
const depthLimit = 16

/**
 * Reads a stream no further than a limit.
 * @throws GenerationError payload_too_large, after at most one piece beyond the limit.
 */
export async function readLimited(
  body: ReadableStream<Uint8Array> | null,
  limit: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = []
  let size = 0
  if (body !== null) {
    const reader = body.getReader()
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      size += piece.value.length
      if (size > limit) {
        await reader.cancel()
        throw tooLarge(limit)
      }
      pieces.push(piece.value)
    }
  }
  const bytes = new Uint8Array(size)
  let offset = 0
  for (const piece of pieces) {
    bytes.set(piece, offset)
    offset += piece.length
  }
  return bytes
}

/** A body that says how long it is comes in one piece; any other is read no further than the limit. */
async function bodyOf(request: Request): Promise<Uint8Array> {
  const declared = request.headers.get('content-length')
  if (declared === null || !(Number(declared) <= bodyLimit)) return readLimited(request.body, bodyLimit)
  const bytes = new Uint8Array(await request.arrayBuffer())
  if (bytes.length > bodyLimit) throw tooLarge(bodyLimit)
  return bytes
}

const tooLarge = (limit: number): GenerationError =>
  new GenerationError('payload_too_large', `body: got more than ${limit} bytes, allowed are ${limit}; send less`)

/**
 * The JSON body of a request.
 * @throws GenerationError unsupported_media_type, payload_too_large or invalid_json.
 */
export async function readJson(request: Request): Promise<unknown> {
  const encoding = request.headers.get('content-encoding')
  if (encoding !== null) {
    throw new GenerationError('unsupported_media_type', `content-encoding: got ${encoding}, allowed is none`)
  }
  const type = request.headers.get('content-type') ?? 'nothing'
  if (!/^application\/json\s*(;\s*charset=utf-8\s*)?$/i.test(type)) {
    throw new GenerationError('unsupported_media_type', `content-type: got ${type}, allowed is application/json`)
  }
  const bytes = await bodyOf(request)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw invalid('is not well-formed UTF-8')
  }
  return parseStrict(text)
}

const invalid = (what: string): GenerationError => new GenerationError('invalid_json', `body: ${what}`)

/**
 * Parses JSON, refusing what readers disagree about.
 * @throws GenerationError invalid_json.
 */
export function parseStrict(text: string): unknown {
  checkStructure(text)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw invalid(`is no JSON (${error instanceof Error ? error.message : 'it cannot be read'})`)
  }
}

const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/gs

/** One pass over the tokens: depth, keys per object, lone surrogates. Grammar is JSON.parse's business. */
function checkStructure(text: string): void {
  const open: (Set<string> | null)[] = []
  let key: string | undefined
  for (const [part] of text.matchAll(token)) {
    if (part === '{' || part === '[') open.push(part === '{' ? new Set() : null)
    else if (part === '}' || part === ']') open.pop()
    else if (part === ':') claim(open.at(-1), key)
    if (open.length > depthLimit) throw invalid(`is nested deeper than ${depthLimit}; flatten it`)
    key = part.startsWith('"') ? decoded(part) : undefined
  }
}

function claim(keys: Set<string> | null | undefined, key: string | undefined): void {
  if (key === undefined || !keys) return
  if (keys.has(key)) throw invalid(`has the key ${JSON.stringify(key)} twice; remove one`)
  keys.add(key)
}

function decoded(part: string): string {
  let value: unknown
  try {
    value = JSON.parse(part)
  } catch {
    throw invalid('holds a text that is no JSON string')
  }
  if (typeof value !== 'string' || !value.isWellFormed()) throw invalid('holds a lone surrogate; send whole characters')
  return value
}
