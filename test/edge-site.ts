/**
 * The real Worker and node behind the page under test, as one site: for runs that a browser and the service share.
 *
 * /edge/… passes requests on to `npm start`, which is told that it is found there; /edge-models/ serves the models that
 * the node has. Both are started at the first request, and ended with the server.
 */

import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { Connect, Plugin } from 'vite'
import { indexOf } from '../client/studio/assets.ts'
import { freePort } from '../models/node/start/ports.ts'
import { developmentKey } from './development-key.ts'
import { root } from './sources.ts'
import { launch, ready, type Started } from './started.ts'
import { toyFolder } from './toy-folder.ts'

export const edgeModel = 'zt-toy-student'

interface Site {
  readonly stack: Started
  readonly models: string
  readonly port: number
}

export function edgeSite(): Plugin {
  let made: Promise<Site> | undefined
  return {
    name: 'edge-site',
    configureServer: ({ middlewares }) =>
      void middlewares.use(
        answering((origin) => {
          made ??= makeSite(origin)
          return made
        }),
      ),
    closeBundle: async () => {
      const site = await made
      if (site === undefined) return
      site.stack.child.kill('SIGINT')
      await once(site.stack.child, 'exit')
      for (const each of [site.models, join(root, '.wrangler', `state-${site.port}`)])
        await rm(each, { recursive: true, force: true })
    },
  }
}

async function makeSite(origin: string): Promise<Site> {
  const models = await mkdtemp(join(tmpdir(), 'edge-site-'))
  await toyFolder(models, { id: edgeModel, guided: true })
  const [port, nodePort] = [await freePort(21_900), await freePort(21_905)]
  const environment = { DEVELOPMENT_KEY: developmentKey, PUBLIC_URL: `${origin}/edge` }
  return { stack: await ready(launch({ port, nodePort, models, environment })), models, port }
}

function answering(site: (origin: string) => Promise<Site>): Connect.NextHandleFunction {
  return async (request, response, next) => {
    const path = request.url ?? '/'
    const here = /^\/edge(-models)?\//.exec(path)
    if (here === null) return next()
    const { stack, models } = await site(`http://${request.headers.host}`)
    const rest = path.slice(here[0].length)
    if (here[1] !== undefined) {
      if (rest === 'index.json') return void response.end(indexOf(edgeModel, [edgeModel]))
      const file = /^(cards|weights)\/[\w.-]+$/.test(rest) ? await readFile(join(models, rest)).catch(() => null) : null
      return void (file === null ? response.writeHead(404).end() : response.end(file))
    }
    const { host: _, connection: __, ...headers } = request.headers
    const bare = request.method === 'GET' || request.method === 'HEAD'
    const answer = await fetch(`${stack.address}/${rest}`, {
      method: request.method ?? 'GET',
      headers: headers as Record<string, string>,
      ...(bare ? {} : { body: Readable.toWeb(request), duplex: 'half' }),
    } as RequestInit)
    const { 'content-encoding': ___, 'content-length': ____, ...kept } = Object.fromEntries(answer.headers)
    response.writeHead(answer.status, kept)
    // As it comes: events are heard when they happen.
    if (answer.body === null) response.end()
    else Readable.fromWeb(answer.body as Parameters<typeof Readable.fromWeb>[0]).pipe(response)
  }
}
