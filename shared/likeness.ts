/**
 * How like two prompts are: the cosine of the means of their tokens' embeddings.
 *
 * The encoder is trained with the denoiser, so what is near here looks alike there. Knows no cache.
 */

import * as v from 'valibot'
import { GenerationError } from './errors.ts'
import { floatsOf } from './handoff.ts'

const describedSchema = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({ shape: v.tuple([v.number(), v.number(), v.number()]), tokens: v.tupleWithRest([v.number()], v.number()) }),
)

/** Embeddings in half precision [texts, length, width], and what is said of them. */
export interface PromptTensor {
  readonly bytes: ArrayBuffer
  /** JSON: `shape`, and how many `tokens` are each text's own. */
  readonly description: string
}

/**
 * The mean over a prompt's own tokens, of length one.
 * @throws GenerationError upstream_error where the tensor is not what it should be.
 */
export function pooled({ bytes, description }: PromptTensor): Float32Array {
  const described = v.safeParse(describedSchema, description)
  const values = floatsOf(new Uint8Array(bytes), 'f16')
  const refuse = () => new GenerationError('upstream_error', 'embeddings: the tensor is not as it is described')
  if (!described.success) throw refuse()
  const { shape, tokens } = described.output
  const [[, length, width], [count]] = [shape, tokens]
  if (values.length !== length * width || count < 1 || count > length) throw refuse()
  const sum = new Float32Array(width)
  for (let at = 0; at < count * width; at++) sum[at % width] = (sum[at % width] as number) + (values[at] as number)
  const norm = Math.hypot(...sum)
  if (!(norm > 0)) throw refuse()
  return sum.map((value) => value / norm)
}

/** Of vectors of length one; of vectors of two encoders nothing can be said. */
export function cosine(one: Float32Array, other: Float32Array): number {
  if (one.length !== other.length) return Number.NEGATIVE_INFINITY
  return Math.min(
    1,
    one.reduce((total, value, at) => total + value * (other[at] as number), 0),
  )
}
