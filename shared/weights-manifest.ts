/**
 * What a site's models must be, piece by piece: a hash for every 4 MiB of every weight file and one for each of the
 * documents that say what is made of them, signed as a whole.
 *
 * A client that has a key pinned takes no file that the manifest does not list and no byte whose chunk does not hash to
 * it. A card decides what weights become, so it is vouched for like them. `version` only rises, so an old manifest with
 * a known flaw cannot be served again. What a card says is manifest.ts's.
 */

import * as v from 'valibot'
import { GenerationError } from './errors.ts'
import { isSigned, type SignatureKey, signatureOf } from './signature.ts'

/** Bytes of a chunk; the last of a file may be shorter. */
export const manifestChunkBytes = 4 * 2 ** 20

const count = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** 45))
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/))

const chunkedFileSchema = v.pipe(
  v.strictObject({
    file: v.pipe(v.string(), v.regex(/^[\w.-]{1,120}\.safetensors$/)),
    bytes: count,
    sha256,
    chunk_bytes: v.pipe(count, v.minValue(1)),
    chunks: v.array(sha256),
  }),
  v.check(
    ({ bytes, chunk_bytes: each, chunks }) => chunks.length === Math.ceil(bytes / each),
    'must have one hash for each chunk',
  ),
)

/** A small file by its path below the models' address: the index, a card, an imported model's manifest. */
const documentSchema = v.strictObject({
  path: v.pipe(v.string(), v.regex(/^\w[\w.-]*(\/\w[\w.-]*){0,2}\.json$/)),
  sha256,
})

export const weightsManifestSchema = v.strictObject({
  kind: v.literal('zt.weights.v1'),
  version: count,
  files: v.pipe(v.array(chunkedFileSchema), v.maxLength(10_000)),
  documents: v.pipe(v.array(documentSchema), v.maxLength(10_000)),
  /** Ed25519 over the key-sorted JSON without it. */
  sig: v.optional(v.string()),
})

export type ChunkedFile = v.InferOutput<typeof chunkedFileSchema>
export type SignedDocument = v.InferOutput<typeof documentSchema>
export type WeightsManifest = v.InferOutput<typeof weightsManifestSchema>

/**
 * Checks a manifest's shape, and its signature where keys are pinned.
 * @param keys public keys, any of which may have signed; none where nothing is pinned.
 * @throws GenerationError model_format for a wrong shape, weights_integrity for a missing or wrong signature.
 */
export async function readWeightsManifest(data: unknown, keys: readonly SignatureKey[]): Promise<WeightsManifest> {
  const result = v.safeParse(weightsManifestSchema, data)
  if (!result.success) {
    const [issue] = result.issues
    const field = v.getDotPath(issue) ?? 'the document'
    throw new GenerationError('model_format', `weights manifest: ${field}: ${issue.message}`, { cause: result.issues })
  }
  const verdicts = await Promise.all(keys.map((key) => isSigned(result.output, key)))
  if (keys.length === 0 || verdicts.includes(true)) return result.output
  throw new GenerationError(
    'weights_integrity',
    `weights manifest: got ${result.output.sig === undefined ? 'no signature' : 'a signature of another key'}, allowed is one of the ${keys.length} pinned keys; serve the manifest of this build`,
  )
}

/** Signs a manifest. @param key an Ed25519 private key. */
export async function signWeightsManifest(manifest: WeightsManifest, key: SignatureKey): Promise<WeightsManifest> {
  return { ...manifest, sig: await signatureOf(manifest, key) }
}

/** Lists a file by the hashes of its chunks. */
export async function chunkedFile(file: string, bytes: Uint8Array): Promise<ChunkedFile> {
  const pieces = Array.from({ length: Math.ceil(bytes.length / manifestChunkBytes) }, (_, index) =>
    bytes.subarray(index * manifestChunkBytes, (index + 1) * manifestChunkBytes),
  )
  return {
    file,
    bytes: bytes.length,
    sha256: await digest(bytes),
    chunk_bytes: manifestChunkBytes,
    chunks: await Promise.all(pieces.map(digest)),
  }
}

/** Lists a document by its hash. */
export const signedDocument = async (path: string, bytes: Uint8Array): Promise<SignedDocument> => ({
  path,
  sha256: await digest(bytes),
})

async function digest(bytes: Uint8Array): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>))
  return [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
