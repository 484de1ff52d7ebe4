/**
 * What the Worker and its objects share within an isolate: derived keys, the catalog and the providers.
 *
 * Made once per set of bindings. The clock, chance and the network enter the program here, and nowhere in its rules.
 */

import type { Catalog, CatalogModel } from '../shared/catalog.ts'
import { type ModelCatalog, modelCatalog } from './catalog/catalog.ts'
import { replicateEntries } from './catalog/replicate.ts'
import { type Env, type Settings, settingsOf } from './env.ts'
import { directoryOf } from './objects/contract.ts'
import { nodeProvider } from './providers/node.ts'
import type { Provider } from './providers/provider.ts'
import { replicateProvider } from './providers/replicate.ts'
import { deriveSecrets, type Secrets } from './secrets.ts'

export interface Services {
  readonly settings: Settings
  readonly catalog: ModelCatalog
  readonly secrets: () => Promise<Secrets>
  /** Undefined where the operator has not configured it. */
  readonly provider: (name: string) => Provider | undefined
}

export type { Catalog, CatalogModel }

const made = new WeakMap<Env, Services>()
const schemaTtlSeconds = 3600

/** The services of some bindings. */
export function servicesOf(env: Env): Services {
  const known = made.get(env)
  if (known !== undefined) return known
  let secrets: Promise<Secrets> | undefined
  const services: Services = {
    settings: settingsOf(env),
    catalog: modelCatalog(env),
    secrets: () => {
      // A failure is not remembered: the next caller asks again.
      secrets ??= rootsOf(env)
        .then(deriveSecrets)
        .catch((error: unknown) => {
          secrets = undefined
          throw error
        })
      return secrets
    },
    provider: (name) => providers[name]?.(env),
  }
  made.set(env, services)
  return services
}

async function rootsOf(env: Env): Promise<string[]> {
  const configured = [env.SIGNING_SECRET, env.SIGNING_SECRET_PREVIOUS].filter(
    (root) => root !== undefined && root !== '',
  )
  if (configured.length > 0) return configured as string[]
  if (env.ENVIRONMENT !== 'development') {
    throw new Error('SIGNING_SECRET: is missing; set 32 random bytes as base64 with wrangler secret put')
  }
  return [await directoryOf(env).developmentSecret()]
}

// The global is looked up at each call, as tests and instrumentation expect.
const network: typeof globalThis.fetch = (input, init) => globalThis.fetch(input as RequestInfo, init)

const providers: Readonly<Record<string, (env: Env) => Provider | undefined>> = {
  node: (env) => {
    const bound = env.NODE
    if (bound === undefined && !env.NODE_URL) return undefined
    const send: typeof globalThis.fetch =
      bound === undefined ? network : (input, init) => bound.fetch(input as RequestInfo, init)
    return nodeProvider({
      baseUrl: (env.NODE_URL ?? 'http://node.internal/v1').replace(/\/$/, ''),
      token: env.NODE_TOKEN ?? '',
      send,
      now: Date.now,
      random: Math.random,
    })
  },
  replicate: (env) => {
    if (!env.REPLICATE_API_TOKEN) return undefined
    return replicateProvider({
      token: env.REPLICATE_API_TOKEN,
      entries: replicateEntries,
      schemas: {
        get: (name) => env.CATALOG.get(name),
        put: (name, value) => env.CATALOG.put(name, value, { expirationTtl: schemaTtlSeconds }),
      },
      send: network,
      now: Date.now,
      random: Math.random,
    })
  },
}
