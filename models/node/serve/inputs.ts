/**
 * The `input` of a prediction: a request's fields, and what only a node takes: latents in, a part of the plan, a dtype.
 *
 * Everything is refused here, before a prediction exists; what is accepted names nothing that could vanish later, so
 * uploaded bytes are taken along. Media enter as files of this node or as data URIs: it downloads from nowhere.
 */

import * as v from 'valibot'
import { catalogModelOf } from '../../../shared/catalog.ts'
import { GenerationError } from '../../../shared/errors.ts'
import { type EffectiveRequest, effectiveRequest } from '../../../shared/generation.ts'
import { requireHandoff } from '../../../shared/handoff.ts'
import { cuts } from '../../../shared/plan.ts'
import { latentEnvelopeSchema } from '../../../shared/request.ts'
import type { SamplerStep } from '../../../shared/sampler.ts'
import { type Range, rangeOf, requireFit, type Split } from '../../pipeline/split.ts'
import type { ServedModel } from './catalog.ts'
import { type FileStore, fileIdOf } from './files.ts'
import { checkBytes, type LatentDType, latentDTypes, latentsOf } from './latent-file.ts'
import { requireFormat } from './outputs.ts'

/** A prediction's work with nothing left open. */
export interface Job {
  readonly model: ServedModel
  readonly request: EffectiveRequest
  readonly split: Split
  /** Rows after which the latents are kept beside the output. */
  readonly keepStep?: number
  readonly latentDType: LatentDType
}

const step = v.pipe(v.number(), v.integer(), v.minValue(0))

/** What of an envelope decides whether latents fit; the rest is for others and is let through. */
const factsSchema = v.object({
  ...v.omit(latentEnvelopeSchema, [
    'sigmas',
    'rng',
    'prompt_sha256',
    'tenant',
    'created_at',
    'expires_at',
    'kid',
    'sig',
  ]).entries,
  sigmas: v.optional(latentEnvelopeSchema.entries.sigmas, []),
})

const ownFields = {
  width: v.optional(step),
  height: v.optional(step),
  init_latent: v.optional(v.string()),
  envelope: v.optional(v.union([factsSchema, v.pipe(v.string(), v.parseJson(), factsSchema)])),
  start_step: v.optional(step),
  stop_step: v.optional(step),
  keep_step: v.optional(step),
  latent_dtype: v.optional(v.picklist(latentDTypes)),
  model: v.optional(v.string()),
  revision: v.optional(v.string()),
} as const

const ownSchema = v.object(ownFields)
type OwnFields = v.InferOutput<typeof ownSchema>

/**
 * Reads an input for a model.
 * @param seed used where the input names none.
 * @throws GenerationError in one sentence.
 */
export function readJob(model: ServedModel, input: unknown, files: FileStore, seed: number): Job {
  const { own, rest } = separated(input)
  const request = requestOf(model, own, rest, seed)
  requireSame('revision', own.revision, request.revision)
  requireFormat(request.output_format)
  const split = splitOf(model, request, own, files)
  // Refused now rather than after the prediction has been accepted.
  const { start, stop } = rangeOf(model.rows(request), split)
  const keep = keptStep(own.keep_step, { start, stop }, model.rows(request))
  return { model, request, split, ...keep, latentDType: own.latent_dtype ?? 'f32' }
}

/** The step to keep latents of: one where the plan may be cut, within the run. */
function keptStep(
  step: number | undefined,
  { start, stop }: Range,
  rows: readonly SamplerStep[],
): { keepStep?: number } {
  if (step === undefined) return {}
  const allowed = cuts(rows).filter((each) => each > start && each <= stop)
  if (allowed.includes(step)) return { keepStep: step }
  throw new GenerationError(
    'invalid_parameter',
    `keep_step: got ${step}, latents of this run can be kept after ${allowed.join(', ') || 'none of its steps'}`,
    { pointer: '/keep_step' },
  )
}

function separated(input: unknown): { own: OwnFields; rest: Record<string, unknown> } {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new GenerationError('invalid_parameter', 'input: is missing or no object; send {"prompt": "…"}', {
      pointer: '/input',
    })
  }
  // Forms send null for what was left empty.
  const fields = Object.entries(input).filter(([, value]) => value !== null)
  const result = v.safeParse(ownSchema, Object.fromEntries(fields.filter(([name]) => Object.hasOwn(ownFields, name))))
  if (!result.success) {
    const [issue] = result.issues
    const path = v.getDotPath(issue) ?? 'input'
    throw new GenerationError('invalid_parameter', `${path}: ${issue.message}`, { pointer: `/input/${path}` })
  }
  return {
    own: result.output,
    rest: Object.fromEntries(fields.filter(([name]) => !Object.hasOwn(ownFields, name))),
  }
}

function requestOf(
  { card }: ServedModel,
  own: OwnFields,
  rest: Record<string, unknown>,
  seed: number,
): EffectiveRequest {
  const { width, height, stop_step: stop } = own
  if ((width === undefined) !== (height === undefined) || (width !== undefined && rest.size !== undefined)) {
    throw new GenerationError('conflicting_parameters', 'size: allowed are width and height together, or size alone')
  }
  const size = width === undefined ? {} : { size: `${width}x${height}` }
  // A run that stops early has nothing else to give.
  const format = stop === undefined || rest.output_format !== undefined ? {} : { output_format: 'latents' }
  // The noise of a run taken over is that of its beginning.
  const begun = own.envelope === undefined ? seed : Number(own.envelope.seed)
  const request = effectiveRequest({ ...rest, ...size, ...format }, card, begun)
  if (stop !== undefined && request.output_format !== 'latents') {
    throw new GenerationError(
      'conflicting_parameters',
      `stop_step: a run that stops early gives latents, not ${request.output_format}; leave output_format out`,
      { pointer: '/stop_step' },
    )
  }
  return request
}

function requireSame(field: string, got: string | undefined, allowed: string): void {
  if (got !== undefined && got !== allowed) {
    throw new GenerationError('invalid_parameter', `${field}: got ${got}, this model has ${allowed}`, {
      pointer: `/${field}`,
    })
  }
}

function splitOf(model: ServedModel, request: EffectiveRequest, own: OwnFields, files: FileStore): Split {
  const until = own.stop_step === undefined ? {} : { until: own.stop_step }
  const { init_latent: source, envelope, start_step: start = envelope?.step } = own
  if (source === undefined && start === undefined && envelope === undefined) return until
  if (source === undefined || start === undefined || request.n > 1) {
    throw new GenerationError(
      'conflicting_parameters',
      'init_latent: allowed is one with a start_step or an envelope, for one output (n = 1)',
      { pointer: '/init_latent' },
    )
  }
  const bytes = bytesOf(source, files)
  const shape = model.shape(request)
  if (envelope !== undefined) {
    requireHandoff(envelope, request, catalogModelOf(model.card))
    checkBytes(envelope, bytes)
  }
  const data = latentsOf(bytes, envelope?.dtype ?? own.latent_dtype ?? 'f32')
  requireFit(data, shape)
  return { from: { data, step: start }, ...until }
}

/** The bytes of a file of this node or of a data URI. */
function bytesOf(source: string, files: FileStore): Uint8Array {
  const data = /^data:[^,]*;base64,(.*)$/s.exec(source)?.[1]
  if (data !== undefined) return Buffer.from(data, 'base64')
  const id = fileIdOf(source)
  const file = id === undefined ? undefined : files.get(id)
  if (file !== undefined) return file.bytes
  throw new GenerationError(
    'invalid_parameter',
    'init_latent: got an address that is no file of this node, or of one that has expired; upload it to /v1/files first',
    { pointer: '/init_latent' },
  )
}
