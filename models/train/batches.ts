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

/**
 * Short windows of clips, cut to squares of `side` around the puppet (mostly) or anywhere; sample n of the run is
 * `first + n`. A convolutional network learns as much from a small square as from a frame, and the puppet is the hard
 * part. `side` = `worldSide` gives whole frames.
 */
export function frameBatch(first: number, batch: number, frames: number, side: number): FrameBatch {
  const area = frames * side * side
  const pixels = new Float32Array(batch * area * 3)
  const weight = new Float32Array(batch * area)
  for (let index = 0; index < batch; index++) {
    const seed = (first + index) >>> 0
    const random = randomStream(seed, 5)
    const clip = renderClip(sampleAttributes(seed, 'seen'), seed, { frames, start: random.integer(13) })
    const { masks, tracks } = clip.truth()
    const centre = random.chance(0.85) ? tracks[Math.floor(frames / 2)] : undefined
    const corner = (along: number | undefined) => {
      const jittered = along === undefined ? random.between(0, worldSide) : along + random.between(-6, 6)
      return Math.round(Math.min(worldSide - side, Math.max(0, jittered - side / 2)))
    }
    const [left, top] = [corner(centre?.x), corner(centre?.y)]
    for (let n = 0; n < area; n++) {
      const [frame, row, column] = [Math.floor(n / (side * side)), Math.floor(n / side) % side, n % side]
      const source = (frame * worldSide + top + row) * worldSide + left + column
      const target = index * area + n
      weight[target] = 0.7 + 2.8 * (masks[source] as number)
      for (let channel = 0; channel < 3; channel++) {
        pixels[target * 3 + channel] = (clip.pixels[source * 3 + channel] as number) / 127.5 - 1
      }
    }
  }
  return { frames: pixels, weight }
}

const worldSide = 64

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
