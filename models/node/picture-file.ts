/**
 * A picture that a clip begins with, from a file: PNG, JPEG, WebP or whatever else sharp reads.
 *
 * Knows no model; bringing it to a clip's size is the pipeline's (pipeline/first-frame.ts).
 */

import sharp from 'sharp'
import { GenerationError } from '../../shared/errors.ts'
import type { Picture } from '../pipeline/first-frame.ts'

/** The pixels, upright; what is transparent becomes white. @throws GenerationError invalid_parameter for what is no picture. */
export async function readPictureFile(path: string): Promise<Picture> {
  try {
    const { data, info } = await sharp(path)
      .rotate()
      .toColourspace('srgb')
      .flatten({ background: 'white' })
      .raw()
      .toBuffer({ resolveWithObject: true })
    return { width: info.width, height: info.height, pixels: rgbOf(data, info.channels) }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
    throw new GenerationError(
      'invalid_parameter',
      `--first-frame: got ${path}, which is no picture that can be read (${reason}); name a PNG, JPEG or WebP file`,
      { cause },
    )
  }
}

/** Grey pictures have one channel. */
const rgbOf = (data: Uint8Array, channels: number): Uint8Array =>
  channels === 3
    ? Uint8Array.from(data)
    : Uint8Array.from(
        { length: (3 * data.length) / channels },
        (_, at) => data[channels * Math.floor(at / 3)] as number,
      )
