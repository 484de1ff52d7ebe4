/**
 * The Worker in a process that may be killed at any moment: its bundle in Miniflare, its stores in a folder that stays.
 *
 * Started by edge-process.ts, which says everything in one variable. All the network it sees is one loopback port, and
 * it knows nothing of tests: the bundle is the one that is deployed.
 */

import { dirname } from 'node:path'
import { convertV4MiniflareOptions, Miniflare, Response } from 'miniflare'
import type { EdgeSettings } from './edge-process.ts'

const { script, folder, port, gateway, bindings } = JSON.parse(process.env.EDGE_SETTINGS ?? '{}') as EdgeSettings

/** Every host is behind the gateway, which is told the address that was meant. */
async function forward(request: {
  url: string
  method: string
  headers: Iterable<[string, string]>
  text(): Promise<string>
}) {
  const body = await request.text()
  const answer = await fetch(`http://${gateway}/`, {
    method: request.method,
    headers: [...request.headers, ['x-address', request.url]],
    ...(body === '' ? {} : { body }),
  })
  return new Response(await answer.arrayBuffer(), { status: answer.status, headers: [...answer.headers] })
}

const object = (className: string) => ({ className, useSQLite: true })

const edge = new Miniflare(
  convertV4MiniflareOptions({
    name: 'zoetrope',
    host: '127.0.0.1',
    port,
    modulesRoot: dirname(script),
    modules: [{ type: 'ESModule', path: script }],
    compatibilityDate: '2026-10-01',
    compatibilityFlags: ['nodejs_compat'],
    resourcePersistencePath: folder,
    cf: false,
    unsafeTriggerHandlers: true,
    bindings,
    durableObjects: { GENERATIONS: object('Generation'), ACCOUNTS: object('Account'), DIRECTORY: object('Directory') },
    kvNamespaces: { CATALOG: 'catalog' },
    r2Buckets: { BUCKET: 'bucket' },
    outboundService: forward,
  }),
)

const address = await edge.ready
process.stdout.write(`${JSON.stringify({ ready: address.origin })}\n`)
process.on('SIGTERM', () => void edge.dispose().then(() => process.exit(0)))
