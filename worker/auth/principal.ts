/**
 * Who is asking: an API key speaks for its tenant, a browser token for one subject within its caps.
 *
 * Closed by default. An isolate remembers a key or a token for five seconds, so a revocation is felt within five.
 */

import { GenerationError } from '../../shared/errors.ts'
import type { InferenceMode } from '../../shared/request.ts'
import { equalText } from '../bytes.ts'
import type { Env } from '../env.ts'
import { accountOf, directoryOf, type Viewer } from '../objects/contract.ts'
import { servicesOf } from '../services.ts'
import { keyFingerprint, newKey, type ParsedKey, parseKey } from './api-key.ts'
import { type Scope, scopes, type TokenClaims, verifyToken } from './browser-token.ts'

export interface Principal extends Viewer {
  readonly kind: 'key' | 'token'
  /** Whose interest a job has: a key's, or a subject's whatever token it shows. */
  readonly caller: string
  readonly scopes: ReadonlySet<Scope>
  readonly token: TokenCaps | null
}

export interface TokenCaps {
  readonly jti: string
  readonly maxJobs: number
  readonly maxCost: number
  readonly models: readonly string[] | null
  readonly modes: readonly InferenceMode[] | null
}

const rememberedMs = 5_000
const rememberedMost = 10_000
const developmentTenant = 'dev'

interface Remembered<Value> {
  readonly value: Value
  readonly until: number
}

const known = new WeakMap<Env, Map<string, Remembered<unknown>>>()

/** A value fetched at most once in five seconds. */
async function remembered<Value>(env: Env, name: string, fetchIt: () => Promise<Value>): Promise<Value> {
  const memory = known.get(env) ?? new Map<string, Remembered<unknown>>()
  known.set(env, memory)
  const entry = memory.get(name)
  if (entry !== undefined && entry.until > Date.now()) return entry.value as Value
  const value = await fetchIt()
  if (memory.size >= rememberedMost) memory.clear()
  memory.set(name, { value, until: Date.now() + rememberedMs })
  return value
}

const unauthenticated = (why: string): GenerationError =>
  new GenerationError('unauthenticated', `authorization: ${why}, allowed is Bearer with an API key or a browser token`)

/**
 * The principal of a request.
 * @throws GenerationError unauthenticated, token_expired or origin_not_allowed.
 */
export async function authenticate(request: Request, env: Env): Promise<Principal> {
  const header = request.headers.get('authorization')
  if (header === null) throw unauthenticated('got none')
  const credential = /^Bearer ([\x21-\x7e]{1,4096})$/.exec(header)?.[1]
  if (credential === undefined) throw unauthenticated('got something else')
  return credential.startsWith('zoe_') ? byKey(credential, env) : byToken(credential, request, env)
}

async function byKey(credential: string, env: Env): Promise<Principal> {
  const key = parseKey(credential)
  if (key === undefined) throw unauthenticated('got a key that is none')
  if (isDevelopmentKey(credential, env)) return keyPrincipal(developmentTenant, key.id, scopes)
  const { peppers } = await servicesOf(env).secrets()
  const row = await remembered(env, `key:${key.id}`, () => directoryOf(env).key(key.id))
  const fingerprints = await Promise.all(peppers.map((pepper) => keyFingerprint(key, pepper)))
  // Compared also where there is no such key, so that time tells nothing.
  const match = fingerprints.map((each) => equalText(each, row?.fingerprint ?? '')).includes(true)
  if (!match || row === null || row.revoked) throw unauthenticated('got a key that is not known or was revoked')
  return keyPrincipal(row.tenant, key.id, row.scopes)
}

const isDevelopmentKey = (credential: string, { ENVIRONMENT, DEVELOPMENT_KEY }: Env): boolean =>
  ENVIRONMENT === 'development' && !!DEVELOPMENT_KEY && equalText(credential, DEVELOPMENT_KEY)

const keyPrincipal = (tenant: string, id: string, granted: readonly Scope[]): Principal => ({
  kind: 'key',
  tenant,
  subject: null,
  caller: `key:${id}`,
  scopes: new Set(granted),
  token: null,
})

async function byToken(credential: string, request: Request, env: Env): Promise<Principal> {
  const { tokens } = await servicesOf(env).secrets()
  const verdict = await verifyToken(credential, tokens, Date.now())
  if (verdict.kind === 'expired') throw new GenerationError('token_expired', 'authorization: the token has expired')
  if (verdict.kind === 'bad') throw unauthenticated('got a token that is none of ours')
  const { claims } = verdict
  const good = await remembered(env, `jti:${claims.jti}`, () => accountOf(env, claims.tenant).isTokenGood(claims.jti))
  if (!good) throw unauthenticated('got a token that was revoked')
  checkOrigin(request, claims)
  return {
    kind: 'token',
    tenant: claims.tenant,
    subject: claims.sub,
    caller: `subject:${claims.sub}`,
    scopes: new Set(claims.scopes),
    token: {
      jti: claims.jti,
      maxJobs: claims.max_jobs,
      maxCost: claims.max_cost,
      models: claims.models,
      modes: claims.inference_modes,
    },
  }
}

/** Checked when sent; a program can send any, so the caps are what bounds a token. */
function checkOrigin(request: Request, { origin }: TokenClaims): void {
  const sent = request.headers.get('origin')
  if (origin === null || sent === null || sent === origin) return
  throw new GenerationError('origin_not_allowed', `origin: got ${sent}, this token is for ${origin}`)
}

/** @throws GenerationError forbidden where the principal lacks a scope. */
export function requireScope(principal: Principal, scope: Scope): void {
  if (principal.scopes.has(scope)) return
  throw new GenerationError('forbidden', `authorization: this needs the scope ${scope}`)
}

/** Makes a key and stores its fingerprint. The text is shown once, by the caller. */
export async function issueKey(
  env: Env,
  { tenant, name, granted, kind }: { tenant: string; name: string; granted: readonly Scope[]; kind: 'live' | 'test' },
): Promise<ParsedKey> {
  const key = newKey(kind)
  const [pepper] = (await servicesOf(env).secrets()).peppers as [CryptoKey]
  const row = { id: key.id, tenant, scopes: granted, name, created_at: Date.now(), revoked: false }
  await directoryOf(env).createKey(row, await keyFingerprint(key, pepper))
  return key
}

let announced: Promise<void> | undefined

/** A development start without any key makes one and prints it once. */
export function announceDevelopmentKey(env: Env): Promise<void> {
  if (env.ENVIRONMENT !== 'development' || env.DEVELOPMENT_KEY) return Promise.resolve()
  announced ??= (async () => {
    if ((await directoryOf(env).keys()).length > 0) {
      console.log('The API key of an earlier start is still good; to choose one, start with DEVELOPMENT_KEY')
      return
    }
    const key = await issueKey(env, { tenant: developmentTenant, name: 'development', granted: scopes, kind: 'test' })
    console.log(`API key for this development start, shown once: ${key.text}`)
  })()
  return announced
}
