/**
 * A clip's poster: its middle frame as PNG, which is what a page shows before the clip plays.
 */

import { type Clip, rgbaOf } from './frames.ts'

/** @throws Error where there is no canvas outside a page. */
export async function posterOf(clip: Clip): Promise<Blob> {
  return pictureOf(clip, Math.floor(clip.frames / 2), { type: 'image/png' })
}

/** One frame as a picture of a type that this browser writes; it writes PNG in place of one that it does not. */
export async function pictureOf(clip: Clip, frame: number, options: ImageEncodeOptions): Promise<Blob> {
  const canvas = new OffscreenCanvas(clip.width, clip.height)
  const context = canvas.getContext('2d')
  if (context === null) throw new Error('this browser draws nothing outside the page')
  context.putImageData(rgbaOf(clip, frame), 0, 0)
  return canvas.convertToBlob(options)
}
