/**
 * From a request to what is run: models' defaults filled in, every number brought to the nearest the model allows.
 *
 * Each change is told as a warning, or refused where the caller was strict. Nothing is hashed or dispatched that did
 * not pass through here. Knows no assets and no provider.
 */

import type { CatalogModel, Parameters } from './catalog.ts'
import { GenerationError } from './errors.ts'
import { envelopeDefaults, factsOf, type LatentFacts, requireHandoff, requireStop } from './handoff.ts'
import type { CheckedRequest, InferenceMode, OutputFormat } from './request.ts'
import { nearestOf } from './video.ts'

/** A request with nothing left open: what is hashed is what is run. Absent fields are dials the request leaves out. */
export interface EffectiveVideo {
  readonly model: string
  readonly revision: string
  readonly prompt: string
  readonly negative_prompt: string
  readonly num_frames: number
  readonly fps: number
  readonly width: number
  readonly height: number
  readonly num_inference_steps: number | null
  readonly guidance_scale: number | null
  readonly scheduler: string | null
  readonly seed: number
  readonly n: number
  readonly output_format: OutputFormat
  /** Seconds, for models that count in them. */
  readonly duration?: number
  readonly guidance_scale_2?: number
  readonly flow_shift?: number
  readonly strength?: number
  readonly frame_images?: NonNullable<CheckedRequest['frame_images']>
  readonly video?: string
  readonly audio?: string
  readonly input_references?: readonly string[]
  readonly control?: NonNullable<CheckedRequest['control']>
  readonly loras?: NonNullable<CheckedRequest['loras']>
  readonly interpolate?: number
  readonly upscale?: number
  readonly generate_audio?: boolean
  readonly draft?: boolean
  readonly init_latent?: string
  /** What the latents are, and how many rows they have behind them. */
  readonly envelope?: LatentFacts
  /** Rows done in all when the run stops and gives its latents. */
  readonly stop_step?: number
  readonly provider_options?: Readonly<Record<string, string | number | boolean>>
}

/** Something the caller should know about what became of the request. */
export interface Warning {
  readonly code: string
  readonly pointer?: string
  readonly requested?: string | number | boolean
  readonly effective?: string | number | boolean
  readonly message?: string
}

export interface Resolved {
  readonly effective: EffectiveVideo
  readonly warnings: readonly Warning[]
}

export interface ResolveOptions {
  /** Used where the request names no seed. */
  readonly seed: number
  /** Operator defaults, between the request and the model. */
  readonly defaults?: Partial<Pick<CheckedRequest, 'num_inference_steps' | 'guidance_scale' | 'fps' | 'output_format'>>
}

/**
 * Resolves a checked request against a model.
 * @throws GenerationError unsupported_capability, invalid_parameter, or strict_mismatch where `strict` is set.
 */
export function resolveRequest(
  sent: CheckedRequest,
  model: CatalogModel,
  { seed, defaults }: ResolveOptions,
): Resolved {
  const request = withDefaults(definedOf(sent), model, defaults)
  requireCapabilities(request, model)
  const snap = snapper(model.id, request.strict ?? false)
  const { parameters } = model
  const fps = snap.near(
    'fps',
    request.fps,
    nearestIn(parameters.fps.values, parameters.fps.default),
    parameters.fps.values.join(', '),
  )
  const length = lengthOf(request, parameters, fps, snap)
  const size = sizeOf(request, parameters, snap)
  const effective: EffectiveVideo = {
    model: model.id,
    revision: model.revision,
    prompt: request.prompt ?? '',
    negative_prompt: request.negative_prompt ?? '',
    ...length,
    fps,
    ...size,
    ...dials(request, parameters, snap),
    seed: request.seed ?? seed,
    n: snap.near('n', request.n ?? 1, (n = 1) => Math.min(n, parameters.max_n), `1 to ${parameters.max_n}`),
    output_format: request.output_format ?? (request.stop_step === undefined ? 'mp4' : 'latents'),
    ...media(request),
    ...options(request, model),
  }
  requireSplit(request, effective, model)
  if (!parameters.seed && request.seed !== undefined) snap.warnings.push({ code: 'seed_ignored', pointer: '/seed' })
  return { effective, warnings: snap.warnings }
}

/** Request over operator over the latents it begins from; a size said in one way leaves no room for another. */
function withDefaults(
  request: CheckedRequest,
  model: CatalogModel,
  operator: ResolveOptions['defaults'],
): CheckedRequest {
  const { size, num_frames: frames, ...rest } = envelopeDefaults(request, model)
  const sized = request.size ?? request.width ?? request.resolution ?? request.aspect_ratio
  return {
    ...rest,
    ...(sized === undefined && size !== undefined ? { size } : {}),
    ...(request.duration === undefined && frames !== undefined ? { num_frames: frames } : {}),
    ...operator,
    ...request,
  }
}

/** A part of a run must fit what was before it, and ends as latents where something comes after it. */
function requireSplit({ envelope, stop_step: stop }: CheckedRequest, effective: EffectiveVideo, model: CatalogModel) {
  const refuse = (field: string, message: string): never => {
    throw new GenerationError('conflicting_parameters', `${field}: ${message}`, { pointer: `/${field}` })
  }
  if (envelope !== undefined) {
    if (effective.n > 1) refuse('n', `got ${effective.n} with init_latent, allowed is 1; send one request for each`)
    requireHandoff(envelope, effective, model)
  }
  if (stop === undefined) return
  if (effective.output_format !== 'latents') {
    refuse('stop_step', `a run that stops gives latents, not ${effective.output_format}; leave output_format out`)
  }
  requireStop(stop, envelope?.step ?? 0, effective, model)
}

/** Where a run in the cloud happened, all of it or what was left of it. */
export const sourceOf = ({ envelope }: EffectiveVideo): 'in_cloud' | 'hybrid' =>
  envelope === undefined ? 'in_cloud' : 'hybrid'

/** Rows that are run: what is handed over, before or after, costs and takes nothing here. */
export const stepsOf = ({ num_inference_steps: steps, envelope, stop_step: stop }: EffectiveVideo): number =>
  (stop ?? steps ?? 1) - (envelope?.step ?? 0)

/** The mode a request runs under when it names none, over HTTP. */
export const modeOf = (request: CheckedRequest): InferenceMode => request.inference_mode ?? 'only_in_cloud'

const definedOf = (request: CheckedRequest): CheckedRequest =>
  Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined))

interface Snapper {
  readonly warnings: Warning[]
  /** The nearest allowed value, told where it differs from the one asked for. */
  readonly near: (
    field: string,
    asked: number | undefined,
    nearest: (value: number | undefined) => number,
    allowed: string,
  ) => number
  readonly tell: (field: string, asked: string | number, given: string | number, allowed: string) => void
}

function snapper(model: string, strict: boolean): Snapper {
  const warnings: Warning[] = []
  const tell: Snapper['tell'] = (field, asked, given, allowed) => {
    if (strict) {
      throw new GenerationError('strict_mismatch', `${field}: got ${asked}, ${model} allows ${allowed}; use ${given}`, {
        pointer: `/${field}`,
      })
    }
    warnings.push({ code: 'adjusted', pointer: `/${field}`, requested: asked, effective: given })
  }
  return {
    warnings,
    tell,
    near: (field, asked, nearest, allowed) => {
      const given = nearest(asked)
      if (asked !== undefined && asked !== given) tell(field, asked, given, allowed)
      return given
    },
  } as Snapper
}

/** The nearest of a list, ties up; an empty list allows anything. */
const nearestIn =
  (values: readonly number[], otherwise: number) =>
  (asked: number | undefined): number => {
    if (asked === undefined) return otherwise
    if (values.length === 0) return asked
    return values.reduce((best, value) => {
      const [distance, least] = [Math.abs(value - asked), Math.abs(best - asked)]
      return distance < least || (distance === least && value > best) ? value : best
    })
  }

const within =
  ({ min, max, default: otherwise }: { min: number; max: number; default: number }) =>
  (asked: number | undefined): number =>
    Math.min(max, Math.max(min, Math.round((asked ?? otherwise) * 1000) / 1000))

function lengthOf(
  request: CheckedRequest,
  { num_frames: frames, duration }: Parameters,
  fps: number,
  snap: Snapper,
): Pick<EffectiveVideo, 'num_frames' | 'duration'> {
  const field = request.duration === undefined ? 'num_frames' : 'duration'
  if (duration !== undefined) {
    const asked = request.duration ?? (request.num_frames === undefined ? undefined : request.num_frames / fps)
    const seconds = nearestIn(duration.values, duration.default)(asked)
    const given = field === 'duration' ? seconds : Math.round(seconds * fps)
    if (asked !== undefined && asked !== seconds) {
      snap.tell(field, request.duration ?? request.num_frames ?? asked, given, `${duration.values.join(', ')} seconds`)
    }
    return { num_frames: Math.round(seconds * fps), duration: seconds }
  }
  if (frames === undefined) return { num_frames: 1 }
  const asked = request.num_frames ?? (request.duration === undefined ? undefined : Math.round(request.duration * fps))
  if (asked === undefined) return { num_frames: frames.default }
  const given = nearestOf(asked, frames)
  if (given !== asked) {
    const progression = `${frames.stride}n + ${frames.offset} from ${frames.min} to ${frames.max}`
    snap.tell('num_frames', asked, given, progression)
  }
  return { num_frames: given }
}

function sizeOf(
  request: CheckedRequest,
  { size }: Parameters,
  snap: Snapper,
): Pick<EffectiveVideo, 'width' | 'height'> {
  const asked = askedSize(request, size.default)
  const [width, height] = size.values === undefined ? gridSize(asked, size) : listedSize(asked, size.values)
  const given = `${width}x${height}`
  const [wide, high] = asked.map(Math.round)
  if (given !== `${wide}x${high}`) {
    const field = request.size === undefined && request.width === undefined ? 'resolution' : 'size'
    snap.tell(field, `${wide}x${high}`, given, allowedSizes(size))
  }
  return { width, height }
}

function allowedSizes({ values, multiple = 1, min = 64, max = 4096, max_pixels: most }: Parameters['size']): string {
  if (values !== undefined) return values.join(', ')
  const limit = most === undefined ? '' : `, at most ${most} pixels`
  return `multiples of ${multiple} from ${min} to ${max}${limit}`
}

/** The size a request names, in whichever of three ways; the ratio of the default where it names only a short side. */
function askedSize(request: CheckedRequest, otherwise: string): [number, number] {
  if (request.width !== undefined && request.height !== undefined) return [request.width, request.height]
  const [width, height] = parsePair(request.size ?? otherwise, 'x')
  if (request.resolution === undefined && request.aspect_ratio === undefined) return [width, height]
  const [across, down] = request.aspect_ratio === undefined ? [width, height] : parsePair(request.aspect_ratio, ':')
  const short = request.resolution === undefined ? Math.min(width, height) : Number.parseInt(request.resolution, 10)
  return across >= down ? [(short * across) / down, short] : [short, (short * down) / across]
}

const parsePair = (pair: string, mark: string): [number, number] => pair.split(mark).map(Number) as [number, number]

/** Scales into the pixel budget, then goes to the nearest multiple of each side, ties up. */
function gridSize(
  [width, height]: readonly [number, number],
  { multiple = 1, min = 64, max = 4096, max_pixels: most = Number.POSITIVE_INFINITY }: Parameters['size'],
): [number, number] {
  const scale = Math.min(1, Math.sqrt(most / (width * height)))
  const grid = { min, max, stride: multiple, offset: 0 }
  let [wide, high] = [nearestOf(width * scale, grid), nearestOf(height * scale, grid)]
  // Rounding both sides up may leave the budget again: the longer one gives way.
  while (wide * high > most && Math.max(wide, high) > min) {
    if (wide >= high) wide -= multiple
    else high -= multiple
  }
  return [wide, high]
}

/** The listed size nearest in shape, then in area. */
function listedSize([width, height]: readonly [number, number], values: readonly string[]): [number, number] {
  const distance = (value: string) => {
    const [wide, high] = parsePair(value, 'x')
    return (
      10 * Math.abs(Math.log((wide * height) / (high * width))) + Math.abs(Math.log((wide * high) / (width * height)))
    )
  }
  return parsePair(
    values.reduce((best, value) => (distance(value) < distance(best) ? value : best)),
    'x',
  )
}

type Dials = Pick<
  EffectiveVideo,
  'num_inference_steps' | 'guidance_scale' | 'scheduler' | 'guidance_scale_2' | 'flow_shift' | 'strength'
>

function dials(request: CheckedRequest, parameters: Parameters, snap: Snapper): Dials {
  const { num_inference_steps: steps, guidance_scale: guidance } = parameters
  const nearestStep = (asked: number | undefined) =>
    Math.min(steps?.max ?? 0, Math.max(steps?.min ?? 0, nearestIn(steps?.values ?? [], steps?.default ?? 0)(asked)))
  const optional = (field: 'guidance_scale_2' | 'flow_shift') => {
    const limits = parameters[field]
    return limits === undefined ? {} : { [field]: snap.near(field, request[field], within(limits), spanOf(limits)) }
  }
  return {
    num_inference_steps:
      steps === undefined
        ? null
        : snap.near('num_inference_steps', request.num_inference_steps, nearestStep, stepsAllowed(steps)),
    guidance_scale:
      guidance === undefined
        ? null
        : snap.near('guidance_scale', request.guidance_scale, within(guidance), spanOf(guidance)),
    scheduler: request.scheduler ?? parameters.schedulers[0] ?? null,
    ...optional('guidance_scale_2'),
    ...optional('flow_shift'),
    ...strengthOf(request),
  }
}

const spanOf = ({ min, max }: { readonly min: number; readonly max: number }): string => `${min} to ${max}`

const stepsAllowed = (steps: NonNullable<Parameters['num_inference_steps']>): string =>
  steps.values === undefined ? spanOf(steps) : `one of ${steps.values.join(', ')}`

function strengthOf(request: CheckedRequest): Pick<EffectiveVideo, 'strength'> {
  if (request.strength === undefined && request.video === undefined) return {}
  return { strength: Math.round((request.strength ?? 0.8) * 1000) / 1000 }
}

type Media = Omit<EffectiveVideo, keyof Dials | 'model' | 'revision' | 'prompt' | 'num_frames' | 'provider_options'>

function media(request: CheckedRequest): Partial<Media> {
  const sugar = [
    ...(request.image === undefined ? [] : [{ image: request.image, frame_type: 'first_frame' as const }]),
    ...(request.last_image === undefined ? [] : [{ image: request.last_image, frame_type: 'last_frame' as const }]),
  ]
  const frames = request.frame_images ?? sugar
  return {
    ...(frames.length === 0 ? {} : { frame_images: frames }),
    ...(request.video === undefined ? {} : { video: request.video }),
    ...(request.audio === undefined ? {} : { audio: request.audio }),
    ...(request.input_references?.length ? { input_references: request.input_references } : {}),
    ...(request.control?.length ? { control: request.control } : {}),
    ...(request.loras?.length ? { loras: request.loras } : {}),
    ...(request.interpolate === undefined ? {} : { interpolate: request.interpolate.factor }),
    ...(request.upscale === undefined ? {} : { upscale: request.upscale.factor }),
    ...(request.generate_audio ? { generate_audio: true } : {}),
    ...(request.draft ? { draft: true } : {}),
    ...(request.init_latent === undefined ? {} : { init_latent: request.init_latent }),
    ...(request.envelope === undefined ? {} : { envelope: factsOf(request.envelope) }),
    ...(request.stop_step === undefined ? {} : { stop_step: request.stop_step }),
  }
}

function options(request: CheckedRequest, model: CatalogModel): Pick<EffectiveVideo, 'provider_options'> {
  const sent = Object.entries(request.provider_options ?? {})
  const kept: Record<string, string | number | boolean> = {}
  for (const [provider, values] of sent) {
    const allowed = Object.hasOwn(model.provider_options, provider) ? model.provider_options[provider] : undefined
    for (const [key, value] of Object.entries(values)) {
      if (!allowed?.includes(key)) {
        throw new GenerationError(
          'unsupported_capability',
          `provider_options.${provider}.${key}: ${model.id} allows ${allowed?.join(', ') || 'none'}; remove it`,
          { pointer: `/provider_options/${provider}/${key}` },
        )
      }
      if (model.providers.includes(provider)) kept[key] = value
    }
  }
  return Object.keys(kept).length === 0 ? {} : { provider_options: kept }
}

function requireFormat({ output_format: format }: CheckedRequest, { id, outputs }: CatalogModel): void {
  if (format === undefined || outputs.includes(format)) return
  const message = `output_format: got ${format}, ${id} makes ${outputs.join(', ')}`
  throw new GenerationError('format_unavailable', message, { pointer: '/output_format', available: outputs })
}

/** Fields a model may simply not have, each with what it would have to offer. */
function requireCapabilities(request: CheckedRequest, model: CatalogModel): void {
  const { parameters: has } = model
  const refuse = (field: string, got: string, allowed: string): never => {
    throw new GenerationError('unsupported_capability', `${field}: got ${got}, ${model.id} allows ${allowed}`, {
      pointer: `/${field}`,
    })
  }
  if (has.prompt_required && request.prompt === undefined) {
    throw new GenerationError('invalid_parameter', 'prompt: got an empty text, allowed are 1 to 2000 characters', {
      pointer: '/prompt',
    })
  }
  const among = (field: string, got: string | number | undefined, allowed: readonly (string | number)[]) => {
    if (got !== undefined && !allowed.includes(got)) refuse(field, String(got), allowed.join(', ') || 'none')
  }
  const needs = (field: keyof CheckedRequest, offered: boolean) => {
    const value = request[field]
    if (!offered && value !== undefined && value !== false && value !== '') refuse(field, 'one', 'none')
  }
  among('scheduler', request.scheduler, has.schedulers)
  requireFormat(request, model)
  among('interpolate', request.interpolate?.factor, has.interpolate)
  among('upscale', request.upscale?.factor, has.upscale)
  for (const { id } of request.loras ?? []) among('loras', id, has.loras)
  for (const { type } of request.control ?? []) among('control', type, has.control_types)
  for (const { frame_type: type } of media(request).frame_images ?? []) among('frame_images', type, has.frame_types)
  needs('negative_prompt', has.negative_prompt)
  needs('num_inference_steps', has.num_inference_steps !== undefined)
  needs('guidance_scale', has.guidance_scale !== undefined)
  needs('guidance_scale_2', has.guidance_scale_2 !== undefined)
  needs('flow_shift', has.flow_shift !== undefined)
  needs('strength', has.strength)
  needs('video', has.video)
  needs('audio', has.audio)
  needs('generate_audio', has.generate_audio)
  needs('init_latent', has.init_latent)
  needs('stop_step', has.init_latent)
  const references = request.input_references?.length ?? 0
  if (references > has.input_references) refuse('input_references', `${references}`, `at most ${has.input_references}`)
}
