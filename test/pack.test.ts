/**
 * What the package holds: everything it promises, and nothing that is only for its making.
 */

import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { delimiter, dirname, join, posix } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { root } from './sources.ts'

interface Packed {
  readonly files: readonly { readonly path: string; readonly size: number }[]
}

let files: ReadonlySet<string>
let bytes: number

// Builds what is packed, as publishing would.
beforeAll(async () => {
  const env = { ...process.env, PATH: [dirname(process.execPath), process.env.PATH].join(delimiter) }
  const { stdout } = await promisify(execFile)('npm', ['pack', '--dry-run', '--json'], {
    cwd: root,
    env,
    maxBuffer: 2 ** 26,
  })
  // The build speaks before; the answer is a list in one npm and a record in another.
  const [packed] = Object.values(JSON.parse(stdout.slice(stdout.search(/^[[{]$/m))) as Record<string, Packed>)
  files = new Set(packed?.files.map(({ path }) => path))
  bytes = packed?.files.reduce((sum, { size }) => sum + size, 0) ?? 0
}, 600_000)

/** Files that belong to the making and not to the package. */
const strange = (paths: Iterable<string>): string[] =>
  [...paths].filter(
    (path) =>
      !/^(LICENSE|README\.md|package\.json|bin\/\w+\.mjs)$/.test(path) &&
      !/^dist\/(shared|models)\/[\w/-]+(\.d\.ts|\.js)$/.test(path) &&
      !/^dist\/(types\/(client|models|shared)\/[\w/-]+\.d\.ts|sdk\/(assets\/)?[\w-]+\.js)$/.test(path) &&
      !/^models\/(cards\/[\w.-]+\.json|weights\/[\w.-]+\.safetensors)$/.test(path),
  )

/** Relative imports of packed files that lead to none. */
async function dangling(): Promise<string[]> {
  const code = [...files].filter((path) => /^dist\/.*(\.js|\.d\.ts)$/.test(path))
  const found = await Promise.all(
    code.map(async (path) => {
      const text = (await readFile(join(root, path), 'utf8')).replace(/\/\*[\s\S]*?\*\//g, '')
      const names = [...text.matchAll(/(?:from|import)\s*\(?\s*["'](\.[^"']+)["']/g)].map(([, name]) => name as string)
      const targets = names.map((name) => posix.normalize(posix.join(posix.dirname(path), name)))
      const known = (target: string) => files.has(path.endsWith('.d.ts') ? target.replace(/\.[jt]s$/, '.d.ts') : target)
      return targets.filter((target) => !known(target)).map((target) => `${path} imports ${target}`)
    }),
  )
  return found.flat()
}

describe('the package', () => {
  it('holds programs, declarations, cards and weights, and neither sources nor tests', () => {
    expect(strange(files)).toEqual([])
    const bad = ['client/index.ts', 'dist/models/x.test.js', 'dist/sdk/index.html', 'docs/http.md', 'test/x.ts', '.env']
    expect(strange(bad)).toEqual(bad)
  })

  it('leads every one of its exports and its program to a file', async () => {
    const { exports, bin } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
      exports: Record<string, string | Record<string, string>>
      bin: Record<string, string>
    }
    const promised = [...Object.values(exports), ...Object.values(bin)]
      .flatMap((target) => (typeof target === 'string' ? [target] : Object.values(target)))
      .map((target) => target.replace('./', ''))
    expect(promised.length).toBeGreaterThan(10)
    const kept = (target: string) => {
      const [head = '', tail = ''] = target.split('*')
      return target.includes('*')
        ? [...files].some((path) => path.startsWith(head) && path.endsWith(tail))
        : files.has(target)
    }
    expect(promised.filter((target) => !kept(target))).toEqual([])
  })

  it('has every file that its files import, in code and in types', async () => {
    expect(await dangling()).toEqual([])
    const whole = files
    files = new Set(
      [...files].filter((path) => path !== 'dist/types/client/job.d.ts' && path !== 'dist/shared/errors.js'),
    )
    const missing = await dangling()
    files = whole
    expect(missing.some((line) => line.includes('imports dist/types/client/job.'))).toBe(true)
    expect(missing.some((line) => line.includes('imports dist/shared/errors.js'))).toBe(true)
  })

  it('is the weights, and little beside them', async () => {
    const weights = [...files].filter((path) => path.endsWith('.safetensors'))
    expect(weights.length).toBeGreaterThanOrEqual(2)
    const sizes = await Promise.all(weights.map(async (path) => (await readFile(join(root, path))).length))
    expect(bytes - sizes.reduce((sum, each) => sum + each, 0)).toBeLessThan(4_000_000)
  })
})
