/**
 * The ports of an execution and of webhooks, as this platform fills them: storage, account, provider, network.
 *
 * The rules behind them (execution.ts, deliveries.ts) know none of this and are tested without it.
 */

import { base64url, utf8 } from '../bytes.ts'
import type { Env } from '../env.ts'
import { randomText } from '../ids.ts'
import { countersigned } from '../latents.ts'
import { costOf } from '../pricing.ts'
import type { Attempt, Provider, ProviderJob } from '../providers/provider.ts'
import { receiptFor } from '../receipt.ts'
import type { Secrets } from '../secrets.ts'
import { servicesOf } from '../services.ts'
import { macOf } from '../signed-url.ts'
import { dispatchedOf, storeKept } from '../similar.ts'
import { secretText } from '../standard-webhooks.ts'
import { withTimeLimit } from '../time-limit.ts'
import { assetUrl } from './asset-url.ts'
import { accountOf, directoryOf, type EndpointSecrets, type JobRecord, type StoredOutput } from './contract.ts'
import type { DeliveryPorts } from './deliveries.ts'
import { type ExecutionPorts, storeTimeoutMs } from './execution.ts'
import { storeOutputs } from './settlement.ts'

const restMs = 10_000

type Told = Pick<
  ExecutionPorts,
  'save' | 'onStarted' | 'onQueued' | 'onProgress' | 'onPreview' | 'onWarnings' | 'onOutcome'
> & {
  /** Which outputs were told of already. */
  readonly isTold: (index: number) => boolean
  readonly onPart: (output: StoredOutput) => void
}

/** The ports of one job's execution. @param told where what happens is written down. */
export function executionPorts(env: Env, record: JobRecord, told: Told): ExecutionPorts {
  const { catalog, settings } = servicesOf(env)
  const provider = providerOf(env, record.provider)
  const account = accountOf(env, record.tenant)
  return {
    ...told,
    now: Date.now,
    log: (what, error) => console.error(what, error),
    deadlineAt: record.deadlineAt,
    provider,
    job: () => providerJob(env, record),
    newAttempt: (number) => newAttempt(env, record, number),
    store: async ({ outputs: urls, gpuMs, receipt, envelopes = [], kept }) => {
      const outputs = await withTimeLimit(storeTimeoutMs, (signal) =>
        storeOutputs(urls, record.effective, record.tenant, provider, env.BUCKET, signal),
      )
      const model = catalog.model(record.effective.model)
      const expiresAt = Date.now() + settings.retentionMs
      const claims = { tenant: record.tenant, expiresAt }
      const vouched = outputs.map(async (output) => {
        if (output.variant !== 'latent') return output
        const envelope = await countersigned(env, envelopes[output.index], claims)
        return envelope === undefined ? output : { ...output, envelope }
      })
      const whole = receiptFor(record, model, outputs, receipt)
      const left = kept === undefined ? null : await storeKept(kept, env, record, provider)
      return {
        ...{ outputs: await Promise.all(vouched), receipt: whole, gpuMs, expiresAt },
        ...(left === null ? {} : { kept: left }),
      }
    },
    settle: async (result) => {
      const cost = costOf(catalog.model(record.effective.model), dispatchedOf(record))
      const settled = await account.settle(record.id, { now: Date.now(), cost, result })
      return { kind: 'completed', result: settled.result, cost: settled.cost }
    },
    release: async (pending) => {
      const settled = await account.release(record.id, pending)
      return settled === null ? null : { kind: 'completed', ...settled }
    },
    onParts: async (parts) => {
      for (const { index, url, envelope } of parts.filter((part) => !told.isTold(part.index))) {
        const one = { ...record.effective, n: 1 }
        const [output] = await withTimeLimit(storeTimeoutMs, (signal) =>
          storeOutputs([url], one, record.tenant, provider, env.BUCKET, signal),
        )
        if (output === undefined || index >= record.effective.n) continue
        // Claimed before it is told of, so that it goes with the job whatever becomes of that.
        await account.claim(record.id, output.key)
        const claims = { tenant: record.tenant, expiresAt: Date.now() + settings.retentionMs }
        const signed = output.variant === 'latent' ? await countersigned(env, envelope, claims) : undefined
        told.onPart({ ...output, index, ...(signed === undefined ? {} : { envelope: signed }) })
      }
    },
    rest: () => directoryOf(env).trip(record.provider, Date.now() + restMs),
  }
}

/** An operator may have removed a provider while jobs of it are open: they end as failed, not as forgotten. */
function providerOf(env: Env, name: string): Provider {
  const provider = servicesOf(env).provider(name)
  if (provider !== undefined) return provider
  const cause = `${name} is no longer configured`
  return {
    name,
    repeatable: false,
    pollMs: () => 30_000,
    start: async () => ({ kind: 'refused', error: { code: 'provider_unavailable', detail: cause } }),
    status: async () => ({ state: 'unreachable', cause }),
    cancel: async () => undefined,
    find: async () => 'unsupported',
    fetchOutput: () => Promise.reject(new Error(cause)),
    webhookSecret: () => Promise.reject(new Error(cause)),
  }
}

async function providerJob(env: Env, record: JobRecord): Promise<ProviderJob> {
  const { catalog, secrets } = servicesOf(env)
  const [key] = (await secrets()).urls as [CryptoKey]
  const media = Object.entries(record.media).map(async ([id, { sha256 }]) => [
    id,
    await assetUrl(record, id, sha256, key, Date.now()),
  ])
  return {
    id: record.id,
    model: catalog.model(record.effective.model),
    effective: dispatchedOf(record),
    ...(record.keepStep === undefined ? {} : { keepStep: record.keepStep }),
    media: Object.fromEntries(await Promise.all(media)),
    open: (asset) => opened(env, record, asset),
  }
}

async function opened(env: Env, record: JobRecord, asset: string): Promise<ReadableStream<Uint8Array>> {
  const { tenant, media, similar } = record
  const object = await env.BUCKET.get(similar?.key ?? `t/${tenant}/${media[asset]?.sha256}`)
  if (object === null) throw new Error(`${asset}: its bytes are gone`)
  return object.body
}

async function newAttempt(env: Env, record: JobRecord, number: number): Promise<Attempt> {
  const [key] = (await servicesOf(env).secrets()).hooks as [CryptoKey]
  const mac = await macOf(key, record.provider, record.id, String(number), record.tenant)
  // Our own node may stand beside us, where callers' names for this service mean nothing or lead elsewhere.
  const own = record.provider === 'node'
  const base = (own && env.HOOKS_URL) || record.baseUrl
  // Nobody can call back into an address that is neither public nor this machine's; polling is the guarantee anyway.
  const reachable = base.startsWith('https://') || (own && /^http:\/\/(127\.0\.0\.1|localhost)(:|$)/.test(base))
  const path = `/v1/hooks/${record.provider}/${record.id}/${number}/${base64url(utf8(record.tenant))}.${mac}`
  return {
    jobId: record.id,
    number,
    nonce: randomText(26),
    webhookUrl: reachable ? `${base}${path}` : null,
    storedAt: Date.now(),
    deadline: record.deadlineAt,
  }
}

/** An endpoint's secrets, ready to sign with. Nothing is sent unsigned. */
async function unsealed({ url, secrets }: EndpointSecrets, { unseal }: Secrets): Promise<EndpointSecrets> {
  const known = (await Promise.all(secrets.map(unseal))).filter((secret) => secret !== undefined)
  if (known.length === 0)
    throw new Error('webhooks: the endpoint was sealed under a secret that is gone; name it again')
  return { url, secrets: known }
}

/** The ports of one job's webhooks. */
export function deliveryPorts(env: Env, { webhook, tenant }: JobRecord): DeliveryPorts {
  const account = accountOf(env, tenant)
  return {
    now: Date.now,
    random: Math.random,
    send: ((input, init) => globalThis.fetch(input as RequestInfo, init)) as typeof globalThis.fetch,
    target: async () => {
      const secrets = await servicesOf(env).secrets()
      if (webhook?.endpoint_id !== undefined) {
        const known = await account.endpointSecrets(webhook.endpoint_id, Date.now())
        return known === null ? null : unsealed(known, secrets)
      }
      if (webhook?.url === undefined) return null
      return { url: webhook.url, secrets: [secretText(await secrets.webhookSecret(tenant))] }
    },
    disable: async () => {
      if (webhook?.endpoint_id !== undefined) await account.disableEndpoint(webhook.endpoint_id)
    },
  }
}
