/**
 * Frames to an animated WebP: the browser encodes each picture, we put them into one file.
 *
 * A still WebP is a RIFF file with one chunk of image data, which goes into an ANMF chunk as it is. Format: WebP
 * container specification (RFC 9649, section 2.7).
 */

import { GenerationError } from '../shared/errors.ts'
import type { Clip } from './frames.ts'
import { pictureOf } from './poster.ts'

/**
 * The whole file, looping for ever, without loss where the browser can.
 * @throws GenerationError format_unavailable where this browser writes no WebP.
 */
export async function encodeWebp(clip: Clip): Promise<Uint8Array<ArrayBuffer>> {
  const pictures: Uint8Array[] = []
  for (let frame = 0; frame < clip.frames; frame++) {
    const picture = await pictureOf(clip, frame, { type: 'image/webp', quality: 1 })
    if (picture.type !== 'image/webp')
      throw new GenerationError('format_unavailable', 'webp: this browser writes none; ask for gif or mp4')
    pictures.push(new Uint8Array(await picture.arrayBuffer()))
  }
  return animatedWebp(pictures, clip)
}

/** Still WebP files of one size as one animation. */
export function animatedWebp(
  pictures: readonly Uint8Array[],
  { width, height, fps }: Pick<Clip, 'width' | 'height' | 'fps'>,
): Uint8Array<ArrayBuffer> {
  // Ends of frames are rounded, not durations, or the clip would drift.
  const at = (frame: number) => Math.round((1000 * frame) / fps)
  const frames = pictures.map((picture, frame) => {
    const head = [three(0), three(0), three(width - 1), three(height - 1), three(at(frame + 1) - at(frame)), [0b10]]
    return chunk('ANMF', [...head, ...imageChunks(picture)])
  })
  const animated = 0b10
  const canvas = chunk('VP8X', [[animated, 0, 0, 0], three(width - 1), three(height - 1)])
  const loop = chunk('ANIM', [
    [0, 0, 0, 0],
    [0, 0],
  ])
  return chunk('RIFF', [ascii('WEBP'), canvas, loop, ...frames])
}

type Bytes = ArrayLike<number>

const ascii = (text: string): Bytes => Array.from(text, (letter) => letter.charCodeAt(0))
const three = (value: number): Bytes => [value & 255, (value >> 8) & 255, value >> 16]

/** A chunk: its name, its length, its bytes, and one more where the length is odd. */
function chunk(name: string, parts: readonly Bytes[]): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  const bytes = new Uint8Array(8 + length + (length % 2))
  bytes.set(ascii(name))
  new DataView(bytes.buffer).setUint32(4, length, true)
  let offset = 8
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
  }
  return bytes
}

/** The chunks of a still file that hold its picture; colour profiles and the like are left out. */
function imageChunks(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const name = (at: number) => String.fromCharCode(...file.subarray(at, at + 4))
  if (file.length < 20 || name(0) !== 'RIFF' || name(8) !== 'WEBP')
    throw new GenerationError('internal', `webp: got ${file.length} bytes that are no still WebP file`)
  const found: Uint8Array[] = []
  for (let at = 12; at + 8 <= file.length; ) {
    const end = at + 8 + view.getUint32(at + 4, true)
    if (['ALPH', 'VP8 ', 'VP8L'].includes(name(at))) found.push(file.subarray(at, end + ((end - at) % 2)))
    at = end + ((end - at) % 2)
  }
  return found
}
