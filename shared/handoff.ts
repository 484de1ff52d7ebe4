/**
 * Handing a run over: whether latents from elsewhere are those that a request goes on from.
 *
 * One rule for the edge, the node and the device. What a run is, model, revision, shape, levels and how many rows are
 * done, must be the same on both sides; the prompt may differ, for a change of mind half-way is no mistake. Whether the
 * bytes are those the envelope names is envelope.ts's business.
 */

import type { CatalogModel } from './catalog.ts'
import type { EffectiveVideo } from './effective.ts'
import { GenerationError } from './errors.ts'
import { cuts, rowsOf, sigmasOf } from './plan.ts'
import { gaussian, streams } from './random.ts'
import type { CheckedRequest, LatentEnvelope } from './request.ts'
import type { SamplerStep } from './sampler.ts'
import { latentShape } from './video.ts'

/** What of an envelope decides where a run goes on; the rest says whose it is and until when. */
export type LatentFacts = Pick<
  LatentEnvelope,
  'kind' | 'family' | 'model' | 'shape' | 'dtype' | 'bytes' | 'sha256' | 'step' | 'steps' | 'scheduler' | 'seed'
>

export const factsOf = (envelope: LatentFacts): LatentFacts => {
  const { kind, family, model, shape, dtype, bytes, sha256, step, steps, scheduler, seed } = envelope
  return { kind, family, model, shape, dtype, bytes, sha256, step, steps, scheduler, seed }
}

/** What a request that names latents means where it says nothing itself. */
export function envelopeDefaults({ envelope }: CheckedRequest, { latents }: CatalogModel): Partial<CheckedRequest> {
  if (envelope === undefined || latents === null) return {}
  const [, , frames, height, width] = envelope.shape as [number, number, number, number, number]
  return {
    seed: Number(envelope.seed),
    num_inference_steps: envelope.steps,
    scheduler: envelope.scheduler,
    num_frames: (frames - 1) * latents.temporal + 1,
    size: `${width * latents.spatial}x${height * latents.spatial}`,
  }
}

/** The latents of a request as an envelope counts them: [1, C, F, h, w]. @throws GenerationError as latentShape. */
export function latentShapeOf(model: CatalogModel, request: EffectiveVideo): number[] {
  const space = requireSpace(model)
  const shape = latentShape({ ...request, frames: request.num_frames }, space, space.channels)
  return [1, shape.channels, shape.frames, shape.height, shape.width]
}

/**
 * Holds latents to the request that goes on from them.
 * @throws GenerationError latent_mismatch naming the first fact that differs.
 */
export function requireHandoff(envelope: LatentEnvelope | LatentFacts, request: EffectiveVideo, model: CatalogModel) {
  const rows = rowsOf(requireSpace(model).plan, request)
  const pairs: readonly (readonly [name: string, got: unknown, allowed: unknown])[] = [
    ['family', envelope.family, model.family],
    ['model', envelope.model, `${model.id}@${model.revision}`],
    ['shape', envelope.shape.join('x'), latentShapeOf(model, request).join('x')],
    ['steps', envelope.steps, rows.length],
    ['scheduler', envelope.scheduler, request.scheduler],
    ['seed', envelope.seed, String(request.seed)],
  ]
  for (const [name, got, allowed] of pairs) {
    if (got !== allowed) throw mismatch(name, `got ${got}, this request takes ${allowed}`)
  }
  if ('sigmas' in envelope) requireSigmas(envelope.sigmas, sigmasOf(rows))
  const allowed = cuts(rows)
  if (envelope.step !== 0 && !allowed.includes(envelope.step)) {
    throw mismatch('step', `got ${envelope.step}, this plan can be entered at 0, ${allowed.join(', ')}`)
  }
}

/** Levels are computed, so they may differ by a rounding; an envelope without them claims none. */
function requireSigmas(got: readonly number[], allowed: readonly number[]): void {
  if (got.length === 0) return
  const far = got.findIndex((sigma, index) => Math.abs(sigma - (allowed[index] ?? Number.NaN)) > 1e-6)
  if (got.length !== allowed.length) throw mismatch('sigmas', `got ${got.length} levels, allowed are ${allowed.length}`)
  if (far >= 0) throw mismatch('sigmas', `level ${far} is ${got[far]}, this request has ${allowed[far]}`)
}

/**
 * Holds the row at which a run stops to its plan and to where it began.
 * @throws GenerationError invalid_parameter naming the rows where it may stop.
 */
export function requireStop(stop: number, start: number, request: EffectiveVideo, model: CatalogModel): void {
  const allowed = cuts(rowsOf(requireSpace(model).plan, request)).filter((step) => step > start)
  if (allowed.includes(stop)) return
  const message = `stop_step: got ${stop}, this plan can be left at ${allowed.join(', ') || 'none of its rows'}`
  throw new GenerationError('invalid_parameter', message, { pointer: '/stop_step' })
}

function requireSpace({ id, latents }: CatalogModel): NonNullable<CatalogModel['latents']> {
  if (latents !== null) return latents
  throw new GenerationError('unsupported_capability', `init_latent: got one, ${id} says nothing of its latents`, {
    pointer: '/init_latent',
  })
}

const mismatch = (name: string, what: string): GenerationError =>
  new GenerationError('latent_mismatch', `envelope.${name}: ${what}`, { pointer: `/envelope/${name}` })

/** What an envelope is written from. */
export interface Sealing {
  readonly model: Pick<CatalogModel, 'id' | 'revision' | 'family'>
  readonly request: Pick<EffectiveVideo, 'scheduler' | 'seed'>
  /** [1, C, F, h, w] */
  readonly shape: readonly number[]
  readonly rows: readonly SamplerStep[]
  readonly step: number
  readonly dtype: LatentEnvelope['dtype']
  readonly bytes: number
  readonly sha256: string
  readonly promptSha256: string
  /** Milliseconds since 1970, as `expiresAt`. */
  readonly now: number
  readonly expiresAt: number
}

/** The envelope of latents that leave an executor, unsigned. */
export function envelopeFor({ model, request, shape, rows, now, expiresAt, ...facts }: Sealing): LatentEnvelope {
  const { step, dtype, bytes, sha256, promptSha256 } = facts
  return {
    kind: 'zt.latent.v1',
    family: model.family,
    model: `${model.id}@${model.revision}`,
    shape: [...shape],
    ...{ dtype, bytes, sha256, step },
    steps: rows.length,
    sigmas: sigmasOf(rows),
    scheduler: request.scheduler ?? '',
    seed: String(request.seed),
    rng: 'philox4x32-10',
    prompt_sha256: promptSha256,
    created_at: new Date(now).toISOString(),
    expires_at: new Date(expiresAt).toISOString(),
  }
}

/** The numbers of latents as they travel: raw and little-endian. */
export function floatsOf(bytes: Uint8Array, dtype: LatentEnvelope['dtype']): Float32Array {
  const { buffer } = Uint8Array.from(bytes)
  return dtype === 'f32' ? new Float32Array(buffer) : Float32Array.from(new Uint16Array(buffer), halfOf)
}

/**
 * A finished clip's latents with the noise that a plan has after `step` rows: alpha · clean + sigma · noise, the noise
 * being the seed's own (Meng et al. 2021, 2108.01073).
 */
export function renoised(
  bytes: Uint8Array,
  model: CatalogModel,
  request: EffectiveVideo,
  step: number,
): Uint8Array<ArrayBuffer> {
  const clean = floatsOf(bytes, 'f32')
  const noise = gaussian(request.seed, streams.initial, 0, clean.length)
  const { alpha = 1, sigma = 0 } = rowsOf(requireSpace(model).plan, request)[step]?.level ?? {}
  return new Uint8Array(clean.map((value, at) => alpha * value + sigma * (noise[at] as number)).buffer as ArrayBuffer)
}

/** IEEE 754 half precision. */
export function halfOf(bits: number): number {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023]
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25))
}
