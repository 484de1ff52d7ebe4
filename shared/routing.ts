/**
 * Where a request runs, and why: one pure function of request, device, catalog, policy and the cloud's state.
 *
 * The SDK runs it, also offline; the edge runs it again for quotes and for requests over HTTP. A device report is
 * advice: it never decides a price or a right. The cloud is never entered without consent, the device never without a
 * passed golden forward.
 */

import { type CatalogModel, type StandardParameters, standardClip } from './catalog.ts'
import { type CostedClip, clipCost, clipTime, deviceRate, paceAt, type TimedModel } from './cost.ts'
import type { EffectiveVideo } from './effective.ts'
import type { DeviceReport, InferenceMode } from './request.ts'

export const routingReasons = [
  'exact_cache_hit',
  'mode_forced',
  'device_capable',
  'weights_not_cached',
  'model_cloud_only',
  'device_unsupported',
  'device_untested',
  'device_numerics_failed',
  'insufficient_memory',
  'insufficient_storage',
  'too_large_for_device',
  'slower_than_cloud',
  'device_failed_midway',
  'offline',
  'cloud_unavailable',
  'quota_exhausted',
  'consent_missing',
  'latent_handoff',
  'draft_refine',
] as const
export type RoutingReason = (typeof routingReasons)[number]

export interface RoutingInput {
  readonly mode: InferenceMode
  readonly model: CatalogModel
  readonly effective: EffectiveVideo
  /** null where nothing is known of a device. */
  readonly device: DeviceReport | null
  readonly cloud: CloudState
  /** Whether exactly this result is stored. */
  readonly cached: boolean
  /** A run in two places is wanted, and what it is called. */
  readonly hybrid?: 'latent_handoff' | 'draft_refine' | undefined
}

export interface CloudState {
  /** A credential, and a mode that permits the cloud. */
  readonly consent: boolean
  readonly available: boolean
  readonly quota: boolean
  /** Milliseconds until a result, as far as known. */
  readonly etaMs: number | null
}

export interface Assessment {
  readonly eligible: boolean
  /** What speaks against it, the gravest first. */
  readonly reasons: readonly RoutingReason[]
  readonly etaMs: number | null
}

export interface DeviceAssessment extends Assessment {
  /** Bytes that the request would hold there, weights included; null where the model runs on no device. */
  readonly memoryBytes: number | null
}

export interface Route {
  /** null where the request can run nowhere. */
  readonly source: 'on_device' | 'in_cloud' | 'hybrid' | null
  readonly reason: RoutingReason
  readonly device: DeviceAssessment
  readonly cloud: Assessment
}

/** Pixels times frames times steps which a browser can bear; beyond it nobody waits. */
const deviceLimit = 512 * 512 * 81 * 50

/** Decides a route. */
export function route(input: RoutingInput): Route {
  const [device, cloud] = [assessDevice(input), assessCloud(input)]
  const to = (source: Route['source'], reason: RoutingReason): Route => ({ source, reason, device, cloud })
  const { mode, effective } = input
  // One half of a run: the caller has the other.
  const part = effective.envelope !== undefined || effective.stop_step !== undefined
  const chosen: RoutingReason = part ? 'latent_handoff' : 'mode_forced'
  // Two places are a wish like any preference: where one of them cannot, the other does it all.
  const both = mode.startsWith('prefer') && device.eligible && cloud.eligible && !input.cached
  if (input.hybrid !== undefined && both) return to('hybrid', input.hybrid)
  if (mode === 'only_on_device') {
    return device.eligible ? to('on_device', 'mode_forced') : to(null, device.reasons[0] ?? 'device_unsupported')
  }
  if (mode === 'only_in_cloud') {
    if (!cloud.eligible) return to(null, cloud.reasons[0] ?? 'cloud_unavailable')
    return to('in_cloud', input.cached ? 'exact_cache_hit' : chosen)
  }
  if (input.cached && cloud.eligible) return to('in_cloud', 'exact_cache_hit')
  if (mode === 'prefer_in_cloud') {
    if (cloud.eligible) return to('in_cloud', chosen)
    const why = cloud.reasons[0] ?? 'cloud_unavailable'
    return device.eligible ? to('on_device', why) : to(null, why)
  }
  return preferDevice(input, device, cloud, to)
}

function preferDevice(
  { effective, device: report, model }: RoutingInput,
  device: Assessment,
  cloud: Assessment,
  to: (source: Route['source'], reason: RoutingReason) => Route,
): Route {
  if (!device.eligible) {
    const why = device.reasons[0] ?? 'device_unsupported'
    return cloud.eligible ? to('in_cloud', why) : to(null, why)
  }
  if (!cloud.eligible) return to('on_device', 'device_capable')
  const known = report?.models.find(({ id, revision }) => id === model.id && revision === effective.revision)
  // The cloud answers this one while the weights arrive for the next.
  if (known?.cached === false) return to('in_cloud', 'weights_not_cached')
  const slower = device.etaMs !== null && cloud.etaMs !== null && device.etaMs > 4 * cloud.etaMs
  return slower ? to('in_cloud', 'slower_than_cloud') : to('on_device', 'device_capable')
}

/** A model as far as a device's fitness for it goes. */
export type AssessedModel = Pick<CatalogModel, 'id' | 'device' | 'inference_sources'> & {
  readonly parameters: StandardParameters
}

export interface DeviceQuestion {
  readonly model: AssessedModel
  readonly effective: CostedClip & Pick<EffectiveVideo, 'revision' | 'n' | 'envelope'>
  /** null where nothing is known of a device. */
  readonly device: DeviceReport | null
  /** Other models whose steps the device may have timed, for one that it has not. */
  readonly timed?: readonly TimedModel[]
}

/** What speaks against running a request on a device, how long it would take there and what it would hold. */
export function assessDevice({ model, effective, device, timed = [] }: DeviceQuestion): DeviceAssessment {
  const reasons: RoutingReason[] = []
  const state = device?.models.find(({ id, revision }) => id === model.id && revision === effective.revision)
  const needs = needsOf(model, effective)
  const { memoryBytes } = needs
  if (model.device === null || !model.inference_sources.includes('on_device')) reasons.push('model_cloud_only')
  // Latents of a request lie at the service.
  if (effective.envelope !== undefined) reasons.push('device_unsupported')
  if (device === null) return { eligible: false, reasons: [...reasons, 'device_unsupported'], etaMs: null, memoryBytes }
  if (model.device?.features.some((feature) => !device.features.includes(feature))) reasons.push('device_unsupported')
  if (state?.golden === 'fail') reasons.push('device_numerics_failed')
  if (state === undefined || state.golden === 'untested') reasons.push('device_untested')
  const { memory_bytes: memory, maxBufferSize: buffer } = device.limits
  if (memory !== undefined && memory < (memoryBytes ?? 0)) reasons.push('insufficient_memory')
  if (state?.cached !== true && device.storage_free_bytes < (model.device?.download_bytes ?? 0)) {
    reasons.push('insufficient_storage')
  }
  const { width, height, num_frames: frames, num_inference_steps: steps } = effective
  const unbindable = buffer !== undefined && needs.largestBytes > buffer
  if (unbindable || width * height * frames * (steps ?? 1) > deviceLimit) reasons.push('too_large_for_device')
  if (!device.online && state?.cached !== true) reasons.push('offline')
  const eta = etaOf(model, effective, device, timed)
  return { eligible: reasons.length === 0, reasons, etaMs: eta && Math.round(eta * effective.n), memoryBytes }
}

/** What a request holds on a device: counted where the model says what it costs, else the model's own bound. */
function needsOf({ device }: AssessedModel, clip: CostedClip) {
  if (device?.cost === undefined) return { memoryBytes: device?.memory_bytes ?? null, largestBytes: 0 }
  const { activations, largest } = clipCost(device.cost, clip)
  return { memoryBytes: Math.round(weightsHeld * device.download_bytes + activations), largestBytes: largest }
}

/** Half-precision weights are held as they came and once more as float32. */
const weightsHeld = 3

/** Milliseconds of one clip, from the device's own times; of a model it has not timed, from those of others. */
function etaOf(
  { id, device: entry, parameters }: AssessedModel,
  clip: CostedClip,
  device: DeviceReport,
  timed: readonly TimedModel[],
): number | null {
  const own = device.models.find((each) => each.id === id)
  const { ms_per_step: step, ms_besides: besides } = own ?? {}
  if (entry?.cost === undefined) {
    return step === undefined ? null : step * (clip.num_inference_steps ?? 1) + (besides ?? 0)
  }
  const standard = standardClip(parameters)
  if (step !== undefined && step > 0) {
    const pace = paceAt(entry.cost, standard, clip, { step, ...(besides === undefined ? {} : { besides }) })
    return clipTime(entry.cost, clip, pace)
  }
  const rate = deviceRate(device, timed)
  return rate && (1000 * clipCost(entry.cost, clip).flops) / rate
}

function assessCloud({ model, device, cloud }: RoutingInput): Assessment {
  const reasons: RoutingReason[] = []
  if (!cloud.consent) reasons.push('consent_missing')
  if (device?.online === false) reasons.push('offline')
  if (!cloud.available || !model.inference_sources.includes('in_cloud')) reasons.push('cloud_unavailable')
  if (!cloud.quota) reasons.push('quota_exhausted')
  return { eligible: reasons.length === 0, reasons, etaMs: cloud.etaMs }
}
