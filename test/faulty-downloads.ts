/**
 * A download server that misbehaves on request, for tests of the model store.
 *
 * /faulty/{fault}/… serves what /models/… does, but weights with a fault: `cut-N` ends each answer after N bytes without
 * warning, `flip-N` inverts the lowest bit of byte N. /faulty-log/{fault} says how often was asked and how much was sent.
 */

import type { Connect, Plugin } from 'vite'
import type { Assets } from '../client/studio/assets.ts'

interface Served {
  readonly requests: number
  readonly bytes: number
}

export function faultyDownloads(assets: () => Promise<Assets>): Plugin {
  const log = new Map<string, Served>()
  return {
    name: 'faulty-downloads',
    configureServer: ({ middlewares }) => void middlewares.use(answering(log, assets)),
  }
}

function answering(log: Map<string, Served>, assets: () => Promise<Assets>): Connect.NextHandleFunction {
  return async (request, response, next) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const [, area, fault = '', ...rest] = pathname.split('/')
    const seen = log.get(fault) ?? { requests: 0, bytes: 0 }
    if (area === 'faulty-log') return void response.end(JSON.stringify(seen))
    if (area !== 'faulty') return next()
    const read = (await assets()).get(`/models/${rest.join('/')}`)
    if (read === undefined) return void response.writeHead(404).end()
    const whole = await read()
    if (typeof whole === 'string') return void response.end(whole)
    const [kind, number] = fault.split('-') as [string, string]
    const bytes = kind === 'flip' ? whole.with(Number(number), (whole[Number(number)] as number) ^ 1) : whole
    const etag = `"${bytes.length}"`
    const start = startOf(request.headers, etag)
    const end = endOf(request.headers, bytes.length)
    const sent = bytes.subarray(start, kind === 'cut' ? Math.min(end, start + Number(number)) : end)
    log.set(fault, { requests: seen.requests + 1, bytes: seen.bytes + sent.length })
    const range: Record<string, string> =
      end - start < bytes.length ? { 'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}` } : {}
    response.writeHead(end - start < bytes.length ? 206 : 200, { ETag: etag, 'Content-Length': end - start, ...range })
    // Ended in order, or bytes on their way would be lost with the connection.
    response.write(sent, () => (start + sent.length < end ? response.socket?.end() : response.end()))
  }
}

function startOf(headers: Record<string, string | string[] | undefined>, etag: string): number {
  const match = /^bytes=(\d+)-\d*$/.exec(String(headers.range ?? ''))
  const stale = headers['if-range'] !== undefined && headers['if-range'] !== etag
  return match === null || stale ? 0 : Number(match[1])
}

/** One more than the last byte asked for. */
function endOf(headers: Record<string, string | string[] | undefined>, size: number): number {
  const match = /^bytes=\d+-(\d+)$/.exec(String(headers.range ?? ''))
  return match === null ? size : Math.min(size, Number(match[1]) + 1)
}
