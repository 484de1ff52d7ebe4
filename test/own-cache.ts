/**
 * A cache of a test file's own: no checkpoint and no latents of whoever runs the tests are read or written.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, vi } from 'vitest'

/** To be called once in a file, outside of its tests. Gives the folder, which is there once they run. */
export function ownCache(): () => string {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zoetrope-cache-'))
    vi.stubEnv('ZOETROPE_CACHE', folder)
  })
  afterAll(async () => {
    vi.unstubAllEnvs()
    await rm(folder, { recursive: true })
  })
  return () => folder
}
