/**
 * `npm start` from outside: one address, no orphan however it ends, another port where one is taken.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../models/node/start/ports.ts'
import { root } from './sources.ts'
import { developmentKey, familyOf, launch, ready, type Started } from './started.ts'
import { toyFolder } from './toy-folder.ts'

let models: string
let port: number
let nodePort: number
const started: ChildProcess[] = []

beforeAll(async () => {
  models = await mkdtemp(join(tmpdir(), 'zoetrope-start-'))
  await toyFolder(models)
  port = await freePort(21_300)
  nodePort = await freePort(21_305)
})

// The launcher's children see its end themselves.
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
})

afterAll(async () => {
  for (let offset = 0; offset < 100; offset += 10) {
    await rm(join(root, '.wrangler', `state-${port + offset}`), { recursive: true, force: true })
  }
})

async function start(): Promise<Started> {
  const child = launch({ port, nodePort, models, environment: { DEVELOPMENT_KEY: developmentKey } })
  started.push(child)
  return ready(child)
}

/** Those that still run; a zombie waits for its parent to look, which an init of a container may never do. */
function alive(family: readonly number[]): number[] {
  const rows = execFileSync('ps', ['-eo', 'pid=,stat='], { encoding: 'utf8' }).trim().split('\n')
  const running = rows.map((row) => row.trim().split(/\s+/)).filter(([, state]) => !state?.startsWith('Z'))
  return family.filter((pid) => running.some(([each]) => Number(each) === pid))
}

describe('npm start', { timeout: 240_000 }, () => {
  it('is ready within 30 seconds at one address, and after Ctrl-C nothing is left', async () => {
    const began = performance.now()
    const { child, address, family, said } = await start()
    expect(performance.now() - began).toBeLessThan(30_000)
    expect(address).toBe(`http://127.0.0.1:${port}`)
    expect(await (await fetch(`${address}/healthz`)).json()).toMatchObject({ status: 'ok' })
    expect((await fetch(`http://127.0.0.1:${nodePort}/v1/models`)).status).toBe(401)
    expect(said.filter((line) => line.includes('http'))).toEqual([])
    const headers = { authorization: `Bearer ${developmentKey}`, 'content-type': 'application/json', prefer: 'wait=60' }
    const asked = { method: 'POST', headers, body: JSON.stringify({ prompt: 'a fox' }) }
    expect(await (await fetch(`${address}/v1/videos`, asked)).json()).toMatchObject({ status: 'completed' })
    // Its node tells, too, what became of a run.
    await expect.poll(() => said.join('\n')).toMatch(/ zt-toy {2}started\n.* zt-toy {2}succeeded {2}\(\d+\.\d s\)/)
    // The launcher, two leashes, the node, wrangler's two processes and workerd at least.
    expect(family.length).toBeGreaterThanOrEqual(7)
    const exit = once(child, 'exit')
    child.kill('SIGINT')
    expect(await exit).toEqual([0, null])
    expect(alive(family)).toEqual([])
  })

  it('beside another takes other ports and says so; killed, it leaves nothing and the other alone', async () => {
    const [first, second] = [await start(), await start()]
    expect(second.address).toBe(`http://127.0.0.1:${port + 10}`)
    expect(second.said).toContain(`port ${port} is taken, so this one is at ${port + 10}`)
    expect(second.said).toContain(`port ${nodePort} is taken, so its GPU node is at ${nodePort + 10}`)
    second.child.kill('SIGKILL')
    await expect.poll(() => alive(second.family), { timeout: 60_000 }).toEqual([])
    expect((await fetch(`${first.address}/healthz`)).status).toBe(200)
    const exit = once(first.child, 'exit')
    first.child.kill('SIGTERM')
    expect(await exit).toEqual([0, null])
    expect(alive(first.family)).toEqual([])
  })

  it('ends with the reason when a part of it dies', async () => {
    const { child, family, said } = await start()
    const command = (pid: number) => execFileSync('ps', ['-o', 'args=', '-p', String(pid)], { encoding: 'utf8' })
    const node = family.find((pid) => /^[^ ]* [^ ]*zoetrope\.mjs serve/.test(command(pid))) as number
    const exit = once(child, 'exit')
    process.kill(node, 'SIGKILL')
    expect(await exit).toEqual([1, null])
    expect(said.join('\n')).toContain('start: the GPU node has ended')
    expect(alive(family)).toEqual([])
  })

  it('interrupted before it is ready leaves nothing either', async () => {
    const child = launch({ port, nodePort, models })
    started.push(child)
    const exit = once(child, 'exit')
    // The launcher, a leash and the node: its second part is not there yet.
    await expect
      .poll(() => familyOf(child.pid as number).length, { interval: 10, timeout: 30_000 })
      .toBeGreaterThanOrEqual(3)
    const family = familyOf(child.pid as number)
    child.kill('SIGINT')
    expect(await exit).toEqual([0, null])
    expect(alive(family)).toEqual([])
  })

  it('refuses an unknown option in one sentence', async () => {
    const child = spawn(process.execPath, [join(root, 'bin', 'start.mjs'), '--speed', '3'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const [lines, [code]] = await Promise.all([child.stderr.setEncoding('utf8').toArray(), once(child, 'exit')])
    expect([code, lines.join('')]).toEqual([2, expect.stringMatching(/^--speed: is not an option here, .*\n$/)])
  })
})
