/**
 * A clip that begins with a picture: the picture brought to the clip's size and the first latent frame held to it.
 *
 * The first latent frame stands for one frame alone, so a picture is all of it. It is given clean, at time zero, in every
 * row, as in training (train/denoising.ts); what a row makes of it is put back. A clip goes on from its last frame the
 * same way. Knows no backend.
 *
 *   C channels · F latent frames · h, w latent sides
 */

import type { LatentShape } from '../../shared/video.ts'
import { resized } from './resize.ts'

/** Pixels [height, width, 3], 0…255. */
export interface Picture {
  readonly width: number
  readonly height: number
  readonly pixels: Uint8Array
}

/** A picture at another size: its middle in the new proportions, then brought to it. */
export function pictureAt(picture: Picture, height: number, width: number): Uint8Array {
  const scale = Math.min(picture.width / width, picture.height / height)
  const side = (wanted: number) => Math.max(1, Math.round(scale * wanted))
  const [down, across] = [side(height), side(width)]
  return resized(cropped(picture, down, across), [down, across], [height, width])
}

function cropped({ width: wide, height: tall, pixels }: Picture, height: number, width: number): Uint8Array {
  const [top, left] = [Math.floor((tall - height) / 2), Math.floor((wide - width) / 2)]
  const out = new Uint8Array(height * width * 3)
  for (let row = 0; row < height; row++) {
    const from = ((top + row) * wide + left) * 3
    out.set(pixels.subarray(from, from + width * 3), row * width * 3)
  }
  return out
}

/** Latents [1, C, F, h, w] with the given planes [C, h, w] as their first frame. */
export function withFirst(
  latents: Float32Array,
  given: Float32Array,
  { channels, frames, height, width }: LatentShape,
): Float32Array {
  const [out, area] = [latents.slice(), height * width]
  for (let channel = 0; channel < channels; channel++)
    out.set(given.subarray(channel * area, (channel + 1) * area), channel * frames * area)
  return out
}
