/**
 * `npm start` as a child of a test: its address, what it said, and every process below it. Ends nothing unless asked.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { root } from './sources.ts'

export interface Started {
  readonly child: ChildProcess
  readonly address: string
  /** Everything it has said on standard error. */
  readonly said: string[]
  /** Its own id and those of all it has started. */
  readonly family: readonly number[]
}

export interface StartOptions {
  readonly port: number
  readonly nodePort: number
  /** Where cards/ and weights/ are. */
  readonly models: string
  readonly environment?: Readonly<Record<string, string>>
}

/** Good in a development start that was told so, and nowhere else; the last eight digits are its checksum. */
export const developmentKey = `zoe_test_${'a'.repeat(12)}_${'b'.repeat(32)}9c6807f2`

/** The launcher, before it is ready. */
export function launch({ port, nodePort, models, environment = {} }: StartOptions): ChildProcess {
  const words = ['--port', String(port), '--node-port', String(nodePort), '--folder', models, '--json']
  return spawn(process.execPath, [join(root, 'bin', 'start.mjs'), ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  })
}

/** Waits until it names its address. @throws Error with what it said where it ends before. */
export async function ready(child: ChildProcess): Promise<Started> {
  if (child.stdout === null || child.stderr === null) throw new Error('start: its outputs are not piped')
  const said: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => said.push(line))
  const [line] = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    once(child, 'exit').then(() => Promise.reject(new Error(said.join('\n')))),
  ])
  const { address } = JSON.parse(line as string) as { address: string }
  return { child, address, said, family: familyOf(child.pid as number) }
}

/** Ends it as Ctrl-C does and drops what it stored, which `npm start` keeps by its port. Nothing where none was started. */
export async function ended(started: Started | undefined, port: number): Promise<void> {
  if (started !== undefined) {
    const gone = once(started.child, 'exit')
    started.child.kill('SIGINT')
    await gone
  }
  await rm(join(root, '.wrangler', `state-${port}`), { recursive: true, force: true })
}

/** A process and all below it. */
export function familyOf(pid: number): number[] {
  const rows = execFileSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n')
  const pairs = rows.map((row) => row.trim().split(/\s+/).map(Number) as [number, number])
  const below = (parent: number): number[] =>
    pairs.filter(([, of]) => of === parent).flatMap(([child]) => [child, ...below(child)])
  return [pid, ...below(pid)]
}
