#!/usr/bin/env node
/**
 * The command line's front door: the sources in a checkout, the build where the package is installed.
 *
 * Node strips types only outside node_modules. An older Node hands over to the bundled one.
 */

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isModern, modernNodeFolder, run } from './launch.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const installed = here.includes(`${join('node_modules', 'zoetrope')}`)
const entry = join(here, '..', ...(installed ? ['dist', 'models', 'node', 'cli.js'] : ['models', 'node', 'cli.ts']))

if (isModern()) {
  const { enableCompileCache } = await import('node:module')
  enableCompileCache?.()
  const { main } = await import(entry)
  process.exitCode = await main(process.argv.slice(2))
} else {
  run(join(modernNodeFolder(), 'node'), [
    '--disable-warning=ExperimentalWarning',
    fileURLToPath(import.meta.url),
    ...process.argv.slice(2),
  ])
}
