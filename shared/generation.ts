/**
 * The request for a generation: its fields, its limits, its canonical form and its content key.
 *
 * Field names are the wire's. What a model accepts beyond these limits is its card's business: `effective` merges the
 * two and refuses or, where asked, adjusts. The content key identifies a result by everything that decides its bytes.
 */

import * as v from 'valibot'
import { GenerationError } from './errors.ts'
import type { ModelCard } from './manifest.ts'
import { nearestOf } from './video.ts'

const promptBytes = 8192

const text = (name: string, least: number) =>
  v.pipe(
    v.string(`${name}: got no text, allowed is a string`),
    v.transform((value) => value.normalize('NFC')),
    v.check(
      (value) => [...value.trim()].length >= least,
      `${name}: got an empty text, allowed are 1 to 2000 characters; say what to show`,
    ),
    v.check(
      (value) => [...value].length <= 2000,
      (issue) => `${name}: got ${[...String(issue.input)].length} characters, allowed are 1 to 2000; shorten it`,
    ),
    v.check(
      (value) => new TextEncoder().encode(value).length <= promptBytes,
      `${name}: got more than ${promptBytes} bytes of UTF-8, allowed are ${promptBytes}; shorten it`,
    ),
    v.check(
      (value) => !value.includes('\0') && value.isWellFormed(),
      `${name}: got a null or broken character, allowed is well-formed Unicode; remove it`,
    ),
  )

const whole = (name: string, low: number, high: number) => {
  const message = (issue: { readonly input: unknown }) =>
    `${name}: got ${String(issue.input)}, allowed is a whole number from ${low} to ${high}`
  return v.pipe(
    v.number(message),
    v.check((value) => Number.isInteger(value) && value >= low && value <= high, message),
  )
}

const real = (name: string, low: number, high: number) => {
  const message = (issue: { readonly input: unknown }) =>
    `${name}: got ${String(issue.input)}, allowed is a number from ${low} to ${high}`
  return v.pipe(
    v.number(message),
    v.check((value) => value >= low && value <= high, message),
  )
}

export const outputFormats = ['mp4', 'webm', 'gif', 'webp', 'png', 'frames', 'latents'] as const

/** A request as sent; every field but the prompt may be left to the model. */
export const generationRequestSchema = v.strictObject({
  model: v.optional(v.string()),
  prompt: text('prompt', 1),
  negative_prompt: v.optional(text('negative_prompt', 0)),
  num_frames: v.optional(whole('num_frames', 1, 1024)),
  fps: v.optional(whole('fps', 1, 60)),
  size: v.optional(
    v.pipe(
      v.string(),
      v.regex(
        /^\d{1,5}x\d{1,5}$/,
        (issue) => `size: got ${String(issue.input)}, allowed is WIDTHxHEIGHT, for example 64x64`,
      ),
    ),
  ),
  num_inference_steps: v.optional(whole('num_inference_steps', 1, 1000)),
  guidance_scale: v.optional(real('guidance_scale', 0, 30)),
  seed: v.optional(whole('seed', 0, 4294967295)),
  n: v.optional(whole('n', 1, 4)),
  output_format: v.optional(v.picklist(outputFormats)),
})

export type GenerationRequest = v.InferInput<typeof generationRequestSchema>

/** A request with nothing left open: what is hashed is what is run. */
export interface EffectiveRequest {
  readonly model: string
  readonly revision: string
  readonly prompt: string
  readonly negative_prompt: string
  readonly num_frames: number
  readonly fps: number
  readonly width: number
  readonly height: number
  readonly num_inference_steps: number
  readonly guidance_scale: number
  readonly scheduler: string
  readonly seed: number
  readonly n: number
  readonly output_format: (typeof outputFormats)[number]
}

/**
 * Checks a request against the general limits.
 * @throws GenerationError invalid_parameter or unknown_parameter, in one sentence.
 */
export function parseRequest(data: unknown): v.InferOutput<typeof generationRequestSchema> {
  const result = v.safeParse(generationRequestSchema, data)
  if (result.success) return result.output
  const [issue] = result.issues
  const path = v.getDotPath(issue)
  const code = issue.type === 'strict_object' ? 'unknown_parameter' : 'invalid_parameter'
  const message =
    code === 'unknown_parameter' && path !== null ? `${path}: is not a field of a request; remove it` : issue.message
  throw new GenerationError(code, message, path === null ? {} : { pointer: `/${path.replaceAll('.', '/')}` })
}

/**
 * Fills a request from the model's card and holds it to the card's limits, adjusting nothing.
 * @param seed used where the request names none.
 * @throws GenerationError invalid_parameter naming what was got, what is allowed and the nearest allowed.
 */
export function effectiveRequest(data: unknown, card: ModelCard, seed: number): EffectiveRequest {
  const request = parseRequest(data)
  const { parameters } = card
  const [width, height] = (request.size ?? parameters.size.default).split('x').map(Number) as [number, number]
  const effective: EffectiveRequest = {
    model: card.id,
    revision: card.revision,
    prompt: request.prompt,
    negative_prompt: request.negative_prompt ?? '',
    num_frames: request.num_frames ?? parameters.num_frames.default,
    fps: request.fps ?? parameters.fps.default,
    width,
    height,
    num_inference_steps: request.num_inference_steps ?? parameters.num_inference_steps.default,
    guidance_scale: Math.round((request.guidance_scale ?? parameters.guidance_scale.default) * 1000) / 1000,
    scheduler: parameters.sampler,
    seed: request.seed ?? seed,
    n: request.n ?? 1,
    output_format: request.output_format ?? 'mp4',
  }
  checkAgainstCard(effective, card)
  return effective
}

function checkAgainstCard(request: EffectiveRequest, { id, parameters }: ModelCard): void {
  const refuse = (field: string, got: string | number, allowed: string): never => {
    throw new GenerationError('invalid_parameter', `${field}: got ${got}, ${id} allows ${allowed}`, {
      pointer: `/${field}`,
    })
  }
  const { num_frames: frames, size, num_inference_steps: steps, guidance_scale: guidance } = parameters
  const nearest = nearestOf(request.num_frames, frames)
  if (nearest !== request.num_frames) {
    refuse(
      'num_frames',
      request.num_frames,
      `${frames.stride}n + ${frames.offset} from ${frames.min} to ${frames.max}; use ${nearest}`,
    )
  }
  const sides = [request.width, request.height]
  if (
    sides.some((side) => side % size.multiple !== 0 || side < size.min || side > size.max) ||
    request.width * request.height > size.max_pixels
  ) {
    const fix = sides.map((side) => nearestOf(side, { ...size, stride: size.multiple, offset: 0 })).join('x')
    refuse(
      'size',
      `${request.width}x${request.height}`,
      `multiples of ${size.multiple} from ${size.min} to ${size.max}, at most ${size.max_pixels} pixels; try ${fix}`,
    )
  }
  if (steps.values !== undefined && !steps.values.includes(request.num_inference_steps)) {
    refuse('num_inference_steps', request.num_inference_steps, `one of ${steps.values.join(', ')}`)
  }
  if (request.num_inference_steps < steps.min || request.num_inference_steps > steps.max) {
    refuse('num_inference_steps', request.num_inference_steps, `${steps.min} to ${steps.max}`)
  }
  if (request.guidance_scale < guidance.min || request.guidance_scale > guidance.max) {
    refuse('guidance_scale', request.guidance_scale, `${guidance.min} to ${guidance.max}`)
  }
}

export interface KeyContext {
  readonly policyVersion: string
  readonly tenant: string
  readonly provider: string
  readonly weightsSha256: string
}

/** The canonical list that the key hashes; reals are whole thousandths, absence is null. */
export function canonicalForm(request: EffectiveRequest, context: KeyContext): string {
  const thousandths = (value: number) => Math.round(value * 1000)
  return JSON.stringify([
    'zt1',
    context.policyVersion,
    context.tenant,
    context.provider,
    request.model,
    request.revision,
    context.weightsSha256,
    request.prompt.normalize('NFC'),
    request.negative_prompt.normalize('NFC'),
    String(request.seed),
    request.n,
    request.num_inference_steps,
    thousandths(request.guidance_scale),
    null,
    null,
    request.scheduler,
    null,
    request.width,
    request.height,
    request.num_frames,
    request.fps,
    [],
    null,
    null,
    [],
    [],
    [],
    null,
    null,
    false,
    request.output_format,
    false,
    null,
    [],
  ])
}

/** `zt1_` and the base64url SHA-256 of the canonical form. */
export async function contentKey(request: EffectiveRequest, context: KeyContext): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(canonicalForm(request, context)))
  const base64 = btoa(String.fromCharCode(...new Uint8Array(digest)))
  return `zt1_${base64.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')}`
}
