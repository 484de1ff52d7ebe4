/**
 * The manifest of an imported model: which parts it has, how each is configured, and where its weights are, with a hash
 * for every file and for every chunk of it, so that a download can be checked and resumed piece by piece.
 *
 * Data only, written by `zoetrope import` and checked here before anything trusts it. Cards of released models are
 * shared/manifest.ts's.
 */

import * as v from 'valibot'
import { GenerationError } from '../../shared/errors.ts'
import { type ReleasedPlanName, releasedPlans } from '../../shared/released-plans.ts'
import { precisions } from './conversion.ts'
import { partKinds } from './rename.ts'

const count = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(2 ** 45))
const sha256 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/))
/** Plain names: a manifest can point nowhere but into its own folder. */
const fileName = v.pipe(v.string(), v.regex(/^[\w][\w.-]{0,120}$/))

const fileSchema = v.pipe(
  v.strictObject({ file: fileName, bytes: count, sha256, chunkBytes: count, chunks: v.array(sha256) }),
  v.check(
    ({ bytes, chunkBytes, chunks }) => chunkBytes > 0 && chunks.length === Math.ceil(bytes / chunkBytes),
    'has as many chunk hashes as chunks',
  ),
)

const partSchema = v.strictObject({
  kind: v.picklist(partKinds),
  /** What the network is built from; read again from the tensors and compared before use. */
  config: v.record(v.string(), v.unknown()),
  precision: v.picklist(precisions),
  files: v.pipe(v.array(fileSchema), v.minLength(1)),
  /** Tensors that a gate kept in higher precision, with the error that was too large. */
  kept: v.array(v.strictObject({ name: v.string(), target: v.string(), error: v.number() })),
  /** The file it was made from. */
  source: v.strictObject({ file: v.string(), bytes: count }),
})

export const importedManifestSchema = v.strictObject({
  format: v.literal(1),
  id: v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9-]{0,60}$/)),
  licenses: v.record(v.string(), v.string()),
  parts: v.strictObject({
    denoiser: v.optional(partSchema),
    textEncoder: v.optional(partSchema),
    decoder: v.optional(partSchema),
    upscaler: v.optional(partSchema),
    motion: v.optional(partSchema),
  }),
  tokenizer: v.optional(fileSchema),
  plan: v.optional(v.picklist(Object.keys(releasedPlans) as [ReleasedPlanName, ...ReleasedPlanName[]])),
})

export type ImportedManifest = v.InferOutput<typeof importedManifestSchema>
export type ImportedPart = v.InferOutput<typeof partSchema>
export type ImportedFile = v.InferOutput<typeof fileSchema>

/**
 * Checks a manifest.
 * @throws GenerationError model_format naming the first field that is wrong.
 */
export function readManifest(data: unknown): ImportedManifest {
  const result = v.safeParse(importedManifestSchema, data)
  if (result.success) return result.output
  const [issue] = result.issues
  const field = v.getDotPath(issue) ?? 'the manifest'
  throw new GenerationError('model_format', `manifest: ${field}: ${issue.message}`, { cause: result.issues })
}
