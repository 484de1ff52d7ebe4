/**
 * A generation by one of our own models: the request held to the model's card, adjusting nothing.
 *
 * What the command line and the GPU node run. The edge resolves requests for any model (effective.ts) and tells what
 * it adjusted; here everything must fit as sent.
 */

import { catalogModelOf } from './catalog.ts'
import { type EffectiveVideo, resolveRequest } from './effective.ts'
import { GenerationError } from './errors.ts'
import type { ModelCard } from './manifest.ts'
import { parseRequest } from './request.ts'

export { canonicalForm, contentKey, type KeyContext } from './content-key.ts'
export { outputFormats, parseRequest, type VideoRequest as GenerationRequest } from './request.ts'

/** A request with nothing left open: what is hashed is what is run. Our own models have all three dials. */
export interface EffectiveRequest extends EffectiveVideo {
  readonly num_inference_steps: number
  readonly guidance_scale: number
  readonly scheduler: string
}

/**
 * Fills a request from the model's card and holds it to the card's limits, adjusting nothing.
 * @param seed used where the request names none.
 * @throws GenerationError naming what was got, what is allowed and the nearest allowed.
 */
export function effectiveRequest(data: unknown, card: ModelCard, seed: number): EffectiveRequest {
  const request = parseRequest(data)
  const effective = asSent(() => resolveRequest({ ...request, strict: true }, catalogModelOf(card), { seed }).effective)
  const { num_inference_steps: steps, guidance_scale: guidance, scheduler } = effective
  if (steps === null || guidance === null || scheduler === null) {
    throw new GenerationError('model_format', `${card.id}: its card lacks steps, guidance or a sampler`)
  }
  return { ...effective, num_inference_steps: steps, guidance_scale: guidance, scheduler }
}

/** Here nobody asked to be strict: what does not fit is simply wrong. */
function asSent<Value>(resolve: () => Value): Value {
  try {
    return resolve()
  } catch (error) {
    if (!(error instanceof GenerationError) || error.code !== 'strict_mismatch') throw error
    const { message, pointer } = error
    throw new GenerationError('invalid_parameter', message, pointer === undefined ? {} : { pointer })
  }
}
