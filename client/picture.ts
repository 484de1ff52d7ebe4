/**
 * A picture that a clip begins with, from whatever a page can draw: as pixels for the engine, as a file for a service.
 */

import type { Picture } from '../models/pipeline/first-frame.ts'
import { GenerationError } from '../shared/errors.ts'
import { rgbOf } from './frames.ts'
import { pictureOf } from './poster.ts'

/** The pixels; what is transparent becomes white. @throws GenerationError invalid_parameter for what is no picture. */
export async function readPicture(source: ImageBitmapSource): Promise<Picture> {
  const bitmap = await createImageBitmap(source).catch((cause: unknown) => {
    throw new GenerationError(
      'invalid_parameter',
      `firstFrame: got something that this browser cannot draw (${cause instanceof Error ? cause.message : cause}); pass a picture's Blob, ImageData, ImageBitmap or element`,
      { cause },
    )
  })
  const { width, height } = bitmap
  const context = new OffscreenCanvas(width, height).getContext('2d')
  if (context === null) throw new GenerationError('internal', 'firstFrame: this browser draws nothing outside the page')
  context.fillStyle = 'white'
  context.fillRect(0, 0, width, height)
  context.drawImage(bitmap, 0, 0)
  bitmap.close()
  return { width, height, pixels: rgbOf(context.getImageData(0, 0, width, height).data) }
}

/** A picture as PNG. */
export async function pngOf(picture: Picture): Promise<Uint8Array<ArrayBuffer>> {
  const file = await pictureOf({ ...picture, frames: 1, fps: 1 }, 0, { type: 'image/png' })
  return new Uint8Array(await file.arrayBuffer())
}
