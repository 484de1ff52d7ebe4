/**
 * Reads the sources and judges their imports: shared ← models ← client, shared ← worker; runtimes only in models/node.
 */

import { readdirSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))
const houses = ['shared', 'models', 'client', 'worker'] as const
type House = (typeof houses)[number]

const mayImport: Readonly<Record<House, readonly House[]>> = {
  shared: ['shared'],
  models: ['shared', 'models'],
  client: ['shared', 'models', 'client'],
  worker: ['shared', 'worker'],
}

/** Packages a house may name; undefined is any. */
const packages: Readonly<Record<House, RegExp | undefined>> = {
  shared: /^valibot$/,
  models: /^(valibot|@huggingface\/tokenizers)$/,
  client: undefined,
  worker: undefined,
}

const houseOf = (path: string): House | undefined => houses.find((house) => path.startsWith(`${house}/`))

/** What is wrong with the imports of one file, as sentences. */
export function violations(path: string, source: string): string[] {
  const house = houseOf(path)
  if (house === undefined) return []
  const runtime = path.startsWith('models/node/')
  const names = [...source.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(([, name]) => name as string)
  return names.flatMap((name) => {
    if (!name.startsWith('.')) {
      const allowed = runtime || (packages[house]?.test(name) ?? true)
      return allowed ? [] : [`${path} imports ${name}, which ${house} may not`]
    }
    const target = relative(root, resolve(root, dirname(path), name))
    const towards = houseOf(target)
    if (towards !== undefined && !mayImport[house].includes(towards))
      return [`${path} imports ${target}: ${house} may not see ${towards}`]
    const intoRuntime = target.startsWith('models/node/') && ['models', 'client'].includes(house) && !runtime
    return intoRuntime ? [`${path} imports ${target}: only models/node names a runtime`] : []
  })
}

export function sources(): string[] {
  return houses.flatMap((house) => {
    try {
      return readdirSync(join(root, house), { recursive: true, encoding: 'utf8' })
        .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
        .map((file) => `${house}/${file}`)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
  })
}
