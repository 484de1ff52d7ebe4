/**
 * Gathers the cards of models/cards into cards.json, which the Worker bundles: it reads models as data, never as code.
 *
 * wrangler runs this before each bundle (wrangler.toml, [build]). Writes only where something changed; with `--check` it
 * writes nothing and fails there, so that what is committed is not of models before.
 */

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../../models/cards/', import.meta.url))
const target = fileURLToPath(new URL('cards.json', import.meta.url))

const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.json')) : []
const cards = files.sort().map((name) => JSON.parse(readFileSync(`${folder}${name}`, 'utf8')))
const text = `${JSON.stringify(cards, null, 2)}\n`
const stale = !existsSync(target) || readFileSync(target, 'utf8') !== text
if (stale && process.argv.includes('--check')) {
  process.stderr.write(`${target} is not what models/cards says; run node worker/catalog/gather.mjs and commit it\n`)
  process.exitCode = 1
} else if (stale) writeFileSync(target, text)
