/**
 * Bodies of requests, never longer than allowed and never trusted to be what they claim.
 */

import { GenerationError } from '../../../shared/errors.ts'

/** A JSON body may carry small latents as a data URI; whatever is larger comes as a file. */
export const jsonLimit = 2 ** 20

/**
 * Reads a body up to a limit in bytes.
 * @throws GenerationError payload_too_large as soon as it is longer, whatever its header claims.
 */
export async function readCapped(request: Request, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const refuse = (): never => {
    throw new GenerationError('payload_too_large', `body: longer than ${limit} bytes, which is what is allowed here`)
  }
  if (Number(request.headers.get('content-length') ?? 0) > limit) refuse()
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of request.body ?? []) {
    length += chunk.byteLength
    if (length > limit) refuse()
    chunks.push(chunk)
  }
  const whole = new Uint8Array(length)
  chunks.reduce((offset, chunk) => {
    whole.set(chunk, offset)
    return offset + chunk.byteLength
  }, 0)
  return whole
}

/**
 * Reads an object of JSON.
 * @throws GenerationError invalid_json.
 */
export async function readJson(request: Request): Promise<Readonly<Record<string, unknown>>> {
  const bytes = await readCapped(request, jsonLimit)
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // Where exactly it breaks helps nobody; the sentence below says what is wanted.
  }
  throw new GenerationError('invalid_json', 'body: is no JSON object in UTF-8; send one')
}

/** JSON with keys in order: equal for equal values, however they were written. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )
}
