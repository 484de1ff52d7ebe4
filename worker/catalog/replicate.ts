/**
 * The models of Replicate as entries of the catalog, each with what a call upstream needs.
 *
 * Knows no model by name: they stand in replicate-models.ts.
 */

import { type CatalogModel, noParameters, type Parameters } from '../../shared/catalog.ts'
import { type ReplicateRow, replicateRows } from './replicate-models.ts'

export interface ReplicateEntry {
  readonly model: CatalogModel
  /** owner/name. */
  readonly ref: string
  /** Official models have a path of their own and always run their newest version. */
  readonly official: boolean
  readonly version?: string
  /** Fields always set, where upstream defaults would change what was asked for. */
  readonly fixed: NonNullable<ReplicateRow['fixed']>
}

/** Every entry by its catalog id, which is the name upstream without its owner. */
export const replicateEntries: ReadonlyMap<string, ReplicateEntry> = new Map(
  replicateRows.map((row) => {
    const entry = entryOf(row)
    return [entry.model.id, entry]
  }),
)

function entryOf(row: ReplicateRow): ReplicateEntry {
  const id = row.ref.split('/')[1] as string
  const [min, max, stride, offset, otherwise] = row.frames ?? []
  const length =
    row.seconds === undefined
      ? { num_frames: { min, max, stride, offset, default: otherwise } as NonNullable<Parameters['num_frames']> }
      : { duration: { values: [...row.seconds].sort((one, other) => one - other), default: row.seconds[0] } }
  return {
    ref: row.ref,
    official: row.community !== true,
    ...(row.version === undefined ? {} : { version: row.version }),
    fixed: row.fixed ?? {},
    model: {
      id,
      revision: row.version?.slice(0, 12) ?? 'upstream',
      family: `replicate.${id}`,
      summary: row.summary,
      modes: row.modes,
      inference_sources: ['in_cloud'],
      providers: ['replicate'],
      parameters: { ...noParameters, ...length, fps: row.fps, size: row.size, ...row.more },
      outputs: ['mp4'],
      provider_options: { replicate: [...(row.options ?? [])] },
      device: null,
      pricing: { unit: row.unit ?? 'video_second', usd: row.usd },
      license: 'see upstream',
      latents: null,
      weights_sha256: null,
    },
  }
}
