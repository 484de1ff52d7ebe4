import { describe, expect, it } from 'vitest'
import { testCard } from '../test/edge-settings.ts'
import { catalogModelOf } from './catalog.ts'
import { canonicalForm } from './content-key.ts'
import { resolveRequest, stepsOf } from './effective.ts'
import { readCard } from './manifest.ts'
import { planOf, sigmasOf } from './plan.ts'
import { type LatentEnvelope, parseRequest } from './request.ts'

const model = catalogModelOf(readCard(testCard))
const init_latent = `ast_${'a'.repeat(26)}`
/** Latents of the model's default clip, 17 frames of 64x64, after two of eight rows. */
const envelope: LatentEnvelope = {
  kind: 'zt.latent.v1',
  family: 'zt.test',
  model: 'zt-test@r1',
  shape: [1, 4, 5, 8, 8],
  dtype: 'f32',
  bytes: 5120,
  sha256: '0'.repeat(64),
  step: 2,
  steps: 8,
  sigmas: sigmasOf(planOf({ scheduler: 'ddim', num_inference_steps: 8 })),
  scheduler: 'ddim',
  seed: '0',
  rng: 'philox4x32-10',
  prompt_sha256: '0'.repeat(64),
  created_at: '2026-01-01T00:00:00Z',
  expires_at: '2026-01-02T00:00:00Z',
}
const resolve = (request: object, change: Partial<LatentEnvelope> = {}) =>
  resolveRequest(
    parseRequest({ prompt: 'a fox', init_latent, envelope: { ...envelope, ...change }, ...request }),
    model,
    { seed: 5 },
  ).effective

describe('a request that goes on from latents', () => {
  it('takes from their envelope what it does not say itself, zero as a seed included', () => {
    const shape: LatentEnvelope['shape'] = [1, 4, 2, 4, 6]
    const effective = resolve({}, { shape, steps: 4, sigmas: [], bytes: 768 })
    expect(effective).toMatchObject({ seed: 0, num_inference_steps: 4, num_frames: 5, width: 48, height: 32 })
    expect(effective.envelope).toMatchObject({ step: 2, steps: 4 })
  })

  it('costs the rows that are left, and has a key of its own for each row it begins at', () => {
    expect([stepsOf(resolve({})), stepsOf(resolve({ stop_step: 5 })), stepsOf(resolve({}, { step: 8 }))]).toEqual([
      6, 3, 0,
    ])
    const hashes = new Map([[init_latent, 'h']])
    const form = (request: object, change: object) =>
      canonicalForm(resolve(request, change), {
        ...{ policyVersion: '1', tenant: 't', provider: 'node', weightsSha256: 'w', hashes },
      })
    const forms = [form({}, {}), form({}, { step: 3 }), form({ stop_step: 5 }, {}), form({ stop_step: 6 }, {})]
    expect(new Set(forms).size).toBe(4)
  })

  const wrong: Readonly<Record<string, readonly [request: object, change: Partial<LatentEnvelope>]>> = {
    'another family': [{}, { family: 'zt.other' }],
    'another model': [{}, { model: 'zt-other@r1' }],
    'another revision': [{}, { model: 'zt-test@r2' }],
    'another size': [{ size: '64x48' }, {}],
    'another length': [{ num_frames: 13 }, {}],
    'other channels': [{}, { shape: [1, 8, 5, 8, 8] }],
    'another count of steps': [{ num_inference_steps: 7 }, {}],
    'other levels': [{}, { sigmas: envelope.sigmas.map((sigma) => sigma + 1e-3) }],
    'too few levels': [{}, { sigmas: [1, 0] }],
    'another walk': [{ scheduler: 'dpm2m' }, {}],
    'another seed': [{ seed: 1 }, {}],
    'a step beyond the last': [{}, { step: 9 }],
    'a step that looks back': [{}, { scheduler: 'dpm2m', step: 3 }],
  }
  for (const [what, [request, change]] of Object.entries(wrong)) {
    it(`is refused with ${what}`, () => {
      expect(() => resolve(request, change)).toThrow(expect.objectContaining({ code: 'latent_mismatch' }))
    })
  }

  it('stops where its plan may be left, and gives latents then', () => {
    expect(resolve({ stop_step: 5 })).toMatchObject({ output_format: 'latents', stop_step: 5 })
    expect(() => resolve({ stop_step: 2 })).toThrow('this plan can be left at 3, 4, 5, 6, 7, 8')
    expect(() => resolve({ stop_step: 5, output_format: 'mp4' })).toThrow('leave output_format out')
    expect(() => resolve({ n: 2 })).toThrow('send one request for each')
  })
})
