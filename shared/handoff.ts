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
import type { CheckedRequest, LatentEnvelope } from './request.ts'
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
