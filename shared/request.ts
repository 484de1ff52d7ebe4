/**
 * The request for a video as it is sent: its fields and their general limits.
 *
 * Field names are the wire's. What a model accepts beyond these limits is the catalog's business (effective.ts).
 * Source: docs/http.md, "The request".
 */

import * as v from 'valibot'
import { GenerationError } from './errors.ts'

const promptBytes = 8192

const text = (name: string, least: number) =>
  v.pipe(
    v.string(`${name}: got no text, allowed is a string`),
    v.check(
      (value) => !value.includes('\0') && value.isWellFormed(),
      `${name}: got a null or broken character, allowed is well-formed Unicode; remove it`,
    ),
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
  )

const whole = (name: string, low: number, high: number) => {
  const message = (issue: { readonly input: unknown }) =>
    `${name}: got ${String(issue.input)}, allowed is a whole number from ${low} to ${high}`
  return v.pipe(v.number(message), v.integer(message), v.minValue(low, message), v.maxValue(high, message))
}

const real = (name: string, low: number, high: number) => {
  const message = (issue: { readonly input: unknown }) =>
    `${name}: got ${String(issue.input)}, allowed is a number from ${low} to ${high}`
  return v.pipe(v.number(message), v.finite(message), v.minValue(low, message), v.maxValue(high, message))
}

const shaped = (name: string, pattern: RegExp, allowed: string) =>
  v.pipe(
    v.string(`${name}: got no text, allowed is ${allowed}`),
    v.regex(pattern, (issue) => `${name}: got ${String(issue.input).slice(0, 80)}, allowed is ${allowed}`),
  )

const atMost = <Item extends v.GenericSchema>(name: string, item: Item, most: number) =>
  v.pipe(v.array(item), v.maxLength(most, `${name}: got more than ${most} entries, allowed are ${most}; send fewer`))

/** 128 random bits after the prefix, in lower-case base 32. */
export const idPattern = (prefix: string): RegExp => new RegExp(`^${prefix}_[a-z2-7]{26}$`)

const asset = (name: string) => shaped(name, idPattern('ast'), 'the id of an asset, ast_…; upload it first')

/** What an output may be. png is made by the command line alone. */
export const outputFormats = ['mp4', 'webm', 'gif', 'webp', 'png', 'frames', 'latents'] as const
export type OutputFormat = (typeof outputFormats)[number]

export const inferenceModes = ['prefer_on_device', 'only_on_device', 'prefer_in_cloud', 'only_in_cloud'] as const
export type InferenceMode = (typeof inferenceModes)[number]

export const frameTypes = ['first_frame', 'last_frame'] as const
export const controlTypes = ['depth', 'pose', 'edge', 'segmentation', 'scribble'] as const

const frameImageSchema = v.strictObject({
  image: asset('frame_images.image'),
  frame_type: v.picklist(frameTypes),
})

const controlSchema = v.strictObject({
  type: v.picklist(controlTypes),
  video: v.optional(asset('control.video')),
  image: v.optional(asset('control.image')),
  weight: v.optional(real('control.weight', 0, 2), 1),
  start: v.optional(real('control.start', 0, 1), 0),
  end: v.optional(real('control.end', 0, 1), 1),
})

const loraSchema = v.strictObject({
  id: shaped('loras.id', /^[A-Za-z0-9._-]{1,128}$/, 'a lora id of the catalog'),
  scale: v.optional(real('loras.scale', -2, 2), 1),
  stage: v.optional(v.picklist(['high', 'low'])),
})

const factorSchema = v.strictObject({ factor: v.picklist([2, 4]) })

export const deviceReportSchema = v.strictObject({
  adapter_class: v.pipe(v.string(), v.maxLength(128)),
  features: v.optional(atMost('device_report.features', v.pipe(v.string(), v.maxLength(64)), 64), []),
  limits: v.optional(v.record(v.pipe(v.string(), v.maxLength(64)), v.number()), {}),
  cross_origin_isolated: v.optional(v.boolean(), false),
  wasm_threads: v.optional(v.boolean(), false),
  storage_free_bytes: v.optional(v.pipe(v.number(), v.minValue(0)), 0),
  online: v.optional(v.boolean(), true),
  models: v.optional(
    atMost(
      'device_report.models',
      v.strictObject({
        id: v.pipe(v.string(), v.maxLength(64)),
        revision: v.pipe(v.string(), v.maxLength(64)),
        dtype: v.pipe(v.string(), v.maxLength(16)),
        cached: v.boolean(),
        golden: v.picklist(['pass', 'fail', 'untested']),
        /** Of the model's standard clip. */
        ms_per_step: v.optional(v.pipe(v.number(), v.minValue(0))),
        /** Of that clip, all that are not its steps: text, decoder and file. */
        ms_besides: v.optional(v.pipe(v.number(), v.minValue(0))),
      }),
      32,
    ),
    [],
  ),
})

export type DeviceReport = v.InferOutput<typeof deviceReportSchema>

export const latentEnvelopeSchema = v.strictObject({
  kind: v.literal('zt.latent.v1'),
  family: v.pipe(v.string(), v.maxLength(64)),
  model: v.pipe(v.string(), v.maxLength(128)),
  shape: v.pipe(v.array(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65536))), v.length(5)),
  dtype: v.picklist(['f16', 'f32']),
  bytes: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(33554432)),
  sha256: shaped('envelope.sha256', /^[0-9a-f]{64}$/, '64 hexadecimal digits'),
  step: whole('envelope.step', 0, 1000),
  steps: whole('envelope.steps', 1, 1000),
  sigmas: atMost('envelope.sigmas', v.number(), 1001),
  scheduler: v.pipe(v.string(), v.maxLength(64)),
  seed: shaped('envelope.seed', /^\d{1,10}$/, 'a seed as decimal digits'),
  rng: v.pipe(v.string(), v.maxLength(32)),
  prompt_sha256: shaped('envelope.prompt_sha256', /^[0-9a-f]{64}$/, '64 hexadecimal digits'),
  tenant: v.optional(v.pipe(v.string(), v.maxLength(128))),
  created_at: v.pipe(v.string(), v.maxLength(40)),
  expires_at: v.pipe(v.string(), v.maxLength(40)),
  kid: v.optional(v.pipe(v.string(), v.maxLength(64))),
  sig: v.optional(v.pipe(v.string(), v.maxLength(128))),
})

export type LatentEnvelope = v.InferOutput<typeof latentEnvelopeSchema>

export const webhookEvents = [
  'video.queued',
  'video.started',
  'video.completed',
  'video.failed',
  'video.cancelled',
  'video.expired',
] as const

const webhookSchema = v.strictObject({
  endpoint_id: v.optional(shaped('webhook.endpoint_id', idPattern('whe'), 'the id of an endpoint, whe_…')),
  url: v.optional(v.pipe(v.string(), v.maxLength(2048))),
  events: v.optional(v.pipe(v.array(v.picklist(webhookEvents)), v.minLength(1), v.maxLength(6)), [...webhookEvents]),
})

const cacheSchema = v.strictObject({
  mode: v.optional(v.picklist(['use', 'bypass', 'refresh']), 'use'),
  similar: v.optional(v.boolean(), false),
  min_score: v.optional(real('cache.min_score', 0.8, 1), 0.95),
})

const metadataSchema = v.pipe(
  v.record(
    v.pipe(v.string(), v.maxLength(64, 'metadata: got a longer key, allowed are 64 characters')),
    v.pipe(v.string(), v.maxLength(512, 'metadata: got a longer value, allowed are 512 characters')),
  ),
  v.check((value) => Object.keys(value).length <= 16, 'metadata: got more than 16 entries, allowed are 16; send fewer'),
)

const option = v.union([v.string(), v.number(), v.boolean()])

/** Fields of every request; every field but the prompt may be left to the model. */
export const videoRequestEntries = {
  model: v.optional(v.pipe(v.string(), v.maxLength(128))),
  prompt: v.optional(text('prompt', 1)),
  negative_prompt: v.optional(text('negative_prompt', 0)),
  num_frames: v.optional(whole('num_frames', 1, 1024)),
  duration: v.optional(real('duration', 0.1, 60)),
  fps: v.optional(whole('fps', 1, 60)),
  width: v.optional(whole('width', 64, 4096)),
  height: v.optional(whole('height', 64, 4096)),
  size: v.optional(shaped('size', /^\d{1,5}x\d{1,5}$/, 'WIDTHxHEIGHT, for example 64x64')),
  resolution: v.optional(shaped('resolution', /^[1-9]\d{1,3}p$/, 'the short side, for example 480p')),
  aspect_ratio: v.optional(shaped('aspect_ratio', /^[1-9]\d{0,2}:[1-9]\d{0,2}$/, 'W:H, for example 16:9')),
  num_inference_steps: v.optional(whole('num_inference_steps', 1, 1000)),
  guidance_scale: v.optional(real('guidance_scale', 0, 30)),
  guidance_scale_2: v.optional(real('guidance_scale_2', 0, 30)),
  flow_shift: v.optional(real('flow_shift', 0.1, 20)),
  scheduler: v.optional(v.pipe(v.string(), v.maxLength(64))),
  strength: v.optional(real('strength', 0, 1)),
  seed: v.optional(whole('seed', 0, 4294967295)),
  n: v.optional(whole('n', 1, 4)),
  frame_images: v.optional(atMost('frame_images', frameImageSchema, 2)),
  image: v.optional(asset('image')),
  last_image: v.optional(asset('last_image')),
  video: v.optional(asset('video')),
  audio: v.optional(asset('audio')),
  input_references: v.optional(atMost('input_references', asset('input_references'), 8)),
  control: v.optional(atMost('control', controlSchema, 4)),
  loras: v.optional(atMost('loras', loraSchema, 4)),
  interpolate: v.optional(factorSchema),
  upscale: v.optional(factorSchema),
  generate_audio: v.optional(v.boolean()),
  output_format: v.optional(v.picklist(outputFormats)),
  inference_mode: v.optional(v.picklist(inferenceModes)),
  device_report: v.optional(deviceReportSchema),
  draft: v.optional(v.boolean()),
  draft_id: v.optional(shaped('draft_id', idPattern('vid'), 'the id of a draft, vid_…')),
  init_latent: v.optional(asset('init_latent')),
  envelope: v.optional(latentEnvelopeSchema),
  stop_step: v.optional(whole('stop_step', 1, 1000)),
  cache: v.optional(cacheSchema),
  strict: v.optional(v.boolean()),
  provider_options: v.optional(
    v.record(v.pipe(v.string(), v.maxLength(64)), v.record(v.pipe(v.string(), v.maxLength(64)), option)),
  ),
  metadata: v.optional(metadataSchema),
  webhook: v.optional(webhookSchema),
}

export const videoRequestSchema = v.strictObject(videoRequestEntries)

/** A request as a caller writes it. */
export type VideoRequest = v.InferInput<typeof videoRequestSchema>
/** A request whose fields hold to the general limits. */
export type CheckedRequest = v.InferOutput<typeof videoRequestSchema>

export const extendRequestSchema = v.strictObject({
  prompt: videoRequestEntries.prompt,
  num_frames: videoRequestEntries.num_frames,
  duration: videoRequestEntries.duration,
  seed: videoRequestEntries.seed,
  overlap_frames: v.optional(whole('overlap_frames', 1, 256)),
  cache: videoRequestEntries.cache,
  webhook: videoRequestEntries.webhook,
})

/** Each row: fields of which only one group may be given. */
const alternatives: readonly (readonly (readonly (keyof CheckedRequest)[])[])[] = [
  [['num_frames'], ['duration']],
  [['size'], ['width', 'height'], ['resolution', 'aspect_ratio']],
  [['frame_images'], ['image', 'last_image']],
  [['draft'], ['draft_id']],
]

/**
 * Checks a request against the general limits.
 * @throws GenerationError invalid_parameter, unknown_parameter or conflicting_parameters, in one sentence.
 */
export function parseRequest(data: unknown): CheckedRequest {
  const request = parseBody(videoRequestSchema, data)
  for (const groups of alternatives) {
    const given = groups.filter((group) => group.some((field) => request[field] !== undefined))
    if (given.length > 1) {
      const [first, second] = given.map((group) => group.filter((field) => request[field] !== undefined).join(', '))
      throw conflict(`/${given[1]?.[0]}`, `${second}: got it beside ${first}, allowed is one of them; remove one`)
    }
  }
  requireBoth(request, 'width', 'height')
  requireBoth(request, 'init_latent', 'envelope')
  const { webhook } = request
  if (webhook !== undefined && (webhook.url === undefined) === (webhook.endpoint_id === undefined)) {
    throw conflict('/webhook', 'webhook: got both or neither of url and endpoint_id, allowed is exactly one')
  }
  return request
}

const conflict = (pointer: string, message: string): GenerationError =>
  new GenerationError('conflicting_parameters', message, { pointer })

function requireBoth(request: CheckedRequest, one: keyof CheckedRequest, other: keyof CheckedRequest): void {
  if ((request[one] === undefined) === (request[other] === undefined)) return
  const missing = request[one] === undefined ? one : other
  throw new GenerationError('invalid_parameter', `${missing}: is missing; ${one} and ${other} go together`, {
    pointer: `/${missing}`,
  })
}

/**
 * Checks any body against a schema.
 * @throws GenerationError invalid_parameter or unknown_parameter naming the first field that is wrong.
 */
export function parseBody<Schema extends v.GenericSchema>(schema: Schema, data: unknown): v.InferOutput<Schema> {
  const result = v.safeParse(schema, data, { abortPipeEarly: true })
  if (result.success) return result.output
  const [issue] = result.issues
  const path = v.getDotPath(issue)
  const unknown = issue.type === 'strict_object' && issue.expected === 'never'
  const message = unknown ? `${path}: is not a field of a request; remove it` : sentence(issue.message, path)
  throw new GenerationError(unknown ? 'unknown_parameter' : 'invalid_parameter', message, {
    pointer: path === null ? '' : `/${path.replaceAll('.', '/')}`,
  })
}

/** A schema's own sentence leads with its field already; the library's does not. */
const sentence = (message: string, path: string | null): string =>
  message.startsWith('Invalid') ? `${path ?? 'the body'}: ${message}` : message
