/**
 * The GPU node put together: catalog, engine, predictions, files, webhooks, behind Replicate's HTTP surface.
 *
 * Contract.md §9, last part. Parts know each other only through what is passed here; tests replace the clock, the
 * backend or the whole execution.
 */

import { Hono } from 'hono'
import { GenerationError } from '../../../shared/errors.ts'
import type { Backend } from '../../pipeline/backend.ts'
import type { Embeddings } from '../../pipeline/generate.ts'
import { type Catalog, type Folders, owner, readCatalog, releasedFolders, type ServedModel } from './catalog.ts'
import { type Clock, systemClock } from './clock.ts'
import { type Engine, engine } from './engine.ts'
import { fileStore } from './files.ts'
import { guard } from './guard.ts'
import { keepJournal } from './journal.ts'
import { type Handler, listen } from './listen.ts'
import { type Execute, type Predictions, predictions } from './predictions.ts'
import { problemResponse } from './problem.ts'
import { fileRoutes } from './routes-files.ts'
import { modelRoutes } from './routes-models.ts'
import { predictionRoutes } from './routes-predictions.ts'
import { type Slots, slots } from './slots.ts'
import { newWebhookSecret, sendWebhooks } from './webhooks.ts'

export interface NodeOptions {
  readonly backend: Backend
  readonly token: string
  readonly host?: string
  /** 0 takes any free port. */
  readonly port?: number
  readonly slots?: number
  /** Predictions that may wait for a slot. */
  readonly queue?: number
  /** Names besides loopback by which the node may be called. */
  readonly hosts?: readonly string[]
  /** What webhook addresses may begin with; none where left out. */
  readonly webhookPrefixes?: readonly string[]
  readonly webhookSecret?: string
  readonly folders?: Folders
  /** Which models; all of the folder where left out. */
  readonly models?: readonly string[]
  readonly clock?: Clock
  readonly execute?: Execute
  /** Gets a line when a prediction begins and ends. */
  readonly journal?: (line: string) => void
  /** Failures that no code foresaw. */
  readonly complain?: (error: unknown) => void
}

export interface RunningNode {
  readonly url: string
  readonly port: number
  readonly catalog: Catalog
  readonly predictions: Predictions
  /** Cancels what runs, lets it end, and closes everything. */
  readonly close: () => Promise<void>
}

/**
 * Starts a node; it answers when this resolves.
 * @throws GenerationError where a card is wrong or the address is taken.
 */
export async function startNode(options: NodeOptions): Promise<RunningNode> {
  const { host = '127.0.0.1', port = 0, clock = systemClock, complain = () => {} } = options
  const catalog = await readCatalog(options.folders ?? releasedFolders(), options.models)
  const files = fileStore({ clock })
  const running = engine({ backend: options.backend, files, clock })
  const places = slots(options.slots ?? 1, options.queue ?? 16)
  const secret = options.webhookSecret ?? newWebhookSecret()
  const all = predictions({
    clock,
    slots: places,
    execute: options.execute ?? running.execute,
    watch: (prediction) => {
      sendWebhooks(prediction, { clock, secret })
      if (options.journal !== undefined) keepJournal(prediction, options.journal)
    },
    complain,
  })
  const app = new Hono()
  app.use(guard({ token: options.token, hosts: options.hosts ?? [] }))
  app.get('/healthz', ({ json }) => json({ status: 'ok' }))
  app.route('/v1', accountRoutes(secret, all, places, options.slots ?? 1))
  const prefixes = options.webhookPrefixes ?? []
  app.route('/v1', predictionRoutes({ catalog, predictions: all, files, clock, webhookPrefixes: prefixes }))
  app.route('/v1', modelRoutes({ catalog, startedAt: clock.now(), embed: embedding(running, places) }))
  app.route('/v1', fileRoutes(files))
  app.notFound(({ req }) =>
    problemResponse(new GenerationError('not_found', `route: there is no ${req.method} ${req.path}`)),
  )
  app.onError((error) => {
    if (!(error instanceof GenerationError)) complain(error)
    return problemResponse(error)
  })
  const gate = closable((request) => app.fetch(request))
  const listener = await listen(gate.handler, { host, port })
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${listener.port}`,
    port: listener.port,
    catalog,
    predictions: all,
    close: async () => {
      gate.close()
      await all.close()
      await listener.close()
      await running[Symbol.asyncDispose]()
    },
  }
}

/** Refuses what comes after the end has begun, so that nothing new starts while the last runs stop. */
function closable(handler: Handler) {
  let open = true
  const stopping = () => problemResponse(new GenerationError('provider_unavailable', 'node: is stopping; ask another'))
  return {
    handler: ((request) => (open ? handler(request) : stopping())) satisfies Handler,
    close: () => {
      open = false
    },
  }
}

/** An embedding takes a slot like a prediction, but its caller waits for it. */
function embedding(running: Engine, places: Slots) {
  return (model: ServedModel, texts: readonly string[]) =>
    new Promise<Embeddings>((resolve, reject) => {
      places.enter((slot) => running.embed(model, slot, texts).then(resolve, reject))
    })
}

/** Who is asked, the secret of its webhooks, and what it has done so far. */
function accountRoutes(secret: string, all: Predictions, places: Slots, count: number): Hono {
  const routes = new Hono()
  routes.get('/account', ({ json }) => json({ type: 'organization', username: owner, name: 'Zoetrope node' }))
  routes.get('/webhooks/default/secret', ({ json }) => json({ key: secret }))
  routes.get('/node', ({ json }) =>
    json({ slots: count, busy: places.busy(), waiting: places.waiting(), executions: all.executions() }),
  )
  return routes
}
