/**
 * `zoetrope serve` from outside: a process that is killed, interrupted and left by its callers.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { PredictionObject } from '../models/node/serve/prediction.ts'
import { randomStream } from '../shared/random.ts'
import { root } from './sources.ts'
import { toyFolder } from './toy-folder.ts'

const token = 'from-the-environment'
let models: string
let temporary: string
const children: ChildProcess[] = []

beforeAll(async () => {
  models = await mkdtemp(join(tmpdir(), 'zoetrope-models-'))
  temporary = await mkdtemp(join(tmpdir(), 'zoetrope-tmp-'))
  await toyFolder(models)
})

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

interface Served {
  readonly child: ChildProcess
  readonly url: string
  readonly port: string
}

function zoetrope(...words: string[]): ChildProcess {
  const child = spawn(process.execPath, [join(root, 'bin', 'zoetrope.mjs'), 'serve', ...words], {
    env: { ...process.env, ZOETROPE_NODE_TOKEN: token, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.push(child)
  return child
}

async function served(port = '0', ...words: string[]): Promise<Served> {
  const child = zoetrope('--port', port, '--folder', models, '--threads', '1', '--json', ...words)
  const [line] = await once(createInterface({ input: child.stdout as NonNullable<ChildProcess['stdout']> }), 'line')
  const { url } = JSON.parse(line as string) as { url: string }
  return { child, url, port: new URL(url).port }
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  const exit = once(child, 'exit')
  child.kill(signal)
  const [code] = await exit
  return code as number | null
}

const input = { prompt: 'a white ghost floats over the city', num_inference_steps: 16, output_format: 'gif' }

async function call(url: string, path: string, method = 'GET', body?: object, prefer = ''): Promise<PredictionObject> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', prefer }
  const init = body === undefined ? {} : { body: JSON.stringify(body) }
  return (await (await fetch(`${url}/v1/predictions/${path}`, { method, headers, ...init })).json()) as PredictionObject
}

const put = (url: string, id: string, prefer = '') =>
  call(url, id, 'PUT', { model: 'zt-toy', input: { ...input, seed: Number(id) } }, prefer)

const hashOf = ({ output_metadata: metadata }: PredictionObject) => metadata?.outputs[0]?.sha256

describe('a node that is killed', { timeout: 300_000 }, () => {
  it('at any moment loses nothing that a repeated PUT does not bring back, and leaves no file', async () => {
    const random = randomStream(5, 0)
    const ids = Array.from({ length: 12 }, (_, index) => String(index))
    const seen = new Map<string, string>()
    let port = '0'
    for (let life = 0; life < 5; life++) {
      const node = await served(port)
      port = node.port
      await Promise.all(ids.map((id) => put(node.url, id)))
      // Killed after so many are done, with one canceled and one left by its caller.
      const done = Math.floor(random.between(1, 5))
      call(node.url, `${ids.at(-1)}/cancel`, 'POST', {}).catch(() => {})
      put(node.url, ids.at(-2) as string, 'wait').catch(() => {})
      for (const id of ids.slice(0, done)) {
        const hash = hashOf(await put(node.url, id, 'wait')) as string
        expect(seen.get(id) ?? hash).toBe(hash)
        seen.set(id, hash)
      }
      expect(await ended(node.child, 'SIGKILL')).toBeNull()
    }
    const node = await served(port)
    const last = await Promise.all(ids.map((id) => put(node.url, id, 'wait')))
    expect(last.map(({ status }) => status)).toEqual(ids.map(() => 'succeeded'))
    for (const [id, hash] of seen) expect(hashOf(last[Number(id)] as PredictionObject)).toBe(hash)
    expect(new Set(last.map(hashOf)).size).toBe(ids.length)
    expect(await ended(node.child, 'SIGTERM')).toBe(130)
    // Node's own cache of compiled sources; the runtime's telemetry would leave its files here.
    expect((await readdir(temporary)).filter((name) => name !== 'node-compile-cache')).toEqual([])
  })
})

describe('a node that is left', { timeout: 300_000 }, () => {
  it('by 30 callers in the middle of an answer keeps no descriptor', async () => {
    const { child, url } = await served('0', '--queue', '200')
    const open = async () => (await readdir(`/proc/${child.pid}/fd`)).length
    // This process's own pool keeps its connections; they are there before and after, and no leak of the node.
    await Promise.all(Array.from({ length: 30 }, (_, index) => put(url, String(100 + index), 'wait')))
    const before = await open()
    const callers = Array.from({ length: 30 }, async (_, index) => {
      const leaving = new AbortController()
      const { urls } = await put(url, String(index + 1))
      const stream = await fetch(urls.stream, { signal: leaving.signal })
      await stream.body?.getReader().read()
      leaving.abort()
      if (index % 3 === 0) await call(url, `${index + 1}/cancel`, 'POST', {})
    })
    await Promise.all(callers)
    await Promise.all(callers.map((_, index) => put(url, String(index + 1), 'wait')))
    await expect.poll(open, { timeout: 60_000 }).toBeLessThanOrEqual(before + 2)
  })
})

describe('Ctrl-C', () => {
  it('cancels what runs, tells who waits, and exits with 130', async () => {
    const { child, url } = await served()
    const long = { model: 'zt-toy', input: { ...input, num_inference_steps: 64, num_frames: 17, size: '64x64' } }
    const waiting = call(url, 'long', 'PUT', long, 'wait')
    await expect.poll(async () => (await call(url, 'long')).status, { timeout: 30_000 }).toBe('processing')
    const code = ended(child, 'SIGINT')
    expect((await waiting).status).toBe('canceled')
    expect(await code).toBe(130)
  })
})

describe('zoetrope serve', () => {
  const refused: Readonly<Record<string, readonly [words: readonly string[], message: string]>> = {
    'a port that is none': [['--port', '70000'], '--port: got 70000, allowed is a whole number from 0 to 65535'],
    'no slots': [['--slots', '0'], '--slots: got 0, allowed is a whole number from 1 to 64'],
    'an unknown provider': [['--provider', 'tpu'], '--provider: got tpu, allowed are cpu, cuda, webgpu'],
    'an unknown model': [['--models', 'huge'], 'model: got huge, allowed are zt-toy'],
    'a prefix that is none': [['--webhooks', 'hooks'], '--webhooks: got hooks, allowed are beginnings of addresses'],
    'words without an option': [['zt-toy'], 'serve: got zt-toy, allowed are options only'],
    'an address of another machine': [['--host', '192.0.2.1'], 'port: 192.0.2.1:0 cannot be used (EADDRNOTAVAIL)'],
  }
  for (const [name, [words, message]] of Object.entries(refused)) {
    it(`refuses ${name} in one sentence`, async () => {
      const child = zoetrope('--folder', models, '--port', '0', ...words)
      const [lines, [code]] = await Promise.all([
        child.stderr?.setEncoding('utf8').toArray() as Promise<string[]>,
        once(child, 'exit'),
      ])
      expect(code).toBeGreaterThan(0)
      expect(lines.join('').trim().split('\n')).toEqual([expect.stringContaining(message)])
    })
  }

  it('makes a token up where none is given and shows it once', async () => {
    const child = spawn(
      process.execPath,
      [join(root, 'bin', 'zoetrope.mjs'), 'serve', '--port', '0', '--folder', models],
      { env: { ...process.env, ZOETROPE_NODE_TOKEN: undefined }, stdio: ['ignore', 'pipe', 'pipe'] },
    )
    children.push(child)
    const lines = createInterface({ input: child.stderr })[Symbol.asyncIterator]()
    const url = (await lines.next()).value?.split(' ')[0]
    const made = (await lines.next()).value?.replace('token ', '')
    const account = await fetch(`${url}/v1/account`, { headers: { authorization: `Bearer ${made}` } })
    expect(account.status).toBe(200)
  })
})
