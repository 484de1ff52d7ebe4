/**
 * Provider hooks in: verified, remembered, and only ever a reason to ask the provider itself.
 *
 * The address ends in whose job it is and a MAC for one attempt of it, so that a good signature for another job opens
 * nothing here.
 */

import { GenerationError } from '../../shared/errors.ts'
import { fromBase64url } from '../bytes.ts'
import { type Context, parameter, type Route } from '../context.ts'
import type { Env } from '../env.ts'
import { isId } from '../ids.ts'
import { readLimited } from '../json.ts'
import { accountOf, generationOf } from '../objects/contract.ts'
import { readPrediction } from '../providers/prediction.ts'
import { servicesOf } from '../services.ts'
import { verifyMac } from '../signed-url.ts'
import { secretBytes, verifyDelivery } from '../standard-webhooks.ts'
import { notFound } from './videos.ts'

const bodyLimit = 262_144
const secretMs = 300_000
const secretTimeoutMs = 10_000

const secrets = new WeakMap<Env, Map<string, { readonly value: Promise<string>; readonly until: number }>>()

/** A provider's secret, asked for once in five minutes. */
function webhookSecret(env: Env, name: string): Promise<string> {
  const memory = secrets.get(env) ?? new Map()
  secrets.set(env, memory)
  const known = memory.get(name)
  if (known !== undefined && known.until > Date.now()) return known.value
  const provider = servicesOf(env).provider(name)
  if (provider === undefined) throw notFound()
  const value = provider.webhookSecret(AbortSignal.timeout(secretTimeoutMs)).catch((error: unknown) => {
    memory.delete(name)
    throw new GenerationError('provider_unavailable', `${name}: gives no webhook secret`, {
      cause: error,
      retryAfterMs: 5_000,
    })
  })
  memory.set(name, { value, until: Date.now() + secretMs })
  return value
}

async function hook(context: Context): Promise<Response> {
  const [provider, job] = [parameter(context, 'provider'), parameter(context, 'job')]
  const [attempt, [whose = '', mac = '']] = [parameter(context, 'attempt'), parameter(context, 'mac').split('.')]
  const { hooks } = await servicesOf(context.env).secrets()
  const addressed = isId('vid', job) && /^[1-9]\d{0,3}$/.test(attempt)
  const tenant = new TextDecoder().decode(fromBase64url(whose) ?? new Uint8Array())
  if (!addressed || !(await verifyMac(hooks, mac, provider, job, attempt, tenant))) throw notFound()
  const body = await readLimited(context.req.raw.body, bodyLimit)
  const secret = secretBytes(await webhookSecret(context.env, provider))
  const verdict = await verifyDelivery(context.req.raw.headers, body, secret === undefined ? [] : [secret], Date.now())
  if ('refused' in verdict) throw new GenerationError('forbidden', `hook: ${verdict.refused}`)
  const prediction = readPrediction(new TextDecoder().decode(body))
  const seat = prediction === undefined ? null : await accountOf(context.env, tenant).seat(job)
  if (prediction !== undefined && seat !== null) {
    await generationOf(context.env, tenant, seat).hook(job, Number(attempt), verdict.id, prediction.id)
  }
  return context.body(null, 204)
}

export const hookRoutes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/hooks/{provider}/{job}/{attempt}/{mac}',
    access: 'signature',
    operationId: 'providerHook',
    summary: 'For providers: something happened to a run',
    bodyType: 'application/json',
    headers: ['webhook-id', 'webhook-timestamp', 'webhook-signature'],
    answers: { 204: { description: 'Heard' } },
    handler: hook,
  },
]
