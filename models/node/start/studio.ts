/**
 * The studio page as files: built where it is missing or older than its sources, by the script `build:studio`.
 *
 * Knows nothing of how it is built. A package without that script simply has no studio.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'

const script = 'build:studio'
const usualFolder = 'client/studio/dist'
const sourceFolders = ['client', 'shared', 'models']
// Cards and weights too: the page is built with the models it offers.
const sourceFiles = /\.(?:ts|html|css|js|svg|json|safetensors)$/
const notSources = /(?:^|\/)(?:dist|node_modules|node)(?:\/|$)|\.test\.ts$/

/** What wrangler needs to be told to serve the studio. */
export interface Assets {
  readonly words: readonly string[]
}

/** Builds where need be; gives what serves the result. */
export async function studioAssets(root: string, say: (line: string) => void): Promise<Assets> {
  const declared = declaredFolder(await readFile(join(root, 'wrangler.toml'), 'utf8'))
  const folder = declared ?? usualFolder
  if (await hasScript(root)) {
    const output = await newest(join(root, folder), () => true)
    const stale = output < (await newestSource(root))
    if (stale) await build(root, output === 0, say)
  }
  // wrangler refuses a folder that its configuration names and nobody has made.
  if (declared !== undefined) await mkdir(join(root, declared), { recursive: true })
  const exists = (await stat(join(root, folder)).catch(() => undefined))?.isDirectory() === true
  return { words: exists && declared === undefined ? ['--assets', folder] : [] }
}

/** The folder of assets that a wrangler.toml names. */
export function declaredFolder(configuration: string): string | undefined {
  const section = /^\[assets\]\s*$([^[]*)/m.exec(configuration)?.[1]
  const inline = /^assets\s*=\s*\{([^}]*)\}/m.exec(configuration)?.[1]
  return /\bdirectory\s*=\s*"([^"]+)"/.exec(section ?? inline ?? '')?.[1]
}

async function hasScript(root: string): Promise<boolean> {
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>
  }
  return Object.hasOwn(scripts, script)
}

async function newestSource(root: string): Promise<number> {
  const times = sourceFolders.map((folder) =>
    newest(join(root, folder), (file) => sourceFiles.test(file) && !notSources.test(file)),
  )
  return Math.max(...(await Promise.all(times)))
}

/** When the youngest file of a folder was changed, in milliseconds; 0 where there is none. */
async function newest(folder: string, wanted: (file: string) => boolean): Promise<number> {
  const files = await readdir(folder, { recursive: true }).catch(() => [])
  const times = files.filter(wanted).map(async (file) => (await stat(join(folder, file))).mtimeMs)
  return Math.max(0, ...(await Promise.all(times)))
}

async function build(root: string, missing: boolean, say: (line: string) => void): Promise<void> {
  say(missing ? 'building the studio' : 'building the studio again: its sources have changed')
  const path = [dirname(process.execPath), join(root, 'node_modules', '.bin'), process.env.PATH].join(delimiter)
  const child = spawn('npm', ['run', '--silent', script], {
    cwd: root,
    env: { ...process.env, PATH: path },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const code = await Promise.race([
    once(child, 'exit').then(([status]) => status as number | null),
    once(child, 'error').then(([error]) => (error as Error).message),
  ])
  if (code !== 0) {
    const left = missing ? 'there is no page, only the API' : 'the page is the one built before'
    say(`the studio could not be built (${code}): ${left}; npm run ${script} says why`)
  }
}
