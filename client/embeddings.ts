/**
 * A prompt's embeddings from the service, for models whose text encoder is too large for a device.
 *
 * Only the prompt's own tokens travel, in half precision: POST v1/embeddings/prompt (contract of the Worker and the node).
 */

import * as v from 'valibot'
import type { PromptEmbeddings } from '../models/pipeline/known-texts.ts'
import { fromFloat16 } from '../models/weights/float16.ts'
import { GenerationError } from '../shared/errors.ts'
import { request, type Service } from './http.ts'

const count = v.pipe(v.number(), v.integer(), v.minValue(1))
const factsSchema = v.object({
  shape: v.tuple([count, count, count]),
  dtype: v.literal('f16'),
  tokens: v.array(v.pipe(v.number(), v.integer(), v.minValue(0))),
})

/**
 * Embeddings of a prompt, or of it and its negative, by text.
 * @throws GenerationError as the service refuses, or upstream_error for an answer that is no such tensor.
 */
export async function embeddedTexts(
  service: Service,
  model: string,
  texts: readonly string[],
  signal: AbortSignal,
): Promise<(readonly [prompt: string, text: PromptEmbeddings])[]> {
  const [prompt, negative] = texts
  const body = { model, prompt, ...(negative === undefined ? {} : { negative_prompt: negative }), dtype: 'f16' }
  const answer = await request(service, 'v1/embeddings/prompt', { method: 'POST', body }, signal)
  const facts = v.safeParse(v.pipe(v.string(), v.parseJson(), factsSchema), answer.headers.get('zoetrope-tensor') ?? '')
  const bytes = await answer.arrayBuffer()
  if (!facts.success) throw odd('no Zoetrope-Tensor in f16')
  const { shape, tokens } = facts.output
  const [batch, rows, width] = shape
  if (batch !== texts.length || tokens.length !== batch || Math.max(...tokens) > rows)
    throw odd(`${batch} texts of ${tokens.join(', ')} tokens, ${texts.length} were sent`)
  if (bytes.byteLength !== 2 * batch * rows * width)
    throw odd(`${bytes.byteLength} bytes, its shape takes ${2 * batch * rows * width}`)
  return texts.map((text, index) => {
    const own = tokens[index] as number
    const data = fromFloat16(new Uint16Array(bytes, 2 * index * rows * width, own * width))
    return [text.normalize('NFC'), { data, count: own, width, truncated: false }] as const
  })
}

const odd = (got: string): GenerationError =>
  new GenerationError('upstream_error', `embeddings: got ${got}; the service does not fit this version`)
