/**
 * What bytes are, told by the bytes: the first few decide, whatever a header claims.
 *
 * Decodes nothing. Sources: ISO/IEC 14496-12 (ftyp), RFC 9559 (EBML), PNG, JPEG, GIF, RIFF, ZIP signatures.
 */

export interface MediaKind {
  readonly contentType: string
  readonly format: 'mp4' | 'webm' | 'gif' | 'webp' | 'png' | 'jpeg' | 'zip' | 'wav' | 'mp3'
}

/** Bytes enough to tell. */
export const sniffLength = 64

interface Signature extends MediaKind {
  readonly offset: number
  readonly bytes: string
}

const signatures: readonly Signature[] = [
  { format: 'mp4', contentType: 'video/mp4', offset: 4, bytes: 'ftyp' },
  { format: 'webm', contentType: 'video/webm', offset: 0, bytes: '\x1aE\xdf\xa3' },
  { format: 'gif', contentType: 'image/gif', offset: 0, bytes: 'GIF89a' },
  { format: 'gif', contentType: 'image/gif', offset: 0, bytes: 'GIF87a' },
  { format: 'webp', contentType: 'image/webp', offset: 8, bytes: 'WEBP' },
  { format: 'png', contentType: 'image/png', offset: 0, bytes: '\x89PNG\r\n\x1a\n' },
  { format: 'jpeg', contentType: 'image/jpeg', offset: 0, bytes: '\xff\xd8\xff' },
  { format: 'zip', contentType: 'application/zip', offset: 0, bytes: 'PK\x03\x04' },
  { format: 'wav', contentType: 'audio/wav', offset: 8, bytes: 'WAVE' },
  { format: 'mp3', contentType: 'audio/mpeg', offset: 0, bytes: 'ID3' },
]

/** The kind of some bytes by their beginning; undefined for anything unknown. */
export function sniff(bytes: Uint8Array): MediaKind | undefined {
  const head = String.fromCharCode(...bytes.subarray(0, sniffLength))
  const found = signatures.find(({ offset, bytes: mark }) => head.startsWith(mark, offset))
  return found === undefined ? undefined : { contentType: found.contentType, format: found.format }
}

/** Width and height of a PNG, without decoding it; undefined where its header is not there. */
export function pngSize(bytes: Uint8Array): { readonly width: number; readonly height: number } | undefined {
  if (sniff(bytes)?.format !== 'png' || bytes.length < 24) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, 24)
  return { width: view.getUint32(16), height: view.getUint32(20) }
}
