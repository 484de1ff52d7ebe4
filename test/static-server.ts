/**
 * A static host of the plainest kind, on loopback: files of a folder with their types; the rest is asked of another host
 * where one is named.
 */

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { request as ask, createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join, normalize } from 'node:path'

const contentTypes: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.webmanifest': 'application/manifest+json',
}

export interface StaticServer extends AsyncDisposable {
  readonly url: string
}

export interface StaticServerOptions {
  /** The address of a host that answers for /v1/; undefined while there is none. */
  readonly upstream?: (() => string | undefined) | undefined
  /** Given to every file. */
  readonly headers?: Readonly<Record<string, string>>
}

export async function staticServer(
  folder: string,
  { upstream, headers = {} }: StaticServerOptions = {},
): Promise<StaticServer> {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const behind = upstream?.()
    if (behind !== undefined && pathname.startsWith('/v1/')) return pass(request, response, behind)
    const file = join(folder, normalize(pathname.endsWith('/') ? `${pathname}index.html` : pathname))
    const found = file.startsWith(folder) ? await stat(file).catch(() => undefined) : undefined
    if (found === undefined || !found.isFile()) return void response.writeHead(404).end()
    const type = contentTypes[extname(file)] ?? 'application/octet-stream'
    response.writeHead(200, { ...headers, 'Content-Type': type, 'Content-Length': found.size })
    createReadStream(file).pipe(response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/`,
    [Symbol.asyncDispose]: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

function pass(request: IncomingMessage, response: ServerResponse, upstream: string): void {
  const { host: _, ...headers } = request.headers
  const onward = ask(new URL(request.url ?? '/', upstream), { method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers)
    answer.pipe(response)
  })
  onward.on('error', () => response.destroy())
  response.on('close', () => onward.destroy())
  request.pipe(onward)
}
