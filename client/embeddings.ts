/**
 * A prompt's embeddings from the service, for models whose text encoder is too large for a device.
 *
 * Only the prompt's own tokens travel, in half precision: POST v1/embeddings/prompt (contract of the Worker and the node).
 */

import * as v from 'valibot'
import type { PromptEmbeddings } from '../models/pipeline/checkpoint.ts'
import { fromFloat16 } from '../models/weights/float16.ts'
import { GenerationError } from '../shared/errors.ts'
import { request, type Service } from './http.ts'

const count = v.pipe(v.number(), v.integer(), v.minValue(1))
const factsSchema = v.object({
  shape: v.tuple([v.literal(1), count, count]),
  dtype: v.literal('f16'),
  tokens: v.tuple([count]),
})

/** @throws GenerationError as the service refuses, or upstream_error for an answer that is no such tensor. */
export async function promptEmbeddings(
  service: Service,
  model: string,
  prompt: string,
  signal: AbortSignal,
): Promise<PromptEmbeddings> {
  const body = { model, prompt, dtype: 'f16' }
  const answer = await request(service, 'v1/embeddings/prompt', { method: 'POST', body }, signal)
  const facts = v.safeParse(v.pipe(v.string(), v.parseJson(), factsSchema), answer.headers.get('zoetrope-tensor') ?? '')
  const bytes = await answer.arrayBuffer()
  if (!facts.success) throw odd('no Zoetrope-Tensor of one prompt in f16')
  const { shape, tokens } = facts.output
  const [, rows, width] = shape
  const [own] = tokens
  if (bytes.byteLength !== 2 * rows * width || own > rows)
    throw odd(`${bytes.byteLength} bytes, its shape takes ${2 * rows * width}`)
  return { data: fromFloat16(new Uint16Array(bytes, 0, own * width)), count: own, width, truncated: false }
}

const odd = (got: string): GenerationError =>
  new GenerationError('upstream_error', `embeddings: got ${got}; the service does not fit this version`)
