/**
 * The catalog of models: what each accepts, makes and costs, as the wire says it.
 *
 * Data only. Own models come from their cards, cloud models from the edge's table; both hold to this one schema.
 */

import * as v from 'valibot'
import { type CostedClip, modelCostSchema } from './cost.ts'
import { latentSpaceSchema, type ModelCard } from './manifest.ts'
import { cosineSamplers } from './plan.ts'
import { controlTypes, frameTypes, outputFormats } from './request.ts'

const count = v.pipe(v.number(), v.integer(), v.minValue(0))
const range = v.object({ min: v.number(), max: v.number(), default: v.number() })

export const parametersSchema = v.object({
  /** stride·k + offset, from min to max. */
  num_frames: v.optional(v.object({ min: count, max: count, stride: count, offset: count, default: count })),
  /** Seconds, where a model counts in them. */
  duration: v.optional(v.object({ values: v.array(v.number()), default: v.number() })),
  fps: v.object({ values: v.array(count), default: count }),
  size: v.object({
    multiple: v.optional(count),
    min: v.optional(count),
    max: v.optional(count),
    max_pixels: v.optional(count),
    /** WxH, where a model knows only some. */
    values: v.optional(v.array(v.string())),
    default: v.string(),
    aspect_ratios: v.optional(v.array(v.string())),
  }),
  num_inference_steps: v.optional(
    v.object({ values: v.optional(v.array(count)), min: count, max: count, default: count }),
  ),
  guidance_scale: v.optional(range),
  guidance_scale_2: v.optional(range),
  flow_shift: v.optional(range),
  strength: v.boolean(),
  schedulers: v.array(v.string()),
  seed: v.boolean(),
  negative_prompt: v.boolean(),
  prompt_required: v.boolean(),
  max_n: count,
  frame_types: v.array(v.picklist(frameTypes)),
  control_types: v.array(v.picklist(controlTypes)),
  loras: v.array(v.string()),
  interpolate: v.array(count),
  upscale: v.array(count),
  generate_audio: v.boolean(),
  video: v.boolean(),
  audio: v.boolean(),
  /** How many reference images; 0 is none. */
  input_references: count,
  init_latent: v.boolean(),
})

export const pricingUnits = ['run', 'video_second', 'megapixel_frame_step'] as const

export const catalogModelSchema = v.object({
  id: v.string(),
  revision: v.string(),
  family: v.string(),
  summary: v.string(),
  modes: v.array(v.picklist(['t2v', 'i2v', 'v2v', 'extend'])),
  inference_sources: v.array(v.picklist(['on_device', 'in_cloud'])),
  providers: v.array(v.string()),
  parameters: parametersSchema,
  outputs: v.array(v.picklist(outputFormats)),
  provider_options: v.record(v.string(), v.array(v.string())),
  device: v.nullable(
    v.object({
      download_bytes: count,
      memory_bytes: count,
      features: v.array(v.string()),
      dtypes: v.array(v.string()),
      manifest_url: v.string(),
      /** What a clip costs there; absent where nobody counted. */
      cost: v.optional(modelCostSchema),
    }),
  ),
  pricing: v.object({ unit: v.picklist(pricingUnits), usd: v.string() }),
  license: v.string(),
  /** Where it denoises and by which rows; null where its runs cannot be handed over. */
  latents: v.nullable(latentSpaceSchema),
  /** Of all weights together; null where nobody outside knows them. */
  weights_sha256: v.nullable(v.string()),
})

export const catalogSchema = v.object({
  object: v.literal('list'),
  default_model: v.string(),
  data: v.array(catalogModelSchema),
})

export type Parameters = v.InferOutput<typeof parametersSchema>
export type CatalogModel = v.InferOutput<typeof catalogModelSchema>
export type Catalog = v.InferOutput<typeof catalogSchema>

/** Dials that most models lack; a model's entry names what it has. */
export const noParameters = {
  strength: false,
  schedulers: [],
  seed: true,
  negative_prompt: false,
  prompt_required: true,
  max_n: 4,
  frame_types: [],
  control_types: [],
  loras: [],
  interpolate: [],
  upscale: [],
  generate_audio: false,
  video: false,
  audio: false,
  input_references: 0,
  init_latent: false,
} satisfies Partial<Parameters>

/** What the denoiser holds at once besides its weights; a generous bound for admission, measured by nobody. */
const workingBytesPerPixelFrame = 64

/** The entry of one of our own models. */
export function catalogModelOf(card: ModelCard): CatalogModel {
  const { parameters, weights } = card
  const download = weights.denoiser.bytes + weights.autoencoder.bytes
  const { sampler, fps, ...dials } = parameters
  const latents = card.latents ?? null
  // A network of ours says the same whoever walks the plan; a released one has its own.
  const others = latents?.plan === 'cosine' ? cosineSamplers.filter((other) => other !== sampler) : []
  return {
    id: card.id,
    revision: card.revision,
    family: card.family,
    summary: card.summary,
    modes: ['t2v'],
    inference_sources: ['on_device', 'in_cloud'],
    providers: ['node'],
    parameters: {
      ...noParameters,
      ...dials,
      fps: { values: [fps.default], default: fps.default },
      schedulers: [sampler, ...others],
      negative_prompt: true,
      init_latent: latents !== null,
    },
    outputs: ['mp4', 'gif', 'webp', 'png', 'frames', 'latents'],
    provider_options: { node: [] },
    device: {
      download_bytes: download,
      memory_bytes: 2 * download + parameters.size.max_pixels * parameters.num_frames.max * workingBytesPerPixelFrame,
      features: [],
      dtypes: ['f32'],
      manifest_url: `/v1/models/${card.id}/manifest`,
      ...(card.cost === undefined ? {} : { cost: card.cost }),
    },
    pricing: { unit: 'megapixel_frame_step', usd: '0.000000' },
    license: card.license,
    latents,
    weights_sha256: weights.denoiser.sha256,
  }
}

/** As much of a model's dials as its standard clip takes. */
export type StandardParameters = Pick<Parameters, 'num_frames' | 'num_inference_steps' | 'guidance_scale'> & {
  readonly size: Pick<Parameters['size'], 'default'>
}

/** The clip that a model makes where a request says nothing: what `ms_per_step` of a device report is told for. */
export function standardClip({
  num_frames,
  size,
  num_inference_steps,
  guidance_scale,
}: StandardParameters): CostedClip {
  const [width = 0, height = 0] = size.default.split('x').map(Number)
  return {
    width,
    height,
    num_frames: num_frames?.default ?? 1,
    num_inference_steps: num_inference_steps?.default ?? null,
    guidance_scale: guidance_scale?.default ?? null,
  }
}
