/**
 * Gathers the cards of models/cards into cards.json, which the Worker bundles: it reads models as data, never as code.
 *
 * wrangler runs this before each bundle (wrangler.toml, [build]). Writes only where something changed.
 */

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../../models/cards/', import.meta.url))
const target = fileURLToPath(new URL('cards.json', import.meta.url))

const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.json')) : []
const cards = files.sort().map((name) => JSON.parse(readFileSync(`${folder}${name}`, 'utf8')))
const text = `${JSON.stringify(cards, null, 2)}\n`
if (!existsSync(target) || readFileSync(target, 'utf8') !== text) writeFileSync(target, text)
