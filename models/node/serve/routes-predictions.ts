/**
 * Replicate's routes of predictions, plus the idempotent PUT: bodies and headers in, predictions out.
 */

import { randomInt } from 'node:crypto'
import { type Context, Hono } from 'hono'
import * as v from 'valibot'
import { GenerationError } from '../../../shared/errors.ts'
import { readJson } from './body.ts'
import type { Catalog } from './catalog.ts'
import type { Clock } from './clock.ts'
import type { FileStore } from './files.ts'
import { cancelAfterOf, waitOf } from './headers.ts'
import { readJob } from './inputs.ts'
import { type Prediction, predictionObject, terminal, webhookEvents } from './prediction.ts'
import type { NewPrediction, Predictions } from './predictions.ts'
import { streamResponse } from './stream.ts'
import { requireAllowed } from './webhooks.ts'

export interface PredictionRouteOptions {
  readonly catalog: Catalog
  readonly predictions: Predictions
  readonly files: FileStore
  readonly clock: Clock
  readonly webhookPrefixes: readonly string[]
}

const bodySchema = v.strictObject({
  version: v.optional(v.string()),
  model: v.optional(v.string()),
  // Whatever it is, inputs.ts judges it.
  input: v.optional(v.unknown()),
  webhook: v.optional(v.string()),
  webhook_events_filter: v.optional(v.array(v.picklist(webhookEvents))),
  // Older clients say they want a stream; every prediction has one.
  stream: v.optional(v.boolean()),
})

const pageSize = 100
const cancelPatience = 10_000
const idPattern = /^[\w-]{1,128}$/

export function predictionRoutes(options: PredictionRouteOptions): Hono {
  const { predictions, clock } = options
  const routes = new Hono()
  routes.post('/predictions', async (context) => {
    const body = await readJson(context.req.raw)
    return answer(context, predictions, predictions.create(orderOf(context, body, options)), true)
  })
  routes.post('/models/:owner/:name/predictions', async (context) => {
    const { owner, name } = context.req.param()
    const body = await readJson(context.req.raw)
    const order = orderOf(context, { ...body, model: `${owner}/${name}` }, options)
    return answer(context, predictions, predictions.create(order), true)
  })
  routes.put('/predictions/:id', async (context) => {
    const { id } = context.req.param()
    if (!idPattern.test(id)) {
      throw new GenerationError('invalid_parameter', `id: got ${id}, allowed are 1 to 128 letters, digits, _ and -`)
    }
    const body = await readJson(context.req.raw)
    const { prediction, created } = predictions.put(id, body, () => orderOf(context, body, options))
    return answer(context, predictions, prediction, created)
  })
  routes.get('/predictions', (context) => {
    const { results, next, previous } = predictions.list(context.req.query('cursor'), pageSize)
    const pageUrl = (cursor: string | undefined) =>
      cursor === undefined ? null : `${originOf(context)}/v1/predictions?cursor=${cursor}`
    return context.json({ previous: pageUrl(previous), next: pageUrl(next), results: results.map(summary) })
  })
  routes.get('/predictions/:id', (context) => context.json(predictionObject(predictions.get(context.req.param('id')))))
  routes.post('/predictions/:id/cancel', async (context) => {
    const prediction = predictions.get(context.req.param('id'))
    predictions.cancel(prediction)
    // The step in hand must end first; a caller who hears `canceled` can rely on it.
    await predictions.finished(prediction, cancelPatience, context.req.raw.signal)
    return context.json(predictionObject(prediction))
  })
  routes.get('/streams/:id', (context) => {
    const prediction = predictions.get(context.req.param('id'))
    if (context.req.query('key') !== prediction.order.streamKey) {
      throw new GenerationError('not_found', 'stream: there is none at this address')
    }
    return streamResponse(prediction, clock)
  })
  return routes
}

const originOf = ({ req }: Context): string => new URL(req.url).origin

/** A row of a list: without what may be long. */
function summary(prediction: Prediction) {
  const { logs: _, preview: __, ...rest } = predictionObject(prediction)
  return rest
}

/**
 * What a body and its headers order.
 * @throws GenerationError for whatever is wrong with it.
 */
function orderOf(
  context: Context,
  data: Readonly<Record<string, unknown>>,
  { catalog, files, webhookPrefixes }: PredictionRouteOptions,
): NewPrediction {
  const body = parsed(data)
  const model = catalog.find(referenceOf(body))
  if (body.webhook !== undefined) requireAllowed(body.webhook, webhookPrefixes)
  const cancelAfter = cancelAfterOf(context.req.header('cancel-after'))
  return {
    job: readJob(model, body.input, files, randomInt(0, 2 ** 32)),
    input: body.input,
    origin: originOf(context),
    ...(body.webhook === undefined
      ? {}
      : { webhook: { url: body.webhook, events: body.webhook_events_filter ?? webhookEvents } }),
    ...(cancelAfter === undefined ? {} : { cancelAfter }),
  }
}

function parsed(data: Readonly<Record<string, unknown>>): v.InferOutput<typeof bodySchema> {
  const result = v.safeParse(bodySchema, data)
  if (result.success) return result.output
  const [issue] = result.issues
  const path = v.getDotPath(issue) ?? 'body'
  const unknown = issue.type === 'strict_object' && issue.expected === 'never'
  throw new GenerationError(
    unknown ? 'unknown_parameter' : 'invalid_parameter',
    unknown ? `${path}: is not a field here; remove it` : `${path}: ${issue.message}`,
    { pointer: `/${path.replaceAll('.', '/')}` },
  )
}

function referenceOf({ version, model }: v.InferOutput<typeof bodySchema>): string {
  if (version !== undefined && model !== undefined) {
    throw new GenerationError('conflicting_parameters', 'version: got version and model, allowed is one of them')
  }
  const reference = version ?? model
  if (reference === undefined) {
    throw new GenerationError('invalid_parameter', 'version: is missing; name a version or a model', {
      pointer: '/version',
    })
  }
  return reference
}

/** Answers with the prediction: now, or when it is terminal where the caller prefers to wait. */
async function answer(
  context: Context,
  predictions: Predictions,
  prediction: Prediction,
  created: boolean,
): Promise<Response> {
  const wait = waitOf(context.req.header('prefer'))
  if (wait === undefined) return context.json(predictionObject(prediction), created ? 201 : 200)
  await predictions.finished(prediction, wait * 1000, context.req.raw.signal)
  const done = terminal(prediction)
  const object = predictionObject(prediction)
  // The stock client takes any other status for the end and returns a null output.
  const shown = done ? object : { ...object, status: 'starting' as const }
  return context.json(shown, done ? (created ? 201 : 200) : 202, { 'preference-applied': `wait=${wait}` })
}
