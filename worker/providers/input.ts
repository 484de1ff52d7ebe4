/**
 * From a resolved request to the input of an upstream model, by the model's own published schema.
 *
 * Models name the same dial in many ways; the first alias their schema has is used, its bounds are kept, and what a
 * model cannot hear is dropped with a warning. Knows no network.
 */

import type { EffectiveVideo, Warning } from '../../shared/effective.ts'

export interface InputProperty {
  readonly type?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly enum?: readonly (string | number)[]
}

export type InputSchema = Readonly<Record<string, InputProperty>>

type Value = string | number | boolean | readonly string[]

export interface MappedInput {
  readonly input: Readonly<Record<string, Value>>
  readonly warnings: readonly Warning[]
}

/** Our dial, then what models call it, the likeliest first. */
const aliases = {
  prompt: ['prompt', 'text'],
  negative_prompt: ['negative_prompt'],
  image: ['image', 'first_frame_image', 'start_image', 'input_reference', 'image_url'],
  last_image: ['last_frame_image', 'last_frame', 'last_image', 'end_image'],
  video: ['video', 'input_video', 'video_url', 'reference_video'],
  audio: ['audio'],
  reference_images: ['reference_images', 'input_references'],
  num_frames: ['num_frames', 'frame_num', 'video_length', 'length'],
  duration: ['duration', 'seconds'],
  num_inference_steps: ['steps', 'sample_steps', 'infer_steps', 'num_inference_steps'],
  guidance_scale: ['cfg', 'cfg_scale', 'sample_guide_scale', 'embedded_guidance_scale', 'guidance_scale'],
  fps: ['fps', 'frames_per_second'],
  flow_shift: ['sample_shift', 'flow_shift'],
  generate_audio: ['generate_audio', 'audio'],
  seed: ['seed'],
} as const

type Dial = keyof typeof aliases

/** Maps a request. @param fixed fields an entry always sets. @param media addresses of assets. */
export function mapInput(
  effective: EffectiveVideo,
  schema: InputSchema,
  fixed: Readonly<Record<string, string | number | boolean>>,
  media: Readonly<Record<string, string>>,
): MappedInput {
  const input: Record<string, Value> = {}
  const warnings: Warning[] = []
  for (const [dial, value] of Object.entries(dialsOf(effective, media)) as [Dial, Value | undefined][]) {
    if (value === undefined) continue
    const name = aliases[dial].find((alias) => Object.hasOwn(schema, alias) && canHold(schema[alias] ?? {}, value))
    if (name === undefined) {
      if (told.has(dial)) warnings.push({ code: 'parameter_dropped', pointer: `/${dial}` })
      continue
    }
    const fitted = boundedBy(value, schema[name] ?? {})
    if (typeof value !== 'object' && typeof fitted !== 'object' && String(fitted) !== String(value)) {
      warnings.push({ code: 'adjusted', pointer: `/${dial}`, requested: value, effective: fitted })
    }
    input[name] = fitted
  }
  Object.assign(input, sizeInput(effective, schema, warnings))
  for (const [name, value] of Object.entries({ ...fixed, ...effective.provider_options })) {
    if (Object.hasOwn(schema, name)) input[name] = value
  }
  return { input, warnings }
}

/** Dials whose loss a caller must hear of. Length is said twice, as frames and as seconds: one is enough. */
const told = new Set<Dial>([
  'prompt',
  'negative_prompt',
  'image',
  'last_image',
  'video',
  'audio',
  'reference_images',
  'seed',
])

/** Under `audio` one model takes a switch and another a file: neither may get the other. */
const canHold = ({ type }: InputProperty, value: Value): boolean =>
  typeof value === 'boolean' ? type !== 'string' : typeof value !== 'string' || type !== 'boolean'

function dialsOf(effective: EffectiveVideo, media: Readonly<Record<string, string>>): Partial<Record<Dial, Value>> {
  const url = (asset: string | undefined) => (asset === undefined ? undefined : media[asset])
  const frame = (type: string) => url(effective.frame_images?.find(({ frame_type: each }) => each === type)?.image)
  const dials: Partial<Record<Dial, Value | undefined>> = {
    prompt: effective.prompt,
    negative_prompt: effective.negative_prompt === '' ? undefined : effective.negative_prompt,
    image: frame('first_frame'),
    last_image: frame('last_frame'),
    video: url(effective.video),
    audio: url(effective.audio),
    reference_images: effective.input_references?.flatMap((asset) => url(asset) ?? []),
    num_frames: effective.num_frames,
    duration: effective.duration ?? Math.round((effective.num_frames / effective.fps) * 1000) / 1000,
    num_inference_steps: effective.num_inference_steps ?? undefined,
    guidance_scale: effective.guidance_scale ?? undefined,
    fps: effective.fps,
    flow_shift: effective.flow_shift,
    // Said even where it is off: models that can make sound make it, and charge for it, unless told not to.
    generate_audio: effective.generate_audio ?? false,
    seed: effective.seed,
  }
  return Object.fromEntries(Object.entries(dials).filter(([, value]) => value !== undefined))
}

/** A value within a property's bounds and of its type. */
function boundedBy(value: Value, { type, minimum, maximum, enum: allowed }: InputProperty): Value {
  if (typeof value === 'object' || typeof value === 'boolean') return value
  if (allowed !== undefined && allowed.length > 0) return nearestMember(value, allowed)
  if (typeof value === 'string') return value
  const bounded = Math.min(maximum ?? value, Math.max(minimum ?? value, value))
  if (type === 'string') return String(bounded)
  return type === 'integer' ? Math.round(bounded) : bounded
}

function nearestMember(value: string | number, allowed: readonly (string | number)[]): string | number {
  const exact = allowed.find((each) => String(each) === String(value))
  if (exact !== undefined) return exact
  const distance = (each: string | number) => Math.abs(Number.parseFloat(String(each)) - Number(value))
  const numeric = allowed.filter((each) => !Number.isNaN(distance(each)))
  const [first, ...rest] = numeric.length > 0 ? numeric : allowed
  return rest.reduce<string | number>((best, each) => (distance(each) < distance(best) ? each : best), first ?? value)
}

/** The size in the terms a model has: both sides, a size, or a short side and a ratio. */
function sizeInput(effective: EffectiveVideo, schema: InputSchema, warnings: Warning[]): Record<string, Value> {
  const { width, height } = effective
  const input: Record<string, Value> = {}
  const has = (name: string) => Object.hasOwn(schema, name)
  if (has('width') && has('height')) {
    return { width: boundedBy(width, schema.width ?? {}), height: boundedBy(height, schema.height ?? {}) }
  }
  if (has('resolution')) input.resolution = resolutionOf(width, height, schema.resolution ?? {})
  if (hasSides(schema.quality)) input.quality = resolutionOf(width, height, schema.quality)
  if (hasSides(schema.mode)) input.mode = modeOf(effective, schema.mode, warnings)
  // The side of a square as large as the frame.
  if (has('target_size')) input.target_size = boundedBy(Math.sqrt(width * height), schema.target_size ?? {})
  const ratio = has('aspect_ratio') ? ratioOf(width, height, schema.aspect_ratio ?? {}) : undefined
  if (ratio !== undefined) input.aspect_ratio = ratio
  if (has('size')) input.size = listedSize(width, height, schema.size ?? {})
  return input
}

/** The short side where a model names it in words. */
const namedSides: ReadonlyMap<string | number, number> = new Map([
  ['standard', 720],
  ['std', 720],
  ['high', 1024],
  ['pro', 1080],
  ['2k', 1440],
  ['4k', 2160],
])

const sideOf = (name: string | number): number => namedSides.get(name) ?? Number.parseFloat(String(name))

type Listed = InputProperty & { readonly enum: readonly [string | number, ...(string | number)[]] }

/** Whether a field lists sizes; others of its name list what has no size. */
const hasSides = (property: InputProperty | undefined): property is Listed =>
  property?.enum !== undefined && property.enum.length > 0 && !property.enum.some((name) => Number.isNaN(sideOf(name)))

const resolutionOf = (width: number, height: number, property: InputProperty): string | number => {
  const short = Math.min(width, height)
  if (property.enum === undefined) return `${short}p`
  if (!hasSides(property)) return nearestMember(short, property.enum)
  const distance = (name: string | number) => Math.abs(sideOf(name) - short)
  return property.enum.reduce((best, name) => (distance(name) < distance(best) ? name : best))
}

/** The mode that makes the size; the best one for a last frame, which only that one takes. */
function modeOf(effective: EffectiveVideo, property: Listed, warnings: Warning[]): string | number {
  const { width, height, frame_images: frames = [] } = effective
  const mode = resolutionOf(width, height, property)
  if (!frames.some(({ frame_type: type }) => type === 'last_frame')) return mode
  const best = property.enum.reduce((one, other) => (sideOf(other) > sideOf(one) ? other : one))
  if (best !== mode) {
    const [requested, given] = [`${width}x${height}`, `${sideOf(best)}p`]
    warnings.push({ code: 'adjusted', pointer: '/size', requested, effective: given })
  }
  return best
}

const pairOf = (text: string): [number, number] =>
  text
    .split(/[:x*]/)
    .slice(0, 2)
    .map((part) => Number.parseFloat(part)) as [number, number]

/** The ratio where a model names it in words. */
const namedRatios: ReadonlyMap<string, string> = new Map([
  ['portrait', '9:16'],
  ['landscape', '16:9'],
])

/** The nearest ratio a model lists, under the name it has there; undefined where it lists none. */
function ratioOf(width: number, height: number, { enum: allowed }: InputProperty): string | undefined {
  const known = (allowed ?? ['16:9', '9:16', '1:1', '4:3', '3:4', '21:9'])
    .map(String)
    .filter((each) => /:/.test(namedRatios.get(each) ?? each))
  const distance = (text: string) => {
    const [across, down] = pairOf(namedRatios.get(text) ?? text)
    return Math.abs(Math.log((across * height) / (down * width)))
  }
  return known.length === 0 ? undefined : known.reduce((best, each) => (distance(each) < distance(best) ? each : best))
}

function listedSize(width: number, height: number, { enum: allowed }: InputProperty): string {
  if (allowed === undefined || allowed.length === 0) return `${width}x${height}`
  const names = allowed.map(String)
  const distance = (text: string) => {
    const [across, down] = pairOf(text)
    return Math.abs(across - width) + Math.abs((down || across) - height)
  }
  return names.reduce((best, each) => (distance(each) < distance(best) ? each : best))
}
