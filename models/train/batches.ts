/**
 * Batches of pixels for the autoencoder, straight from the sticker world.
 *
 * Every sample has a seed of its own, so a run that resumes at step n sees what it would have seen. Held-out triples
 * never appear. Knows no network.
 */

import { randomStream } from '../../shared/random.ts'
import { renderClip } from '../world/renderer.ts'
import { sampleAttributes } from '../world/vocabulary.ts'

export interface FrameBatch {
  /** [batch, frames, side, side, 3] in −1…1. */
  readonly frames: Float32Array
  /** [batch, frames, side, side, 1]: puppets count four times as much as scenery. */
  readonly weight: Float32Array
}

/** Short windows of clips; sample n of the run is `first + n`. */
export function frameBatch(first: number, batch: number, frames: number, side: number): FrameBatch {
  const area = frames * side * side
  const pixels = new Float32Array(batch * area * 3)
  const weight = new Float32Array(batch * area)
  for (let index = 0; index < batch; index++) {
    const seed = (first + index) >>> 0
    const start = randomStream(seed, 5).integer(13)
    const clip = renderClip(sampleAttributes(seed, 'seen'), seed, { frames, height: side, width: side, start })
    const { masks } = clip.truth()
    for (let n = 0; n < area * 3; n++) pixels[index * area * 3 + n] = (clip.pixels[n] as number) / 127.5 - 1
    for (let n = 0; n < area; n++) weight[index * area + n] = 0.7 + 2.8 * (masks[n] as number)
  }
  return { frames: pixels, weight }
}

/** Whole clips, pixels only; sample n of the set is `first + n`. */
export function clipBatch(first: number, batch: number, frames: number, side: number): FrameBatch {
  const size = frames * side * side * 3
  const pixels = new Float32Array(batch * size)
  for (let index = 0; index < batch; index++) {
    const seed = (first + index) >>> 0
    const clip = renderClip(sampleAttributes(seed, 'seen'), seed, { frames, height: side, width: side })
    for (let n = 0; n < size; n++) pixels[index * size + n] = (clip.pixels[n] as number) / 127.5 - 1
  }
  return { frames: pixels, weight: new Float32Array(0) }
}
