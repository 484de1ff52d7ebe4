/**
 * SHA-256 in lower-case hex, by the platform.
 */

export async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** One hash for several files: that of their hashes, in their order. */
export const hashOf = (hashes: readonly string[]): Promise<string> =>
  sha256(new TextEncoder().encode(hashes.join('\n')))
