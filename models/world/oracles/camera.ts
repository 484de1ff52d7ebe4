/**
 * The camera read from the scenery's motion: each possible move undone, the one that makes the scenery stand still wins.
 *
 * Moves are those of motion.ts at several strengths; pixels that look foreign to the scene (the puppet) do not count.
 */

import { view } from '../motion.ts'
import { type Camera, cameras } from '../vocabulary.ts'
import type { Picture } from './picture.ts'

const strengths = [0.6, 1, 1.4] as const
/** Frames between the two that are compared. */
const gaps = [8, 4]
/** Error of a pixel is held below this, so that what the puppet uncovers does not decide. */
const bound = 60

export interface CameraReading {
  readonly value: Camera
  readonly confidence: number
}

/** `pictures` carry the scenery's error in the fourth channel, at half resolution; `weights` 1 where scenery shows. */
export function readCamera(pictures: readonly Picture[], weights: readonly Float32Array[], fps: number): CameraReading {
  const last = pictures.length - 1
  const pairs = gaps
    .filter((gap) => gap <= last)
    .flatMap((gap) =>
      [0, 1, 2, 3].map((n) => Math.round((n * (last - gap)) / 3)).map((from) => [from, from + gap] as const),
    )
  if (pairs.length === 0) return { value: 'still', confidence: 0 }
  const errors = cameras.map((camera) => {
    const trials = (camera === 'still' ? [1] : strengths).map((strength) => {
      const total = pairs.reduce(
        (sum, [from, to]) =>
          sum +
          moveError(
            camera,
            strength,
            pictures[from] as Picture,
            pictures[to] as Picture,
            weights[from] as Float32Array,
            weights[to] as Float32Array,
            from / fps,
            to / fps,
          ),
        0,
      )
      return total / pairs.length
    })
    return Math.min(...trials)
  })
  const order = [...cameras.keys()].sort((a, b) => (errors[a] as number) - (errors[b] as number))
  const [best, next] = [errors[order[0] as number] as number, errors[order[1] as number] as number]
  return { value: cameras[order[0] as number] as Camera, confidence: 1 - best / Math.max(1e-6, next) }
}

function moveError(
  camera: Camera,
  strength: number,
  from: Picture,
  to: Picture,
  fromWeights: Float32Array,
  toWeights: Float32Array,
  before: number,
  after: number,
): number {
  const { width, height } = from
  const [was, is] = [view(camera, before), view(camera, after)]
  const zoom = (is.zoom / was.zoom) ** strength
  const shift = (is.x - was.x) * strength * Math.min(width, height)
  let [total, count] = [0, 0]
  for (let row = 1; row < height - 1; row++) {
    const y = (row + 0.5 - height / 2) / zoom + height / 2 - 0.5
    if (y < 0 || y >= height - 1) continue
    const top = Math.floor(y)
    const down = y - top
    for (let column = 1; column < width - 1; column++) {
      const x = (column + 0.5 - width / 2) / zoom + shift + width / 2 - 0.5
      if (x < 0 || x >= width - 1) continue
      const left = Math.floor(x)
      const corner = top * width + left
      const weight = (toWeights[row * width + column] as number) * (fromWeights[corner] as number)
      if (weight === 0) continue
      const across = x - left
      const [at, a, b] = [(row * width + column) * 4, corner * 4, (corner + width) * 4]
      let error = 0
      for (let c = 0; c < 3; c++) {
        const upper = (from.data[a + c] as number) * (1 - across) + (from.data[a + 4 + c] as number) * across
        const lower = (from.data[b + c] as number) * (1 - across) + (from.data[b + 4 + c] as number) * across
        error += Math.abs((to.data[at + c] as number) - upper * (1 - down) - lower * down)
      }
      total += Math.min(bound, error)
      count++
    }
  }
  return count === 0 ? bound : total / count
}
