/**
 * A model's card: what it is, where its weights are, what it accepts. Data only; read by every house.
 *
 * Cards are JSON files in models/cards, checked here before anything trusts them.
 */

import * as v from 'valibot'
import { modelCostSchema } from './cost.ts'
import { GenerationError } from './errors.ts'
import { planNames } from './plan.ts'

const count = v.pipe(v.number(), v.integer(), v.minValue(0))
const progression = v.strictObject({ min: count, max: count, stride: count, offset: count, default: count })

/** A file of weights and what it must hash to. */
export const weightsReferenceSchema = v.strictObject({
  file: v.pipe(v.string(), v.regex(/^[\w.-]+\.safetensors$/)),
  bytes: count,
  sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
})

/** Where a model denoises and by which rows: all that must be known to hand its runs over. */
export const latentSpaceSchema = v.strictObject({
  channels: count,
  /** Frames to a latent frame, after the first. */
  temporal: count,
  /** Pixels to a latent's side. */
  spatial: count,
  plan: v.picklist(planNames),
})

export const modelCardSchema = v.strictObject({
  id: v.pipe(v.string(), v.regex(/^[a-z0-9-]+$/)),
  revision: v.string(),
  /** Latents of one family fit each other's decoders. */
  family: v.string(),
  /** Absent, its runs are handed over nowhere. */
  latents: v.optional(latentSpaceSchema),
  summary: v.string(),
  license: v.string(),
  /** Network sizes by name, and what of them the weights fix. */
  architecture: v.strictObject({
    denoiser: v.string(),
    textEncoder: v.string(),
    autoencoder: v.string(),
    guided: v.boolean(),
    tokenizer: v.string(),
    /** How many numbers a cell passes to the frame before and after; none in models of before. */
    passes: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1024))),
  }),
  prediction: v.picklist(['noise', 'sample', 'velocity', 'flow']),
  schedule: v.literal('cosine'),
  weights: v.strictObject({ denoiser: weightsReferenceSchema, autoencoder: weightsReferenceSchema }),
  parameters: v.strictObject({
    num_frames: progression,
    fps: v.strictObject({ default: count }),
    size: v.strictObject({ multiple: count, min: count, max: count, max_pixels: count, default: v.string() }),
    num_inference_steps: v.strictObject({ values: v.optional(v.array(count)), min: count, max: count, default: count }),
    guidance_scale: v.strictObject({ min: v.number(), max: v.number(), default: v.number() }),
    sampler: v.picklist(['ddim', 'dpm2m']),
  }),
  /** What a clip costs; read off the networks when the card is written. */
  cost: v.optional(modelCostSchema),
  training: v.record(v.string(), v.union([v.string(), v.number()])),
  figures: v.record(v.string(), v.union([v.string(), v.number()])),
})

export type ModelCard = v.InferOutput<typeof modelCardSchema>
export type WeightsReference = v.InferOutput<typeof weightsReferenceSchema>

/**
 * Checks a card.
 * @throws GenerationError model_format naming the first field that is wrong.
 */
export function readCard(data: unknown): ModelCard {
  const result = v.safeParse(modelCardSchema, data)
  if (result.success) return result.output
  const [issue] = result.issues
  const field = v.getDotPath(issue) ?? 'the card'
  throw new GenerationError('model_format', `card: ${field}: ${issue.message}`, { cause: result.issues })
}
