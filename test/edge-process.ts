/**
 * The edge as a process of its own, to be killed without warning and started again over the same stores.
 *
 * The Worker is bundled as `wrangler deploy` bundles it. Its network ends in this process, which sees each request
 * arrive, handled and answered, and may let the machine die at any of the three.
 */

import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { type Child, startChild } from '../models/node/start/child.ts'
import { freePort } from '../models/node/start/ports.ts'
import { root } from './sources.ts'

export interface EdgeSettings {
  readonly script: string
  /** Where Durable Objects, R2 and KV persist. */
  readonly folder: string
  /** Each test file has a hundred of its own to look through: while an edge is dead, nobody else may move in. */
  readonly port: number
  /** host:port where every outgoing request ends. */
  readonly gateway: string
  readonly bindings: Readonly<Record<string, string>>
}

/** Bundles the Worker, or what another configuration names, into a folder; gives the script's path. */
export async function bundleWorker(folder: string, config = 'wrangler.toml'): Promise<string> {
  const wrangler = join(root, 'node_modules', 'wrangler', 'bin', 'wrangler.js')
  const quiet = { WRANGLER_SEND_METRICS: 'false', DO_NOT_TRACK: '1', CLOUDFLARE_CF_FETCH_ENABLED: 'false' }
  const words = [wrangler, 'deploy', '--config', config, '--dry-run', '--outdir', folder]
  await promisify(execFile)(process.execPath, words, { cwd: root, env: { ...process.env, ...quiet } })
  return join(folder, 'index.js')
}

export interface EdgeProcess {
  /** Settled once it was ready for the first time; later lives listen at the same place. */
  readonly url: string
  /** All it has printed, over all its lives. */
  readonly said: readonly string[]
  /** SIGKILL to the whole process group; nothing is flushed, nobody is told. */
  readonly kill: () => void
  readonly start: () => Promise<void>
}

/** An edge that is not started yet, at the port that is wanted or one near it. */
export async function edgeProcess(settings: EdgeSettings): Promise<EdgeProcess> {
  let port = await freePort(settings.port)
  const said: string[] = []
  let child: Child | undefined
  let lived = false
  const start = async (): Promise<void> => {
    await child?.ended
    try {
      await live()
      lived = true
    } catch (error) {
      // Another test may have taken the port between the look and the listening; once lived at, it is an address.
      if (lived || !(error instanceof Error && error.message.includes(inUse))) throw error
      port = await freePort(port + 1)
      await start()
    }
  }
  const live = async () => {
    let isReady: () => void
    const ready = new Promise<void>((resolve) => {
      isReady = resolve
    })
    const started = startChild({
      name: 'the edge',
      words: [join(root, 'test', 'edge-host.ts')],
      folder: root,
      environment: { PATH: process.env.PATH ?? '', EDGE_SETTINGS: JSON.stringify({ ...settings, port }) },
      onLine: (line) => {
        said.push(line)
        if (line.startsWith('{"ready"')) isReady()
      },
    })
    child = started
    const failed = started.ended.then((code) => {
      throw new Error(`the edge ended with ${code}: ${started.lastLines().join('\n')}`)
    })
    await Promise.race([ready, failed])
    // It is meant to end; only before it was ready that is a failure.
    failed.catch(() => undefined)
  }
  return {
    get url() {
      return `http://127.0.0.1:${port}`
    },
    said,
    kill: () => child?.stop(true),
    start,
  }
}

/** How the runtime says that a port is taken. */
const inUse = 'ERR_ADDRESS_IN_USE'

/** Where in a request's life something is seen: before it did anything, done but not answered, answered. */
export type Stage = 'arrives' | 'handled' | 'answered'

export interface Gateway {
  /** host:port, for the edge. */
  readonly address: string
  readonly close: () => void
}

/** All hosts of the network behind one port. @param seen is told synchronously at each stage of each request. */
export async function gateway(
  answer: (request: Request) => Promise<Response>,
  seen: (stage: Stage, request: Request, body: string) => void,
): Promise<Gateway> {
  const server = createServer((incoming, outgoing) => {
    void serve(incoming, outgoing, answer, seen).catch(() => outgoing.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  return {
    address: `127.0.0.1:${port}`,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

async function serve(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  answer: (request: Request) => Promise<Response>,
  seen: (stage: Stage, request: Request, body: string) => void,
): Promise<void> {
  const body = await text(incoming)
  const { 'x-address': address, ...headers } = incoming.headers
  const request = new Request(String(address), {
    method: incoming.method ?? 'GET',
    headers: Object.entries(headers).map(([name, value]) => [name, String(value)] as [string, string]),
    ...(body === '' ? {} : { body }),
  })
  const copy = request.clone()
  seen('arrives', copy, body)
  const response = await answer(request)
  const bytes = new Uint8Array(await response.arrayBuffer())
  seen('handled', copy, body)
  outgoing.writeHead(response.status, Object.fromEntries(response.headers))
  outgoing.end(bytes, () => seen('answered', copy, body))
}

/** Every file under a folder. */
export function filesUnder(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
}

/** Whether some file whose path matches holds a text, as bytes: rows in a write-ahead log count, for they survive. */
export function isOnDisk(folder: string, path: RegExp, text: string): boolean {
  return filesUnder(folder).some((file) => path.test(file) && readIfThere(file).includes(text))
}

/** Logs come and go while they are looked at. */
function readIfThere(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch {
    return Buffer.alloc(0)
  }
}
