/**
 * A version's `openapi_schema`, as Replicate's clients read it: what `input` may hold, with the card's own limits.
 */

import type { ModelCard } from '../../../shared/manifest.ts'
import { latentDTypes } from './latent-file.ts'
import { contentTypes } from './outputs.ts'

type Property = Readonly<Record<string, unknown>>

/** The schema of a model's input and output. */
export function openapiSchema(card: ModelCard) {
  return {
    openapi: '3.0.2',
    info: { title: card.id, version: card.revision, description: card.summary },
    paths: {},
    components: {
      schemas: {
        Input: { type: 'object', title: 'Input', required: ['prompt'], properties: ordered(inputProperties(card)) },
        Output: { type: 'string', format: 'uri', title: 'Output', description: 'a list of them where n is above 1' },
      },
    },
  }
}

const ordered = (properties: Readonly<Record<string, Property>>) =>
  Object.fromEntries(Object.entries(properties).map(([name, each], index) => [name, { ...each, 'x-order': index }]))

function inputProperties({ parameters }: ModelCard): Readonly<Record<string, Property>> {
  const { num_frames: frames, fps, size, num_inference_steps: steps, guidance_scale: guidance } = parameters
  const [width, height] = size.default.split('x').map(Number)
  const side = { type: 'integer', minimum: size.min, maximum: size.max, multipleOf: size.multiple }
  return {
    prompt: { type: 'string', description: 'what to show' },
    negative_prompt: { type: 'string', default: '', description: 'what to keep away from' },
    num_frames: {
      type: 'integer',
      minimum: frames.min,
      maximum: frames.max,
      default: frames.default,
      description: `${frames.stride}n + ${frames.offset}`,
    },
    fps: { type: 'integer', minimum: 1, maximum: 60, default: fps.default },
    width: { ...side, default: width, description: `at most ${size.max_pixels} pixels in all` },
    height: { ...side, default: height },
    num_inference_steps: {
      type: 'integer',
      minimum: steps.min,
      maximum: steps.max,
      default: steps.default,
      ...(steps.values === undefined ? {} : { enum: steps.values }),
    },
    guidance_scale: { type: 'number', minimum: guidance.min, maximum: guidance.max, default: guidance.default },
    seed: { type: 'integer', minimum: 0, maximum: 4294967295, description: 'drawn where left out' },
    n: { type: 'integer', minimum: 1, maximum: 4, default: 1 },
    output_format: { type: 'string', enum: Object.keys(contentTypes), default: 'mp4' },
    ...latentProperties,
  }
}

const latentProperties: Readonly<Record<string, Property>> = {
  init_latent: { type: 'string', format: 'uri', description: 'raw latents to begin from: a file of this node' },
  envelope: { type: 'object', description: 'the facts of init_latent, checked against the request' },
  start_step: { type: 'integer', minimum: 0, description: 'steps that init_latent has behind it' },
  stop_step: { type: 'integer', minimum: 1, description: 'steps done in all when the run stops; gives latents' },
  keep_step: { type: 'integer', minimum: 1, description: 'steps after which the latents are kept beside the output' },
  latent_dtype: { type: 'string', enum: latentDTypes, default: 'f32' },
}
