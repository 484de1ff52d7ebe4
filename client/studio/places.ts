/**
 * Where it runs: the three choices, and beside each what the router says to the request as it stands.
 *
 * The words are this page's; the decision is the shared router's and nobody else's.
 */

import { GenerationError } from '../../shared/errors.ts'
import type { RoutingReason } from '../../shared/routing.ts'
import type { Client, InferenceMode, Route, VideoRequest } from '../index.ts'
import { byId } from './elements.ts'

/** The modes that are offered, in the order of the page. */
const offered = ['prefer_on_device', 'only_on_device', 'only_in_cloud'] as const satisfies readonly InferenceMode[]
type Offered = (typeof offered)[number]

export interface Places {
  readonly chosen: () => Offered
  /** Asks the router anew; the last call wins. */
  readonly refresh: () => Promise<void>
}

/** Wires the choices; `changed` is called when another is made. */
export function createPlaces(client: () => Client, request: () => VideoRequest, changed: () => void): Places {
  const input = (mode: Offered) => byId(`where-${mode}`, HTMLInputElement)
  const chosen = () => offered.find((mode) => input(mode).checked) ?? 'prefer_on_device'
  let asked = 0
  const show = () => {
    byId('key-row', HTMLElement).hidden = chosen() !== 'only_in_cloud'
  }
  for (const mode of offered)
    input(mode).addEventListener('change', () => {
      show()
      changed()
    })
  show()
  return {
    chosen,
    refresh: async () => {
      const turn = ++asked
      const texts = await Promise.all(
        offered.map(async (mode) => said(client(), { ...request(), inferenceMode: mode })),
      )
      if (turn !== asked) return
      offered.forEach((mode, at) => {
        byId(`why-${mode}`, HTMLElement).textContent = texts[at] ?? ''
      })
    },
  }
}

async function said(client: Client, request: VideoRequest): Promise<string> {
  try {
    // An empty prompt is no reason yet: nothing was asked.
    return explain(await client.videos.route({ ...request, prompt: request.prompt?.trim() || 'a fox' }), request)
  } catch (error) {
    return error instanceof GenerationError ? 'Cannot be asked so' : String(error)
  }
}

/** A decision in a few words. */
export function explain(route: Route, request: Pick<VideoRequest, 'inferenceMode'>): string {
  const why = words[route.reason]
  const forced = route.reason === 'mode_forced'
  const time = inWords(route.device.etaMs)
  if (route.source === 'on_device') return `${forced ? 'Ready' : `On this device: ${why}`}${time}`
  if (route.source === 'in_cloud') return forced ? 'Ready' : `In the cloud: ${why}`
  if (!mayWait(route, request)) return `Not possible: ${why}`
  const keyless = [route.reason, ...route.cloud.reasons].includes('consent_missing')
  const lack = keyless ? 'Needs a key' : 'Waits for a network'
  return passing.includes(route.reason) ? lack : `${lack}: ${why}`
}

/** How long it takes, as far as that is known. */
function inWords(milliseconds: number | null): string {
  if (milliseconds === null) return ''
  const seconds = milliseconds / 1000
  if (seconds < 1.5) return ', about a second'
  // A number and its unit stay on one line.
  return seconds < 90 ? `, about ${Math.round(seconds)}\u00a0s` : `, about ${Math.round(seconds / 60)}\u00a0min`
}

const passing: readonly RoutingReason[] = ['offline', 'consent_missing']

/** Whether a request that can run nowhere now may be kept for the cloud until it can. */
export function mayWait({ source, cloud }: Route, { inferenceMode }: Pick<VideoRequest, 'inferenceMode'>): boolean {
  // Without a credential the router also says that there is no service; a key is what is missing.
  const lasting = cloud.reasons.filter((reason) => !passing.includes(reason) && reason !== 'cloud_unavailable')
  return source === null && inferenceMode !== 'only_on_device' && lasting.length === 0
}

const words: Readonly<Record<RoutingReason, string>> = {
  exact_cache_hit: 'it was made before',
  mode_forced: 'as chosen',
  device_capable: 'it can draw this',
  weights_not_cached: 'the model is not here yet',
  model_cloud_only: 'the model is not on this site',
  device_unsupported: 'this device lacks what the model needs',
  device_untested: 'this device is not tested yet',
  device_numerics_failed: 'this device computed wrong when tested',
  insufficient_memory: 'too little memory',
  insufficient_storage: 'too little free storage',
  too_large_for_device: 'too large for this device',
  slower_than_cloud: 'the cloud is faster',
  device_failed_midway: 'the device failed on the way',
  offline: 'no network',
  cloud_unavailable: 'the service is not available',
  quota_exhausted: 'the credit is used up',
  consent_missing: 'no key was given',
  latent_handoff: 'begun in one place, finished in the other',
  draft_refine: 'drafted here, refined there',
}

/** Why a finished clip was made where it was, in words; the reason itself where it is a stranger. */
export const reasonInWords = (reason: string): string =>
  Object.hasOwn(words, reason) ? words[reason as RoutingReason] : reason
