import { describe, expect, it } from 'vitest'
import { testCard } from '../test/edge-settings.ts'
import { catalogModelOf } from './catalog.ts'
import { resolveRequest } from './effective.ts'
import { readCard } from './manifest.ts'
import { type DeviceReport, inferenceModes, parseRequest } from './request.ts'
import { type RoutingInput, route, routingReasons } from './routing.ts'

const model = catalogModelOf(readCard(testCard))
const { effective } = resolveRequest(parseRequest({ prompt: 'a fox' }), model, { seed: 1 })
const known = { id: model.id, revision: model.revision, dtype: 'f32', cached: true, golden: 'pass' as const }
const able: DeviceReport = {
  adapter_class: 'a',
  features: [],
  limits: {},
  cross_origin_isolated: true,
  wasm_threads: true,
  storage_free_bytes: 1e12,
  online: true,
  models: [known],
}
const open = { consent: true, available: true, quota: true, etaMs: null }
const base: RoutingInput = { mode: 'prefer_on_device', model, effective, device: able, cloud: open, cached: false }
const decide = (change: Partial<RoutingInput>) => {
  const { source, reason } = route({ ...base, ...change })
  return [source, reason]
}
const device = (change: Partial<DeviceReport>) => ({ device: { ...able, ...change } })
const knownAs = (change: object) => device({ models: [{ ...known, ...change }] })

describe('a route', () => {
  it('has the reason that decided it', () => {
    expect(decide({})).toEqual(['on_device', 'device_capable'])
    expect(decide({ cached: true })).toEqual(['in_cloud', 'exact_cache_hit'])
    expect(decide({ mode: 'only_in_cloud' })).toEqual(['in_cloud', 'mode_forced'])
    expect(decide({ mode: 'only_on_device' })).toEqual(['on_device', 'mode_forced'])
    expect(decide({ device: null })).toEqual(['in_cloud', 'device_unsupported'])
    expect(decide(knownAs({ cached: false }))).toEqual(['in_cloud', 'weights_not_cached'])
    expect(decide(knownAs({ golden: 'fail' }))).toEqual(['in_cloud', 'device_numerics_failed'])
    expect(decide(knownAs({ golden: 'untested' }))).toEqual(['in_cloud', 'device_untested'])
    expect(decide(device({ models: [] }))).toEqual(['in_cloud', 'device_untested'])
    expect(decide(device({ limits: { memory_bytes: 1 } }))).toEqual(['in_cloud', 'insufficient_memory'])
    expect(decide({ ...device({ storage_free_bytes: 0, models: [{ ...known, cached: false }] }) })).toEqual([
      'in_cloud',
      'insufficient_storage',
    ])
    expect(decide({ effective: { ...effective, width: 4096, height: 4096 } })).toEqual([
      'in_cloud',
      'too_large_for_device',
    ])
    expect(decide({ model: { ...model, device: null } })).toEqual(['in_cloud', 'model_cloud_only'])
    expect(decide({ ...knownAs({ ms_per_step: 10_000 }), cloud: { ...open, etaMs: 1_000 } })).toEqual([
      'in_cloud',
      'slower_than_cloud',
    ])
    expect(decide({ ...device({ online: false }) })).toEqual(['on_device', 'device_capable'])
    expect(decide({ mode: 'prefer_in_cloud', cloud: { ...open, available: false } })).toEqual([
      'on_device',
      'cloud_unavailable',
    ])
    expect(decide({ mode: 'prefer_in_cloud', cloud: { ...open, quota: false } })).toEqual([
      'on_device',
      'quota_exhausted',
    ])
    expect(decide({ mode: 'only_in_cloud', cloud: { ...open, consent: false } })).toEqual([null, 'consent_missing'])
  })

  it('never enters the cloud without consent, nor a device that has not passed', () => {
    for (const mode of inferenceModes) {
      for (const golden of ['pass', 'fail', 'untested'] as const) {
        for (const consent of [true, false]) {
          for (const cached of [true, false]) {
            for (const online of [true, false]) {
              const { source, reason } = route({
                ...base,
                mode,
                cached,
                ...device({ online, models: [{ ...known, golden }] }),
                cloud: { ...open, consent },
              })
              if (source === 'in_cloud')
                expect([consent, mode === 'only_on_device', online]).toEqual([true, false, true])
              if (source === 'on_device') expect([golden, mode === 'only_in_cloud']).toEqual(['pass', false])
              expect(routingReasons).toContain(reason)
            }
          }
        }
      }
    }
  })
})

describe('a model that says what it costs', () => {
  const cost = {
    token: { frames: 4, side: 16 },
    encode: {},
    step: { tokens: 1000 },
    decode: { tokens: 500 },
    activations: { tokens: 1_000_000 },
    largest: { tokens: 1000 },
    logits: {},
    guidance: 'told' as const,
  }
  const costed = { ...model, device: model.device && { ...model.device, cost } }
  const assess = (change: Partial<RoutingInput>) => route({ ...base, model: costed, ...change }).device

  it('is timed by operations, at the size asked for and with its decoding', () => {
    // The standard clip has 4·4 tokens in five latent frames; a step of it takes 10 ms.
    const at = (size: object) => assess({ ...knownAs({ ms_per_step: 10 }), effective: { ...effective, ...size } }).etaMs
    expect(at({})).toBe(85)
    expect(at({ width: 128 })).toBe(170)
    expect(assess({}).etaMs).toBeNull()
  })

  it('is timed besides its steps by what the device took there, where it tells', () => {
    const told = { ms_per_step: 10, ms_besides: 300 }
    const at = (size: object) => assess({ ...knownAs(told), effective: { ...effective, ...size } }).etaMs
    expect(at({})).toBe(8 * 10 + 300)
    expect(at({ width: 128 })).toBe(2 * (8 * 10 + 300))
    expect(at({ num_inference_steps: 4 })).toBe(4 * 10 + 300)
    // Without a count of operations, too.
    expect(route({ ...base, ...knownAs(told) }).device.etaMs).toBe(8 * 10 + 300)
  })

  it('is held to memory and buffers by what it holds at the size asked for', () => {
    const small = assess({})
    expect(small.memoryBytes).toBe(3 * 1500 + 80_000_000)
    const limits = { memory_bytes: 100_000_000, maxBufferSize: 100_000 }
    expect(assess(device({ limits })).reasons).toEqual([])
    const wide = assess({ ...device({ limits }), effective: { ...effective, width: 128, height: 128 } })
    expect(wide.reasons).toEqual(['insufficient_memory', 'too_large_for_device'])
  })
})
