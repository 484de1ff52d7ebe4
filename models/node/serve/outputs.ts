/**
 * What a prediction gives back: a video in the asked format, its frames, or its latents.
 */

import sharp from 'sharp'
import { GenerationError } from '../../../shared/errors.ts'
import type { EffectiveRequest } from '../../../shared/generation.ts'
import { encodeVideo, type PixelVideo } from '../video-file.ts'
import { storedZip } from './zip.ts'

export type OutputFormat = EffectiveRequest['output_format']

/** Formats made here, and what they are on the wire. */
export const contentTypes = {
  mp4: 'video/mp4',
  gif: 'image/gif',
  webp: 'image/webp',
  png: 'image/png',
  frames: 'application/zip',
  latents: 'application/octet-stream',
} as const satisfies Partial<Record<OutputFormat, string>>

export type MadeFormat = keyof typeof contentTypes
/** Formats that hold frames. */
export type FrameFormat = Exclude<MadeFormat, 'latents'>

/** @throws GenerationError format_unavailable listing what there is. */
export function requireFormat(format: OutputFormat): asserts format is MadeFormat {
  if (Object.hasOwn(contentTypes, format)) return
  const available = Object.keys(contentTypes).join(', ')
  throw new GenerationError('format_unavailable', `output_format: got ${format}, available are ${available}`, {
    pointer: '/output_format',
  })
}

/** Frames in a file of the format. */
export function encodeFrames(video: PixelVideo, format: FrameFormat): Promise<Uint8Array> {
  return format === 'frames' ? zipOfFrames(video) : encodeVideo(video, `.${format}`)
}

/** `frame_00000.png`, … */
async function zipOfFrames({ frames, height, width, pixels }: PixelVideo): Promise<Uint8Array> {
  const area = height * width * 3
  const pictures = Array.from({ length: frames }, (_, index) =>
    sharp(pixels.subarray(index * area, (index + 1) * area), { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer(),
  )
  const files = await Promise.all(pictures)
  return storedZip(files.map((bytes, index) => ({ name: `frame_${String(index).padStart(5, '0')}.png`, bytes })))
}
