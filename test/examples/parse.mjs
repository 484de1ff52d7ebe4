/**
 * Prints whether each file named on the command line is a whole text of its language, by its ending.
 *
 * A process of its own: compiled at full optimisation, these parsers' tables cost the engine more memory than it has
 * (`--liftoff-only`).
 */

import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { extname } from 'node:path'
import { Language, Parser } from 'web-tree-sitter'

const { resolve } = createRequire(import.meta.url)
const grammars = { '.swift': 'swift', '.kt': 'kotlin' }

await Parser.init()
for (const file of process.argv.slice(2)) {
  const parser = new Parser()
  parser.setLanguage(await Language.load(resolve(`tree-sitter-wasms/out/tree-sitter-${grammars[extname(file)]}.wasm`)))
  const tree = parser.parse(await readFile(file, 'utf8'))
  process.stdout.write(`${tree?.rootNode.hasError === false ? 'whole' : 'broken'}\n`)
}
