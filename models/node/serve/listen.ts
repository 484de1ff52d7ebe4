/**
 * node:http in front of a web-standard handler: Request in, Response out.
 *
 * Knows no routes. A connection that ends early aborts the request's signal and cancels the answer's stream, so nothing
 * keeps a descriptor. The Host header becomes the URL's host, hence it is held to the grammar of hosts first.
 */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { GenerationError } from '../../../shared/errors.ts'
import { problemResponse } from './problem.ts'

export interface Listener {
  readonly port: number
  /** Takes no more connections, lets answers out, and ends within seconds. */
  readonly close: () => Promise<void>
}

export interface ListenOptions {
  readonly host: string
  /** 0 takes any free one. */
  readonly port: number
}

export type Handler = (request: Request) => Response | Promise<Response>

const closingGrace = 2000
// Longer than callers keep a connection: one that closes as they write looks to them like a lost answer.
const limits = { requestTimeout: 120_000, headersTimeout: 15_000, keepAliveTimeout: 75_000 } as const
const hostPattern = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i

/**
 * Listens.
 * @throws GenerationError invalid_parameter where the address cannot be had.
 */
export async function listen(handler: Handler, { host, port }: ListenOptions): Promise<Listener> {
  const server = createServer(limits, (incoming, outgoing) => {
    answer(handler, incoming, outgoing, () => server.listening).catch(() => outgoing.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(addressError(error, host, port)))
    server.listen(port, host, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        // Answers in flight are let out; a connection that says nothing more is not waited for.
        const grace = setTimeout(() => server.closeAllConnections(), closingGrace)
        server.close(() => {
          clearTimeout(grace)
          resolve()
        })
        server.closeIdleConnections()
      }),
  }
}

function addressError(error: NodeJS.ErrnoException, host: string, port: number): GenerationError {
  const fix =
    error.code === 'EADDRINUSE' ? 'it is taken; choose another with --port' : 'name an address of this machine'
  return new GenerationError('invalid_parameter', `port: ${host}:${port} cannot be used (${error.code}); ${fix}`, {
    cause: error,
  })
}

async function answer(
  handler: Handler,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  listening: () => boolean,
): Promise<void> {
  const gone = new AbortController()
  outgoing.once('close', () => gone.abort())
  const request = requestOf(incoming, gone.signal)
  const response = request instanceof Response ? request : await handler(request)
  outgoing.statusCode = response.status
  for (const [name, value] of response.headers) outgoing.setHeader(name, value)
  // What of the body was not read must not be taken for the next request.
  if (!incoming.complete || !listening()) outgoing.setHeader('connection', 'close')
  if (response.body === null || incoming.method === 'HEAD') {
    await response.body?.cancel()
    outgoing.end()
    return
  }
  if (outgoing.destroyed) return response.body.cancel()
  outgoing.flushHeaders()
  await pipeline(Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]), outgoing)
}

/** The request, or the refusal of one that has no proper address. */
function requestOf(incoming: IncomingMessage, signal: AbortSignal): Request | Response {
  const { host = '' } = incoming.headers
  const path = incoming.url ?? ''
  if (!hostPattern.test(host) || !path.startsWith('/')) {
    return problemResponse(
      new GenerationError('invalid_header', 'host: got none that names a host, allowed is HOST or HOST:PORT'),
    )
  }
  const headers = new Headers()
  for (const [name, values] of Object.entries(incoming.headersDistinct)) {
    for (const value of values ?? []) headers.append(name, value)
  }
  const { method = 'GET' } = incoming
  const bare = method === 'GET' || method === 'HEAD'
  const body = bare ? null : (Readable.toWeb(incoming) as unknown as ReadableStream)
  // A body that is a stream must be announced as one-way.
  return new Request(`http://${host}${path}`, { method, headers, body, signal, duplex: 'half' } as RequestInit)
}
