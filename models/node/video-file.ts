/**
 * Frames to a file: MP4 (H.264), GIF, animated WebP, PNG.
 *
 * H.264 by h264-mp4-encoder (wasm), the others by sharp. Bytes depend on the frames alone. Files appear whole or not at
 * all: they are written beside their place and moved there.
 */

import { access, constants } from 'node:fs/promises'
import { dirname, extname } from 'node:path'
import sharp from 'sharp'
import { GenerationError } from '../../shared/errors.ts'
import { writeAtomically } from './checkpoints.ts'
import { h264 } from './h264.ts'
import { clearTimes } from './mp4-times.ts'

/** A video in memory: pixels [frames, height, width, 3]. */
export interface PixelVideo {
  readonly frames: number
  readonly height: number
  readonly width: number
  readonly fps: number
  readonly pixels: Uint8Array
}

const encoders = { '.mp4': encodeMp4, '.gif': encodeGif, '.webp': encodeWebp, '.png': encodePng } as const
export type VideoExtension = keyof typeof encoders

/**
 * The format that a path asks for.
 * @throws GenerationError invalid_parameter for another ending.
 */
export function extensionOf(path: string): VideoExtension {
  const extension = extname(path).toLowerCase()
  if (Object.hasOwn(encoders, extension)) return extension as VideoExtension
  throw new GenerationError(
    'invalid_parameter',
    `output: got ${path}, allowed endings are ${Object.keys(encoders).join(', ')}`,
  )
}

/** Fails early, before minutes of work, where the folder cannot be written. */
export async function requireWritable(path: string): Promise<void> {
  await access(dirname(path), constants.W_OK).catch((error: NodeJS.ErrnoException) => {
    throw new GenerationError(
      'invalid_parameter',
      `output: ${path} cannot be written (${error.code}); name a folder that exists and is yours`,
      { cause: error },
    )
  })
}

/** Encodes in the format of the ending. */
export const encodeVideo = (video: PixelVideo, extension: VideoExtension): Promise<Uint8Array> =>
  encoders[extension](video)

export async function writeVideo(path: string, bytes: Uint8Array): Promise<void> {
  await writeAtomically(path, bytes).catch((error: NodeJS.ErrnoException) => {
    throw new GenerationError(
      'invalid_parameter',
      `output: ${path} cannot be written (${error.code}); name another file`,
      { cause: error },
    )
  })
}

async function encodeMp4({ frames, height, width, fps, pixels }: PixelVideo): Promise<Uint8Array> {
  const encoder = await h264().createH264MP4Encoder()
  encoder.width = width
  encoder.height = height
  encoder.frameRate = fps
  encoder.quantizationParameter = 14
  encoder.initialize()
  const rgba = new Uint8Array(width * height * 4).fill(255)
  for (let frame = 0; frame < frames; frame++) {
    const base = frame * height * width * 3
    for (let pixel = 0; pixel < width * height; pixel++)
      rgba.set(pixels.subarray(base + pixel * 3, base + pixel * 3 + 3), pixel * 4)
    encoder.addFrameRgba(rgba)
  }
  encoder.finalize()
  const bytes = Uint8Array.from(encoder.FS.readFile(encoder.outputFilename))
  encoder.delete()
  clearTimes(bytes)
  return bytes
}

function animation({ frames, height, width, pixels }: PixelVideo) {
  return sharp(pixels, { raw: { width, height: height * frames, channels: 3, pageHeight: height } })
}

async function encodeGif(video: PixelVideo): Promise<Uint8Array> {
  return animation(video)
    .gif({ delay: delays(video), loop: 0 })
    .toBuffer()
}

async function encodeWebp(video: PixelVideo): Promise<Uint8Array> {
  return animation(video)
    .webp({ delay: delays(video), loop: 0, lossless: true })
    .toBuffer()
}

const delays = ({ frames, fps }: PixelVideo): number[] => new Array<number>(frames).fill(Math.round(1000 / fps))

/** One picture, or the frames of a clip side by side in rows of six. */
async function encodePng({ frames, height, width, pixels }: PixelVideo): Promise<Uint8Array> {
  const columns = Math.min(frames, 6)
  const rows = Math.ceil(frames / columns)
  const sheet = new Uint8Array(columns * width * rows * height * 3).fill(255)
  for (let frame = 0; frame < frames; frame++) {
    const [left, top] = [(frame % columns) * width, Math.floor(frame / columns) * height]
    for (let row = 0; row < height; row++) {
      const from = (frame * height + row) * width * 3
      sheet.set(pixels.subarray(from, from + width * 3), ((top + row) * columns * width + left) * 3)
    }
  }
  return sharp(sheet, { raw: { width: columns * width, height: rows * height, channels: 3 } })
    .png()
    .toBuffer()
}
