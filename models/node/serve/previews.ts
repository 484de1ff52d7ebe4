/**
 * A look at a run while it lasts: the middle frame of the newest estimate as a small JPEG, which every phone shows.
 *
 * At most two a second, one at a time, and never waited for: a run must not be slower for being watched.
 */

import sharp from 'sharp'
import type { EffectiveRequest } from '../../../shared/generation.ts'
import type { Preview } from '../../pipeline/preview.ts'
import type { Clock } from './clock.ts'

/** The newest look at a prediction; the wire's names. */
export interface PreviewPicture {
  readonly content_type: 'image/jpeg'
  readonly data_base64: string
  readonly frame_index: number
  readonly step: number
}

const pace = 500
/** As base64; larger ones are not shown. */
const limit = 65_536

/** A watcher of estimates [1, C, F, h, w], for models that can show them. @param show gets each picture. */
export function previewer(
  { request, preview, clock }: { readonly request: EffectiveRequest; readonly preview: Preview; readonly clock: Clock },
  show: (picture: PreviewPicture) => void,
): (estimate: Float32Array, step: number) => void {
  const { num_frames: frames, height, width } = request
  let [busy, shownAt] = [false, Number.NEGATIVE_INFINITY]
  return (estimate, step) => {
    if (busy || clock.now() - shownAt < pace) return
    ;[busy, shownAt] = [true, clock.now()]
    const { pixels } = preview(estimate, { frames, height, width })
    const index = Math.floor(frames / 2)
    const area = height * width * 3
    sharp(pixels.subarray(index * area, (index + 1) * area), { raw: { width, height, channels: 3 } })
      .jpeg({ quality: 75 })
      .toBuffer()
      .then((bytes) => {
        const data = bytes.toString('base64')
        if (data.length > limit) return
        show({ content_type: 'image/jpeg', data_base64: data, frame_index: index, step })
      })
      // A look that cannot be had is no failure of the run.
      .catch(() => {})
      .finally(() => {
        busy = false
      })
  }
}
