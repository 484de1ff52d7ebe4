/**
 * Where a request of this client runs: its situation, put to the shared router.
 *
 * Knows what the shared router does not: that the engine tests an untested adapter by itself before its first step, and
 * that without a service there is no cloud to consent to.
 */

import { resolveRequest } from '../shared/effective.ts'
import { GenerationError } from '../shared/errors.ts'
import { type CheckedRequest, type DeviceReport, type InferenceMode, parseRequest } from '../shared/request.ts'
import { type Route, type RoutingInput, type RoutingReason, route } from '../shared/routing.ts'
import { deviceModelOf } from './device-model.ts'
import type { ModelState } from './engine.ts'
import type { VideoRequest } from './events.ts'
import type { Hybrid } from './hybrid.ts'
import { snakeCase } from './names.ts'

export interface Situation {
  readonly mode: InferenceMode
  /** What this page can run; empty where the models' address has none. */
  readonly models: readonly ModelState[]
  readonly device: DeviceReport
  /** Whether there is a service and a way to pay it. */
  readonly cloud: boolean
}

/**
 * Decides where a request runs.
 * @throws GenerationError for a request that no place would take.
 */
export function routeRequest(request: VideoRequest, situation: Situation, hybrid?: Hybrid): Route {
  const { mode, models, device, cloud } = situation
  const parsed = parseRequest(snakeCase(request))
  // A draft is drawn by a model that is here, whatever draws it over.
  const wanted = hybrid?.first === 'draft' ? (hybrid.model ?? parsed.model) : parsed.model
  const state = models.find(({ card, standard }) => (wanted === undefined ? standard : card.id === wanted))
  if (state === undefined) return cloudOnly(situation)
  const model = deviceModelOf(state.card)
  const { effective } = resolveRequest(draftable(parsed, hybrid), model, { seed: 0 })
  const known = {
    id: model.id,
    revision: model.revision,
    dtype: 'f32',
    cached: state.cached,
    golden: state.golden === 'untested' ? ('pass' as const) : state.golden,
    ...(state.msPerStep === undefined ? {} : { ms_per_step: state.msPerStep }),
    ...(state.msBesides === undefined ? {} : { ms_besides: state.msBesides }),
  }
  return route({
    mode,
    model,
    effective,
    device: { ...device, models: [known] },
    cloud: { consent: cloud, available: cloud, quota: true, etaMs: null },
    cached: false,
    hybrid: hybridName(hybrid),
  })
}

const hybridName = (hybrid: Hybrid | undefined): RoutingInput['hybrid'] => {
  if (hybrid === undefined) return undefined
  return hybrid.first === 'draft' ? 'draft_refine' : 'latent_handoff'
}

/** Of a draft the dials are those of the model that draws it over. */
function draftable(request: CheckedRequest, hybrid: Hybrid | undefined): CheckedRequest {
  if (hybrid?.first !== 'draft') return request
  const { num_inference_steps: _, guidance_scale: __, scheduler: ___, ...rest } = request
  return rest
}

/** A model that is not here can only be there. */
function cloudOnly({ mode, cloud, device }: Situation): Route {
  const allowed = cloud && device.online && mode !== 'only_on_device'
  const wanted = mode === 'only_in_cloud' ? 'mode_forced' : 'model_cloud_only'
  const reason: RoutingReason = !cloud ? 'consent_missing' : device.online ? wanted : 'offline'
  const none = { eligible: false, reasons: ['model_cloud_only' as const], etaMs: null }
  return {
    source: allowed ? 'in_cloud' : null,
    reason,
    device: { ...none, memoryBytes: null },
    cloud: { ...none, eligible: allowed, reasons: [] },
  }
}

/** The failure of a request that may run nowhere. */
export function nowhere({ reason, device, cloud }: Route, mode: InferenceMode): GenerationError {
  const code =
    reason === 'consent_missing' ? 'consent_required' : reason === 'offline' ? 'offline' : 'device_unavailable'
  const said = [...new Set([...device.reasons, ...cloud.reasons])].join(', ')
  return new GenerationError(
    code,
    `inference_mode: got ${mode}, but the device and the cloud are ruled out (${said || reason}); change the mode, pass baseUrl and tokenProvider, or connect`,
  )
}
