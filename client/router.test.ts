import { describe, expect, it } from 'vitest'
import type { DeviceReport, InferenceMode } from '../shared/request.ts'
import { toyModel } from '../test/toy-model.ts'
import type { ModelState } from './engine.ts'
import type { Hybrid } from './hybrid.ts'
import { nowhere, routeRequest } from './router.ts'

const { card } = await toyModel()
const model = (more: Partial<ModelState> = {}): ModelState => ({
  card,
  standard: true,
  cached: true,
  golden: 'pass',
  ...more,
})
const device = (more: Partial<DeviceReport> = {}): DeviceReport => ({
  adapter_class: 'google/swiftshader',
  features: [],
  limits: {},
  cross_origin_isolated: true,
  wasm_threads: true,
  storage_free_bytes: 1e9,
  online: true,
  models: [],
  ...more,
})

describe('routing', () => {
  const cases: readonly (readonly [
    InferenceMode,
    boolean,
    Partial<ModelState> | null,
    Partial<DeviceReport>,
    string | null,
    string,
  ])[] = [
    ['prefer_on_device', false, {}, {}, 'on_device', 'device_capable'],
    ['prefer_on_device', false, { golden: 'untested' }, {}, 'on_device', 'device_capable'],
    ['prefer_on_device', false, { cached: false }, {}, 'on_device', 'device_capable'],
    ['prefer_on_device', true, { cached: false }, {}, 'in_cloud', 'weights_not_cached'],
    ['prefer_on_device', true, { golden: 'fail' }, {}, 'in_cloud', 'device_numerics_failed'],
    ['prefer_on_device', false, { golden: 'fail' }, {}, null, 'device_numerics_failed'],
    ['prefer_on_device', true, null, {}, 'in_cloud', 'model_cloud_only'],
    ['prefer_on_device', false, null, {}, null, 'consent_missing'],
    ['prefer_on_device', true, null, { online: false }, null, 'offline'],
    ['prefer_on_device', true, {}, { online: false }, 'on_device', 'device_capable'],
    ['prefer_on_device', false, { cached: false }, { online: false }, null, 'offline'],
    ['prefer_on_device', false, { cached: false }, { storage_free_bytes: 100 }, null, 'insufficient_storage'],
    ['only_on_device', true, {}, {}, 'on_device', 'mode_forced'],
    ['only_on_device', true, null, {}, null, 'model_cloud_only'],
    ['prefer_in_cloud', true, {}, {}, 'in_cloud', 'mode_forced'],
    ['prefer_in_cloud', false, {}, {}, 'on_device', 'consent_missing'],
    ['prefer_in_cloud', true, {}, { online: false }, 'on_device', 'offline'],
    ['only_in_cloud', true, {}, {}, 'in_cloud', 'mode_forced'],
    ['only_in_cloud', false, {}, {}, null, 'consent_missing'],
  ]
  for (const [mode, cloud, state, report, source, reason] of cases) {
    const told = `${mode}, ${cloud ? 'with' : 'without'} a service, model ${JSON.stringify(state)}, device ${JSON.stringify(report)}`
    it(`${told}: ${source ?? 'nowhere'} (${reason})`, () => {
      const models = state === null ? [] : [model(state)]
      const route = routeRequest({ prompt: 'a fox' }, { mode, cloud, models, device: device(report) })
      expect([route.source, route.reason]).toEqual([source, reason])
    })
  }

  const cloudFirst: Hybrid = { first: 'in_cloud', step: 4 }
  const shared: readonly (readonly [Hybrid, InferenceMode, boolean, Partial<ModelState>, string | null, string])[] = [
    [cloudFirst, 'prefer_on_device', true, {}, 'hybrid', 'latent_handoff'],
    [{ first: 'on_device', step: 4 }, 'prefer_in_cloud', true, {}, 'hybrid', 'latent_handoff'],
    [{ first: 'draft' }, 'prefer_on_device', true, { cached: false }, 'hybrid', 'draft_refine'],
    [cloudFirst, 'prefer_on_device', false, {}, 'on_device', 'device_capable'],
    [cloudFirst, 'prefer_on_device', true, { golden: 'fail' }, 'in_cloud', 'device_numerics_failed'],
    [cloudFirst, 'only_on_device', true, {}, 'on_device', 'mode_forced'],
    [{ first: 'draft' }, 'only_in_cloud', true, {}, 'in_cloud', 'mode_forced'],
  ]
  for (const [hybrid, mode, cloud, state, source, reason] of shared) {
    const told = `${JSON.stringify(hybrid)} with ${mode}, ${cloud ? 'with' : 'without'} a service, model ${JSON.stringify(state)}`
    it(`${told}: ${source ?? 'nowhere'} (${reason})`, () => {
      const situation = { mode, cloud, models: [model(state)], device: device() }
      const route = routeRequest({ prompt: 'a fox' }, situation, hybrid)
      expect([route.source, route.reason]).toEqual([source, reason])
    })
  }

  it('says what is ruled out and what to do where nothing is left', () => {
    const route = routeRequest(
      { prompt: 'a fox' },
      { mode: 'only_in_cloud', cloud: false, models: [model()], device: device() },
    )
    expect(nowhere(route, 'only_in_cloud')).toMatchObject({ code: 'consent_required' })
    expect(nowhere(route, 'only_in_cloud').message).toContain('pass baseUrl and tokenProvider')
  })

  it('refuses a request that is none before anything else', () => {
    expect(() =>
      routeRequest({ prompt: '' }, { mode: 'prefer_on_device', cloud: false, models: [], device: device() }),
    ).toThrow('prompt: got an empty text')
  })
})
