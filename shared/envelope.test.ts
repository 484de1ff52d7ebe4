import { describe, expect, it } from 'vitest'
import { checkLatents, type LatentEnvelope, signEnvelope, verifyEnvelope } from './envelope.ts'

const pair = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as {
  privateKey: never
  publicKey: never
}
const keys = new Map([['k1', pair.publicKey]])
const values = Float32Array.from({ length: 16 }, (_, index) => index / 8 - 1)
const bytes = new Uint8Array(values.buffer)
const hash = async (data: Uint8Array<ArrayBuffer>) =>
  Buffer.from(await crypto.subtle.digest('SHA-256', data)).toString('hex')
const envelope: LatentEnvelope = {
  kind: 'zt.latent.v1',
  family: 'zt.z16',
  model: 'zt@r1',
  shape: [1, 4, 1, 2, 2],
  dtype: 'f32',
  bytes: 64,
  sha256: await hash(bytes),
  step: 2,
  steps: 8,
  sigmas: [1, 0.5, 0],
  scheduler: 'ddim',
  seed: '7',
  rng: 'philox4x32-10',
  prompt_sha256: '0'.repeat(64),
  tenant: 't',
  created_at: '2026-01-01T00:00:00Z',
  expires_at: '2026-01-02T00:00:00Z',
}

describe('an envelope', () => {
  it('is good as signed, in any order of its fields, and with no field changed', async () => {
    const signed = await signEnvelope(envelope, 'k1', pair.privateKey)
    expect(await verifyEnvelope(signed, keys)).toBe(true)
    const shuffled = Object.fromEntries(Object.entries(signed).reverse()) as LatentEnvelope
    expect(await verifyEnvelope(shuffled, keys)).toBe(true)
    for (const name of Object.keys(signed) as (keyof LatentEnvelope)[]) {
      const changed = {
        ...signed,
        [name]: typeof signed[name] === 'number' ? Number(signed[name]) + 1 : `${signed[name]}x`,
      }
      expect([name, await verifyEnvelope(changed as LatentEnvelope, keys)]).toEqual([name, false])
    }
    const signature = signed.sig as string
    const twin = signature.slice(0, -1) + String.fromCharCode(signature.charCodeAt(85) + 1)
    expect(await verifyEnvelope({ ...signed, sig: twin }, keys)).toBe(false)
  })

  it('holds its latents to length, hash, step and range', async () => {
    await expect(checkLatents(envelope, bytes)).resolves.toBeUndefined()
    const refused = async (change: Partial<LatentEnvelope>, data = bytes) =>
      expect(checkLatents({ ...envelope, sha256: await hash(data), ...change }, data)).rejects.toMatchObject({
        code: 'latent_mismatch',
      })
    await refused({ bytes: 60 })
    await refused({ shape: [1, 4, 1, 2, 3] })
    await refused({ sha256: '0'.repeat(64) })
    await refused({ step: 9 })
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, 1e6]) {
      const spoiled = values.slice()
      spoiled[3] = bad
      await refused({}, new Uint8Array(spoiled.buffer))
    }
  })
})
