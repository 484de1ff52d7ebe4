/**
 * The content key: what decides a result's bytes, as one canonical list and its hash.
 *
 * Equal keys, equal dispatched requests. Reals are whole thousandths, absence is null, and media count by their bytes'
 * hash, never by their id. Nothing is trimmed, folded or normalised beyond NFC.
 */

import type { EffectiveVideo } from './effective.ts'
import { GenerationError } from './errors.ts'

export interface KeyContext {
  readonly policyVersion: string
  readonly tenant: string
  readonly provider: string
  readonly weightsSha256: string
  /** SHA-256 of every asset the request names, by id. */
  readonly hashes?: ReadonlyMap<string, string>
}

const thousandths = (value: number | null | undefined): number | null =>
  value === null || value === undefined ? null : Math.round(value * 1000)

/**
 * The canonical list that the key hashes.
 * @throws GenerationError invalid_parameter where an asset has no hash.
 */
export function canonicalForm(request: EffectiveVideo, context: KeyContext): string {
  const hash = (asset: string | undefined): string | null => {
    if (asset === undefined) return null
    const known = context.hashes?.get(asset)
    if (known === undefined) throw new GenerationError('invalid_parameter', `${asset}: is no ready asset; upload it`)
    return known
  }
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
    thousandths(request.guidance_scale_2),
    thousandths(request.flow_shift),
    request.scheduler,
    thousandths(request.strength),
    request.width,
    request.height,
    request.num_frames,
    request.fps,
    (request.frame_images ?? []).map(({ image, frame_type: type }) => [type, hash(image)]),
    hash(request.video),
    hash(request.audio),
    (request.input_references ?? []).map(hash),
    (request.control ?? []).map(({ type, video, image, weight, start, end }) => [
      type,
      hash(video),
      hash(image),
      thousandths(weight),
      thousandths(start),
      thousandths(end),
    ]),
    (request.loras ?? []).map(({ id, scale, stage }) => [id, thousandths(scale), stage ?? null]),
    request.interpolate ?? null,
    request.upscale ?? null,
    request.generate_audio ?? false,
    request.output_format,
    request.draft ?? false,
    hash(request.init_latent),
    Object.entries(request.provider_options ?? {})
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([key, value]) => [key, typeof value === 'number' ? ['number', String(value)] : value]),
    // Only of a part of a run, so that the keys of whole ones are what they were.
    ...((request.envelope ?? request.stop_step) ? [[request.envelope?.step ?? null, request.stop_step ?? null]] : []),
  ])
}

/** `zt1_` and the base64url SHA-256 of the canonical form. */
export async function contentKey(request: EffectiveVideo, context: KeyContext): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(canonicalForm(request, context)))
  const base64 = btoa(String.fromCharCode(...new Uint8Array(digest)))
  return `zt1_${base64.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')}`
}
