import { describe, expect, it } from 'vitest'
import { type LatentEnvelope, signEnvelope } from '../shared/envelope.ts'
import type { Job } from '../shared/job.ts'
import { planOf, sigmasOf } from '../shared/plan.ts'
import { sha256 } from './bytes.ts'
import { bindings, type Caller, fakeUpstream, knock, newTenant } from './front-door.ts'
import { servicesOf } from './services.ts'

/** Latents of 17 frames of 64x64 of the test's model. */
const latents = new Uint8Array(Float32Array.from({ length: 4 * 5 * 8 * 8 }, (_, index) => Math.sin(index)).buffer)

async function envelopeOf(
  bytes: Uint8Array<ArrayBuffer>,
  change: Partial<LatentEnvelope> = {},
): Promise<LatentEnvelope> {
  return {
    kind: 'zt.latent.v1',
    family: 'zt.test',
    model: 'zt-test@r1',
    shape: [1, 4, 5, 8, 8],
    dtype: 'f32',
    bytes: bytes.length,
    sha256: await sha256(bytes),
    step: 3,
    steps: 8,
    sigmas: sigmasOf(planOf({ scheduler: 'ddim', num_inference_steps: 8 })),
    scheduler: 'ddim',
    seed: '0',
    rng: 'philox4x32-10',
    prompt_sha256: '0'.repeat(64),
    created_at: new Date().toISOString(),
    expires_at: new Date(Date.now() + 60_000).toISOString(),
    ...change,
  }
}

async function upload(caller: Caller, bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const facts = { kind: 'latent', content_type: 'application/octet-stream', bytes: bytes.length }
  const created = await caller.call('POST', '/v1/assets', { ...facts, sha256: await sha256(bytes) })
  const { id, upload: at } = (await created.json()) as { id: string; upload: { url: string } | null }
  if (at !== null) await knock(at.url.replace('https://edge.test', ''), { method: 'PUT', body: bytes })
  return id
}

describe('latents that come in', () => {
  it('are brought to the node by their hash, with what they are, and the run is told as half of one', async () => {
    const { node } = fakeUpstream()
    // The answer is lost, so all is sent again; a node refuses another body under one id.
    node.faults.push('reset_after')
    const caller = await newTenant()
    const envelope = await envelopeOf(latents)
    const job = await caller.run({ init_latent: await upload(caller, latents), envelope })
    expect([job.status, job.inference_source, job.routing_reason, job.seed]).toEqual([
      'completed',
      'hybrid',
      'latent_handoff',
      0,
    ])
    expect(job.receipt).toMatchObject({ inference_source: 'hybrid', split_step: 3 })
    const name = `sha256-${envelope.sha256}`
    expect(node.files.get(name)).toEqual(latents)
    expect(node.requests.filter((request) => request === `PUT /v1/files/${name}`)).toHaveLength(2)
    const [prediction] = [...node.predictions.values()]
    expect(prediction?.input).toMatchObject({
      init_latent: `http://node.test/v1/files/${name}`,
      envelope: { step: 3, steps: 8, sha256: envelope.sha256, dtype: 'f32' },
      seed: 0,
    })
    expect([...node.executions.values()]).toEqual([1])
  })

  it('that the node finds not to fit fail the job as such', async () => {
    const { node } = fakeUpstream()
    node.faults.push('misfit')
    const caller = await newTenant()
    const job = await caller.run({ init_latent: await upload(caller, latents), envelope: await envelopeOf(latents) })
    expect([job.status, job.error?.code]).toEqual(['failed', 'latent_mismatch'])
  })

  const spoiled = latents.slice()
  new DataView(spoiled.buffer).setFloat32(40, Number.NaN, true)
  const wrong: Readonly<Record<string, Partial<LatentEnvelope>>> = {
    'of another family': { family: 'zt.other' },
    'of another model': { model: 'zt-other@r1' },
    'of another revision': { model: 'zt-test@r2' },
    'of another shape': { shape: [1, 4, 5, 8, 16] },
    'of another schedule': { sigmas: sigmasOf(planOf({ scheduler: 'ddim', num_inference_steps: 8 })).reverse() },
    'of another walk': { scheduler: 'dpm2m' },
    'of a longer run': { steps: 9 },
    'after a step there is not': { step: 9 },
    'whose time is over': { expires_at: '2020-01-01T00:00:00Z' },
    'of other bytes': { sha256: 'f'.repeat(64) },
    'with a signature that is none of ours': { tenant: 't', kid: 'k', sig: 'A'.repeat(86) },
  }
  const size = { size: '64x64', num_frames: 17, num_inference_steps: 8, scheduler: 'ddim' }
  for (const [what, change] of Object.entries(wrong)) {
    it(`are refused ${what}`, async () => {
      const { node } = fakeUpstream()
      const caller = await newTenant()
      const envelope = await envelopeOf(latents, change)
      const body = { prompt: 'a fox', ...size, init_latent: await upload(caller, latents), envelope }
      const answer = await caller.call('POST', '/v1/videos', body)
      expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([422, 'latent_mismatch'])
      expect(node.creates()).toBe(0)
    })
  }

  it('are refused with a number that is none, and signed for somebody else', async () => {
    fakeUpstream()
    const caller = await newTenant()
    const { kid, privateKey } = (await servicesOf(bindings).secrets()).envelopes
    const foreign = await signEnvelope(await envelopeOf(latents, { tenant: 'somebody' }), kid, privateKey)
    const own = await signEnvelope(await envelopeOf(latents, { tenant: caller.tenant }), kid, privateKey)
    for (const [bytes, envelope, status] of [
      [spoiled, await envelopeOf(spoiled), 422],
      [latents, foreign, 422],
      [latents, { ...own, step: 4 }, 422],
      [latents, own, 202],
    ] as const) {
      const body = { prompt: 'a fox', init_latent: await upload(caller, bytes), envelope }
      expect((await caller.call('POST', '/v1/videos', body)).status).toBe(status)
    }
  })

  it('cost the rows that are left', async () => {
    fakeUpstream()
    const caller = await newTenant()
    const quote = async (body: object) => {
      const answer = await caller.call('POST', '/v1/videos/quote', { prompt: 'a fox', ...body })
      return (await answer.json()) as { routing_reason: string; effective: Job['effective'] }
    }
    const init_latent = await upload(caller, latents)
    expect(await quote({ init_latent, envelope: await envelopeOf(latents) })).toMatchObject({
      routing_reason: 'latent_handoff',
      effective: { num_inference_steps: 8, envelope: { step: 3 } },
    })
    expect(await quote({ stop_step: 5 })).toMatchObject({ effective: { output_format: 'latents', stop_step: 5 } })
  })
})
