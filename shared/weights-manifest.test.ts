import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { base64url, publicKeyOf, type SignatureKey } from './signature.ts'
import {
  chunkedFile,
  manifestChunkBytes,
  readWeightsManifest,
  signedDocument,
  signWeightsManifest,
} from './weights-manifest.ts'

const pair = async () =>
  (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as {
    publicKey: SignatureKey
    privateKey: SignatureKey
  }
const [ours, theirs] = [await pair(), await pair()]
const bytes = new Uint8Array(manifestChunkBytes + 5).fill(7)
const unsigned = {
  kind: 'zt.weights.v1' as const,
  version: 3,
  files: [await chunkedFile('a.safetensors', bytes), await chunkedFile('b.safetensors', bytes.subarray(1))],
  documents: [await signedDocument('cards/a.json', bytes.subarray(2))],
}
const signed = await signWeightsManifest(unsigned, ours.privateKey)

describe('a weights manifest', () => {
  it('has a hash for each 4 MiB and the rest', () => {
    expect(unsigned.files[0]?.chunks).toHaveLength(2)
    expect(unsigned.files[0]?.chunks[0]).not.toBe(unsigned.files[0]?.chunks[1])
  })

  it('is read as it was signed, by the key as it is pinned', async () => {
    const pinned = base64url(new Uint8Array(await crypto.subtle.exportKey('raw', ours.publicKey)))
    const read = await readWeightsManifest(JSON.parse(JSON.stringify(signed)), [await publicKeyOf(pinned)])
    expect(read).toEqual(signed)
  })

  it('is refused unsigned, by another key, and with any letter of it changed', async () => {
    const wrong = { code: 'weights_integrity' }
    await expect(readWeightsManifest(unsigned, [ours.publicKey])).rejects.toMatchObject(wrong)
    await expect(readWeightsManifest(signed, [theirs.publicKey])).rejects.toMatchObject(wrong)
    expect(await readWeightsManifest(signed, [theirs.publicKey, ours.publicKey])).toEqual(signed)
    const text = JSON.stringify(signed)
    let reached = 0
    await fc.assert(
      fc.asyncProperty(fc.nat(text.length - 1), fc.constantFrom(...'0a9f-_"Z'), async (place, letter) => {
        const changed = text.slice(0, place) + letter + text.slice(place + 1)
        let data: unknown
        try {
          data = JSON.parse(changed)
        } catch {
          return
        }
        if (JSON.stringify(data) === text) return
        reached += 1
        await expect(readWeightsManifest(data, [ours.publicKey])).rejects.toMatchObject({
          code: expect.stringMatching(/^(weights_integrity|model_format)$/),
        })
      }),
      { seed: 6, numRuns: 500 },
    )
    expect(reached).toBeGreaterThan(100)
  })

  it.each([
    [
      'a chunk too few',
      { ...unsigned, files: unsigned.files.map((file) => ({ ...file, chunks: file.chunks.slice(1) })) },
    ],
    [
      'a file outside its folder',
      { ...unsigned, files: unsigned.files.map((file) => ({ ...file, file: '../a.safetensors' })) },
    ],
    ['a document outside its folder', { ...unsigned, documents: [{ path: '../index.json', sha256: '0'.repeat(64) }] }],
    ['no documents', { ...unsigned, documents: undefined }],
    ['a field nobody knows', { ...unsigned, extra: 1 }],
    ['chunks of no length', { ...unsigned, files: unsigned.files.map((file) => ({ ...file, chunk_bytes: 0 })) }],
  ])('is refused with %s', async (_what, data) => {
    await expect(readWeightsManifest(data, [])).rejects.toMatchObject({ code: 'model_format' })
  })
})
