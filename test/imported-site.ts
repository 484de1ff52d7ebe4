/**
 * An imported toy model as a site has it, and a node that embeds its prompts: for tests of pages.
 *
 * /imported-models/ serves an index, the manifest and its files, and of the text encoder nothing, since a device is not
 * to need it. /node/… passes requests on to a real node. Both are made at the first request.
 */

import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Connect, Plugin } from 'vite'
import { nodeBackend } from '../models/node/backend.ts'
import { loadManifest } from '../models/node/import.ts'
import { type RunningNode, startNode } from '../models/node/serve/serve.ts'
import { importToyWan, toyImport } from './checkpoints/toy-import.ts'
import { toyFolder } from './toy-folder.ts'

/** What the node wants to see. */
export const siteToken = 'secret'

interface Site {
  readonly node: RunningNode
  readonly read: (path: string) => Promise<Uint8Array | string | undefined>
}

export function importedSite(): Plugin {
  let made: Promise<Site> | undefined
  const site = () => {
    made ??= makeSite()
    return made
  }
  return {
    name: 'imported-site',
    configureServer: ({ middlewares }) => void middlewares.use(answering(site)),
    closeBundle: async () => (await made)?.node.close(),
  }
}

async function makeSite(): Promise<Site> {
  const place = await mkdtemp(join(tmpdir(), 'imported-site-'))
  const folders = await toyFolder(place)
  const before = process.env.ZOETROPE_MODELS
  process.env.ZOETROPE_MODELS = folders.imported
  await importToyWan(place)
  process.env.ZOETROPE_MODELS = before
  if (before === undefined) delete process.env.ZOETROPE_MODELS
  const node = await startNode({ backend: nodeBackend({ threads: 1 }), token: siteToken, folders })
  const manifest = await loadManifest(folders.imported, toyImport)
  const held = [manifest?.parts.denoiser, manifest?.parts.decoder].flatMap((part) => part?.files ?? [])
  const names = ['manifest.json', ...held.map(({ file }) => file)]
  return {
    node,
    read: async (path) => {
      if (path === 'index.json') return JSON.stringify({ default_model: toyImport, data: [], imported: [toyImport] })
      const name = names.find((each) => path === `imported/${toyImport}/${each}`)
      return name === undefined ? undefined : readFile(join(folders.imported, toyImport, name))
    },
  }
}

function answering(site: () => Promise<Site>): Connect.NextHandleFunction {
  return async (request, response, next) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const [, area, ...rest] = pathname.split('/')
    if (area === 'imported-models') {
      const bytes = await (await site()).read(rest.join('/'))
      return void (bytes === undefined ? response.writeHead(404).end() : response.end(bytes))
    }
    if (area !== 'node') return next()
    const body: Uint8Array[] = []
    for await (const piece of request) body.push(piece as Uint8Array)
    const answer = await fetch(`${(await site()).node.url}/${rest.join('/')}`, {
      method: request.method ?? 'GET',
      headers: { authorization: request.headers.authorization ?? '', 'content-type': 'application/json' },
      ...(body.length === 0 ? {} : { body: Buffer.concat(body) }),
    })
    response.writeHead(answer.status, Object.fromEntries(answer.headers))
    response.end(Buffer.from(await answer.arrayBuffer()))
  }
}
