/**
 * Who signs the weights of a build: the operator's key where one is configured, else one made up for this build.
 *
 * ZOETROPE_MANIFEST_KEY is an Ed25519 private key (PKCS #8, base64, as `openssl genpkey -algorithm ed25519 -outform DER |
 * base64 -w0` prints it), ZOETROPE_MANIFEST_VERSION a number that rises with each release. The public half is pinned in
 * the page. A made-up key still binds page and weights: what was swapped after the build is refused.
 */

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { GenerationError } from '../../shared/errors.ts'
import type { SignatureKey } from '../../shared/signature.ts'

export interface ManifestSigner {
  readonly privateKey: SignatureKey
  /** 32 bytes as base64url. */
  readonly publicKey: string
  readonly version: number
}

/** @throws GenerationError invalid_parameter for a key or a version that is none. */
export async function manifestSigner(
  environment: Readonly<Record<string, string | undefined>>,
): Promise<ManifestSigner> {
  const { ZOETROPE_MANIFEST_KEY: text, ZOETROPE_MANIFEST_VERSION: version = '0' } = environment
  if (!/^\d{1,12}$/.test(version)) {
    throw new GenerationError(
      'invalid_parameter',
      `ZOETROPE_MANIFEST_VERSION: got ${version}, allowed is a whole number`,
    )
  }
  const key = text === undefined ? generateKeyPairSync('ed25519').privateKey : keyIn(text)
  const pkcs8 = Uint8Array.from(key.export({ type: 'pkcs8', format: 'der' }))
  return {
    privateKey: await crypto.subtle.importKey('pkcs8', pkcs8, 'Ed25519', false, ['sign']),
    publicKey: createPublicKey(key).export({ format: 'jwk' }).x as string,
    version: Number(version),
  }
}

function keyIn(text: string): KeyObject {
  try {
    const key = createPrivateKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'pkcs8' })
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Said below, without the text: it may be most of a secret.
  }
  throw new GenerationError(
    'invalid_parameter',
    'ZOETROPE_MANIFEST_KEY: got something else, allowed is an Ed25519 private key as PKCS #8 in base64',
  )
}
