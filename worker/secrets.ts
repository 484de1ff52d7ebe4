/**
 * Keys, all derived from one secret: who knows one of them learns nothing about another.
 *
 * SIGNING_SECRET signs; SIGNING_SECRET_PREVIOUS still verifies, so a rotation breaks nothing. A development start
 * without secrets keeps one in the Directory. Source: RFC 5869 (HKDF), RFC 5116 (AES-GCM), RFC 8410 (Ed25519 keys in PKCS #8).
 */

import { base64url, fromBase64, fromBase64url, hex, hmac, hmacKey, utf8 } from './bytes.ts'

export interface Secrets {
  /** For API keys' fingerprints; of the newest secret and of the one before. */
  readonly peppers: readonly CryptoKey[]
  /** For signed URLs; the first signs. */
  readonly urls: readonly CryptoKey[]
  /** For the address of provider hooks. */
  readonly hooks: readonly CryptoKey[]
  readonly cursors: readonly CryptoKey[]
  readonly tokens: SigningKeys
  readonly envelopes: SigningKeys
  /** The secret under which webhooks to a bare URL are signed, one per tenant. */
  readonly webhookSecret: (tenant: string) => Promise<Uint8Array<ArrayBuffer>>
  /** A secret as it may be stored: no store and no copy of one gives it away. */
  readonly seal: (text: string) => Promise<string>
  /** What was sealed; undefined where it was sealed under a secret that is no longer configured. */
  readonly unseal: (sealed: string) => Promise<string | undefined>
}

/** Ed25519: one key signs, all of them verify, each under its own name. */
export interface SigningKeys {
  readonly kid: string
  readonly privateKey: CryptoKey
  readonly publicKeys: ReadonlyMap<string, CryptoKey>
}

/** Derives every key. @param roots the newest secret first. */
export async function deriveSecrets(roots: readonly string[]): Promise<Secrets> {
  const each = <Value>(label: string, make: (raw: Uint8Array<ArrayBuffer>) => Promise<Value>): Promise<Value[]> =>
    Promise.all(roots.map(async (root) => make(await derive(root, label))))
  const [newest] = roots
  if (newest === undefined) throw new Error('secrets: got none, allowed is at least one')
  const master = await hmacKey(await derive(newest, 'webhooks'))
  const sealing = await each('sealed', (raw) =>
    crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt']),
  )
  return {
    peppers: await each('api-keys', hmacKey),
    urls: await each('urls', hmacKey),
    hooks: await each('hooks', hmacKey),
    cursors: await each('cursors', hmacKey),
    tokens: signingKeys(await each('tokens', keyPair)),
    envelopes: signingKeys(await each('envelopes', keyPair)),
    webhookSecret: (tenant) => hmac(master, utf8(tenant)),
    seal: (text) => seal(sealing[0] as CryptoKey, text),
    unseal: (sealed) => unseal(sealing, sealed),
  }
}

async function derive(root: string, label: string): Promise<Uint8Array<ArrayBuffer>> {
  const raw = fromBase64(root) ?? utf8(root)
  if (raw.length < 32) throw new Error(`SIGNING_SECRET: got ${raw.length} bytes, allowed are 32 or more`)
  const key = await crypto.subtle.importKey('raw', raw, 'HKDF', false, ['deriveBits'])
  const parameters = { name: 'HKDF', hash: 'SHA-256', salt: utf8('zoetrope'), info: utf8(label) }
  return new Uint8Array(await crypto.subtle.deriveBits(parameters, key, 256))
}

const nonceBytes = 12

async function seal(key: CryptoKey, text: string): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(nonceBytes))
  const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, utf8(text))
  return base64url(Uint8Array.from([...iv, ...new Uint8Array(sealed)]))
}

async function unseal(keys: readonly CryptoKey[], text: string): Promise<string | undefined> {
  const bytes = fromBase64url(text)
  if (bytes === undefined) return undefined
  for (const key of keys) {
    const parameters = { name: 'AES-GCM', iv: bytes.slice(0, nonceBytes) }
    const opened = await crypto.subtle.decrypt(parameters, key, bytes.slice(nonceBytes)).catch(() => undefined)
    if (opened !== undefined) return new TextDecoder().decode(opened)
  }
  return undefined
}

interface KeyPair {
  readonly kid: string
  readonly privateKey: CryptoKey
  readonly publicKey: CryptoKey
}

// PrivateKeyInfo of an Ed25519 key: version, algorithm and the seed's own octet string follow as 32 bytes.
const pkcs8Prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]

async function keyPair(seed: Uint8Array<ArrayBuffer>): Promise<KeyPair> {
  const encoded = Uint8Array.from([...pkcs8Prefix, ...seed])
  const privateKey = await crypto.subtle.importKey('pkcs8', encoded, 'Ed25519', true, ['sign'])
  const { x } = (await crypto.subtle.exportKey('jwk', privateKey)) as JsonWebKey
  const publicJwk = { kty: 'OKP', crv: 'Ed25519', x: x as string }
  const publicKey = await crypto.subtle.importKey('jwk', publicJwk, 'Ed25519', false, ['verify'])
  const digest = await crypto.subtle.digest('SHA-256', utf8(x as string))
  return { kid: hex(digest).slice(0, 16), privateKey, publicKey }
}

function signingKeys(pairs: readonly KeyPair[]): SigningKeys {
  const [{ kid, privateKey }] = pairs as [KeyPair]
  return { kid, privateKey, publicKeys: new Map(pairs.map((pair) => [pair.kid, pair.publicKey])) }
}
