/**
 * The built studio and the built SDK that sites serve.
 *
 * The `studio` test project builds both once, ahead of its files, and each site takes a copy, which it may spoil; what a
 * test asks for beside the toy models is built for it alone.
 */

import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build, type InlineConfig } from 'vite'
import { sdkConfig } from '../../client/build.ts'
import { type Assets, zoetropeAssets } from '../../client/studio/assets.ts'
import { studioConfig } from '../../client/studio/build.ts'
import { toyAssets } from '../toy-assets.ts'

export type Built = 'studio' | 'sdk'
/** Files in the place of the released models; `null` for the released. */
export type Models = (() => Promise<Assets>) | null

/** Where both lie, in the processes of the tests. */
const variable = 'ZOETROPE_BUILT'

/** Puts the files of a build into a folder that is not there yet. */
export async function place(what: Built, models: Models, outDir: string): Promise<void> {
  const ready = process.env[variable]
  if (ready !== undefined && models === toyAssets) await cp(join(ready, what), outDir, { recursive: true })
  else await build({ ...(await configs[what](models, outDir)), configFile: false, logLevel: 'error' })
}

const configs: Readonly<Record<Built, (models: Models, outDir: string) => Promise<InlineConfig>>> = {
  studio: (models, outDir) => studioConfig({ ...(models === null ? {} : { more: models }), outDir }),
  sdk: async (models, outDir) => {
    const { build: settings, ...config } = sdkConfig(['index'])
    const plugins = [zoetropeAssets(models === null ? {} : { more: models })]
    return { ...config, plugins, build: { ...settings, outDir } }
  },
}

/** Before the test project's files, by vitest. */
export async function setup(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'zoetrope-built-'))
  await place('studio', toyAssets, join(folder, 'studio'))
  await place('sdk', toyAssets, join(folder, 'sdk'))
  process.env[variable] = folder
}

/** After them. */
export async function teardown(): Promise<void> {
  await rm(process.env[variable] as string, { recursive: true, force: true })
}
