/**
 * A program that runs beside this one, on a leash (bin/leash.mjs): it never outlives us, however we end.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const leash = fileURLToPath(new URL('../../../bin/leash.mjs', import.meta.url))
const kept = 40

export interface ChildOptions {
  /** For messages. */
  readonly name: string
  readonly words: readonly string[]
  readonly folder: string
  /** The whole environment of the child. */
  readonly environment: Readonly<Record<string, string>>
  /** Gets each line; a line it answers false to is not kept for the account of a failure. */
  readonly onLine: (line: string, from: 'out' | 'error') => void
}

export interface Child {
  readonly name: string
  /** Resolves when it has ended, with its exit code. */
  readonly ended: Promise<number>
  /** Its last lines, for the account of a failure. */
  readonly lastLines: () => readonly string[]
  /** Asks it to end; at once where asked so. */
  readonly stop: (now?: boolean) => void
}

/** Starts `node WORDS…`. */
export function startChild({ name, words, folder, environment, onLine }: ChildOptions): Child {
  const child = spawn(process.execPath, [leash, process.execPath, ...words], {
    cwd: folder,
    env: environment,
    // A group of its own: Ctrl-C in a terminal reaches us alone, and we say when and in what order they end.
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const lines: string[] = []
  const read = (stream: NonNullable<ChildProcess['stdout']>, from: 'out' | 'error') =>
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line)
      if (lines.length > kept) lines.shift()
      onLine(line, from)
    })
  read(child.stdout, 'out')
  read(child.stderr, 'error')
  // Where the leash has ended already, closing it says so in an error nobody needs.
  child.stdin.on('error', () => {})
  // A leash that was killed itself has let its program go.
  child.on('exit', () => child.pid !== undefined && killGroup(child.pid))
  return {
    name,
    ended: new Promise((resolve) => {
      child.on('close', (code) => resolve(code ?? 1))
    }),
    lastLines: () => lines,
    stop: (now = false) => {
      if (now && child.pid !== undefined) killGroup(child.pid)
      else child.stdin.end()
    },
  }
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}
