/**
 * Browser tokens: short-lived EdDSA JWTs with caps, minted by the server side for one subject.
 *
 * The header is fixed, so there is nothing to confuse: one algorithm, keys by constant name. Caps are counted
 * elsewhere, by `jti`. Source: RFC 7519, RFC 8037.
 */

import * as v from 'valibot'
import { inferenceModes } from '../../shared/request.ts'
import { base64url, fromBase64url, utf8 } from '../bytes.ts'
import type { SigningKeys } from '../secrets.ts'

export const scopes = ['video:create', 'video:read', 'token:mint', 'admin'] as const
export type Scope = (typeof scopes)[number]

const issuer = 'zoetrope'
const audience = 'zoetrope'
const skewSeconds = 30
const maxLifeSeconds = 600

const claimsSchema = v.strictObject({
  iss: v.literal(issuer),
  aud: v.literal(audience),
  sub: v.pipe(v.string(), v.minLength(1), v.maxLength(128)),
  iat: v.pipe(v.number(), v.integer(), v.minValue(0)),
  exp: v.pipe(v.number(), v.integer(), v.minValue(0)),
  jti: v.pipe(v.string(), v.regex(/^tok_[a-z2-7]{26}$/)),
  tenant: v.pipe(v.string(), v.minLength(1), v.maxLength(64)),
  scopes: v.array(v.picklist(scopes)),
  models: v.nullable(v.array(v.string())),
  inference_modes: v.nullable(v.array(v.picklist(inferenceModes))),
  max_jobs: v.pipe(v.number(), v.integer(), v.minValue(0)),
  /** Millionths of a dollar. */
  max_cost: v.pipe(v.number(), v.integer(), v.minValue(0)),
  origin: v.nullable(v.string()),
})

export type TokenClaims = v.InferOutput<typeof claimsSchema>

/** Signs claims. */
export async function signToken(claims: Omit<TokenClaims, 'iss' | 'aud'>, keys: SigningKeys): Promise<string> {
  const head = base64url(utf8(JSON.stringify({ alg: 'EdDSA', typ: 'JWT', kid: keys.kid })))
  const body = base64url(utf8(JSON.stringify({ iss: issuer, aud: audience, ...claims })))
  const signature = await crypto.subtle.sign('Ed25519', keys.privateKey, utf8(`${head}.${body}`))
  return `${head}.${body}.${base64url(signature)}`
}

export type TokenVerdict =
  | { readonly kind: 'good'; readonly claims: TokenClaims }
  | { readonly kind: 'expired' }
  | { readonly kind: 'bad' }

const bad: TokenVerdict = { kind: 'bad' }

/** Judges a token. @param now unix milliseconds. */
export async function verifyToken(token: string, keys: SigningKeys, now: number): Promise<TokenVerdict> {
  const parts = token.length > 4096 ? [] : token.split('.')
  const [head, body, signature] = parts.map(fromBase64url)
  if (parts.length !== 3 || head === undefined || body === undefined || signature === undefined) return bad
  const key = keyOf(jsonOf(head), keys)
  if (key === undefined || signature.length !== 64) return bad
  if (!(await crypto.subtle.verify('Ed25519', key, signature, utf8(`${parts[0]}.${parts[1]}`)))) return bad
  const result = v.safeParse(claimsSchema, jsonOf(body))
  if (!result.success) return bad
  const { iat, exp } = result.output
  const seconds = now / 1000
  if (exp <= iat || exp - iat > maxLifeSeconds || iat > seconds + skewSeconds) return bad
  return seconds > exp + skewSeconds ? { kind: 'expired' } : { kind: 'good', claims: result.output }
}

const headerSchema = v.strictObject({ alg: v.literal('EdDSA'), typ: v.literal('JWT'), kid: v.string() })

function keyOf(header: unknown, keys: SigningKeys): CryptoKey | undefined {
  const result = v.safeParse(headerSchema, header)
  return result.success ? keys.publicKeys.get(result.output.kid) : undefined
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    return undefined
  }
}
