/**
 * A download server that misbehaves on request, for tests of the model store.
 *
 * /faulty/{name}?size&cut&flip&etag: deterministic bytes; `cut` ends each answer after so many bytes without warning,
 * `flip` inverts one byte, `norange` ignores ranges. /faulty-log/{name} says what was asked for and sent.
 */

import type { Connect, Plugin } from 'vite'

interface Served {
  requests: number
  bytes: number
}

/** Bytes that any test can compute for itself. */
export function patternOf(size: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: size }, (_, index) => (index * 31 + (index >> 8) * 7) & 255)
}

export function faultyDownloads(): Plugin {
  const log = new Map<string, Served>()
  return { name: 'faulty-downloads', configureServer: ({ middlewares }) => void middlewares.use(answering(log)) }
}

function answering(log: Map<string, Served>): Connect.NextHandleFunction {
  return (request, response, next) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
    const [, area, name = ''] = pathname.split('/')
    if (area === 'faulty-log') return void response.end(JSON.stringify(log.get(name) ?? { requests: 0, bytes: 0 }))
    if (area !== 'faulty') return next()
    const number = (key: string, otherwise: number) => Number(searchParams.get(key) ?? otherwise)
    const bytes = patternOf(number('size', 1000))
    const flip = number('flip', -1)
    if (flip >= 0) bytes[flip] = (bytes[flip] as number) ^ 1
    const etag = `"${searchParams.get('etag') ?? 'one'}"`
    const start = startOf(request.headers, etag, searchParams.has('norange'))
    const sent = bytes.subarray(start, Math.min(bytes.length, start + number('cut', bytes.length)))
    const seen = log.get(name) ?? { requests: 0, bytes: 0 }
    log.set(name, { requests: seen.requests + 1, bytes: seen.bytes + sent.length })
    const range: Record<string, string> =
      start > 0 ? { 'Content-Range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {}
    response.writeHead(start > 0 ? 206 : 200, { ETag: etag, 'Content-Length': bytes.length - start, ...range })
    // Destroyed only after the bytes are out, or they would be lost with the connection.
    response.write(sent, () => (start + sent.length < bytes.length ? response.destroy() : response.end()))
  }
}

function startOf(headers: Record<string, string | string[] | undefined>, etag: string, norange: boolean): number {
  const match = /^bytes=(\d+)-$/.exec(String(headers.range ?? ''))
  const stale = headers['if-range'] !== undefined && headers['if-range'] !== etag
  return match === null || stale || norange ? 0 : Number(match[1])
}
