/**
 * `npm start`: the studio, the GPU node and the Worker, under one address (models/node/start/start.ts).
 */

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isModern, modernNodeFolder, run } from './launch.mjs'

if (isModern()) {
  const { start } = await import('../models/node/start/start.ts')
  process.exitCode = await start(process.argv.slice(2))
} else {
  run(join(modernNodeFolder(), 'node'), [
    '--disable-warning=ExperimentalWarning',
    fileURLToPath(import.meta.url),
    ...process.argv.slice(2),
  ])
}
