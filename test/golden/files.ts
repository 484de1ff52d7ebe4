/**
 * Where golden files lie, and how a page gets them: below /models/golden/, with an index of their names.
 *
 * They stand beside the checkout, not in it; a checkout without them has an empty index, and tests say that they tried
 * nothing. Knows nothing of what the files hold.
 */

import { existsSync, readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Assets } from '../../client/studio/assets.ts'
import { root } from '../sources.ts'

/** CI and every checkout have a copy of the shared folder beside them. */
export const goldenFolder = process.env.ZOETROPE_GOLDEN ?? join(root, '../shared/golden')

/** Names of the files, in order; none where there is no folder. */
export function goldenFiles(): string[] {
  if (!existsSync(goldenFolder)) return []
  return readdirSync(goldenFolder)
    .filter((file) => file.endsWith('.safetensors'))
    .sort()
}

/** The files as a site serves them, and /models/golden/index.json. */
export function goldenAssets(): Assets {
  const files = goldenFiles()
  return new Map<string, () => Promise<Uint8Array | string>>([
    ['/models/golden/index.json', async () => JSON.stringify(files)],
    ...files.map((file) => [`/models/golden/${file}`, () => readFile(join(goldenFolder, file))] as const),
  ])
}
