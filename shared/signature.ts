/**
 * Signatures over JSON: Ed25519 over the key-sorted text without `sig`, written as unpadded base64url.
 *
 * Holds no keys and knows no document. Source: RFC 8032; keys in raw form as RFC 8410 has them inside.
 */

/** A WebCrypto key, by whatever name the engine's types know it. */
export type SignatureKey = Parameters<typeof crypto.subtle.sign>[1]

/** The bytes that are signed: JSON with sorted keys at every level, without `sig`. */
export function signedBytes({ sig: _, ...document }: { readonly sig?: unknown }): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(new TextEncoder().encode(JSON.stringify(sorted(document))))
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1))
  return Object.fromEntries(entries.map(([key, each]) => [key, sorted(each)]))
}

/** The signature of a document. @param key an Ed25519 private key. */
export async function signatureOf(document: { readonly sig?: unknown }, key: SignatureKey): Promise<string> {
  return base64url(new Uint8Array(await crypto.subtle.sign('Ed25519', key, signedBytes(document))))
}

/** Whether a document's `sig` is that of the key, exactly as it would be written. */
export async function isSigned(document: { readonly sig?: string | undefined }, key: SignatureKey): Promise<boolean> {
  if (!/^[A-Za-z0-9_-]{86}$/.test(document.sig ?? '')) return false
  const signature = fromBase64url(document.sig as string)
  // Ignored base64 bits would make many texts of one signature.
  if (base64url(signature) !== document.sig) return false
  return crypto.subtle.verify('Ed25519', key, signature, signedBytes(document))
}

/** A public key from its 32 bytes as unpadded base64url. */
export const publicKeyOf = (text: string): Promise<SignatureKey> =>
  crypto.subtle.importKey('raw', fromBase64url(text), 'Ed25519', true, ['verify'])

export const base64url = (bytes: Uint8Array): string =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '')

const fromBase64url = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0))
