/**
 * Who may ask: the Host, the token and the type of the body, checked before any route sees the request.
 *
 * A web page can make a browser send requests to loopback. It cannot name our Host (DNS rebinding sends its own), knows
 * no token, and without CORS answers may send neither JSON nor an Authorization header.
 */

import { createHash, timingSafeEqual } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import { GenerationError } from '../../../shared/errors.ts'

export interface GuardOptions {
  readonly token: string
  /** Names besides the loopback ones by which this node may be called. */
  readonly hosts: readonly string[]
}

const loopback = ['127.0.0.1', 'localhost', '[::1]']

/** Paths that carry their own permission in the address. */
const open = [/^\/healthz$/, /^\/v1\/streams\//, /^\/v1\/files\/[^/]+\/download$/]

export function guard({ token, hosts }: GuardOptions): MiddlewareHandler {
  const names = new Set([...loopback, ...hosts.map((host) => host.toLowerCase())])
  const expected = digest(`Bearer ${token}`)
  return async ({ req }, next) => {
    const { hostname, pathname } = new URL(req.url)
    if (!names.has(hostname)) {
      throw new GenerationError(
        'forbidden',
        `host: got ${hostname}, allowed are ${[...names].join(', ')}; add one with --allow-hosts`,
      )
    }
    const free = open.some((path) => path.test(pathname))
    // Digests, because timingSafeEqual wants equal lengths.
    if (!free && !timingSafeEqual(digest(req.header('authorization') ?? ''), expected)) {
      throw new GenerationError('unauthenticated', 'authorization: allowed is “Bearer” and the token of this node')
    }
    if (req.method !== 'GET' && req.method !== 'HEAD') requireType(pathname, req.header('content-type'), req.method)
    await next()
  }
}

/** What a body is by where it goes: forms and bytes are files, everything else is JSON. */
function typeOf(path: string, method: string): string {
  if (path === '/v1/files') return 'multipart/form-data'
  return method === 'PUT' && path.startsWith('/v1/files/') ? 'application/octet-stream' : 'application/json'
}

function requireType(path: string, given: string | undefined, method: string): void {
  const wanted = typeOf(path, method)
  const [type] = (given ?? '').split(';')
  // Bodiless: a DELETE says nothing of its type.
  if (given === undefined && method === 'DELETE') return
  if (type?.trim().toLowerCase() !== wanted) {
    throw new GenerationError(
      'unsupported_media_type',
      `content-type: got ${given ?? 'none'}, allowed here is ${wanted}; send that header`,
    )
  }
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
