/**
 * Scenes read by their colours, and how little a pixel looks like scenery.
 *
 * Every scene paints with a few colours and their blends. Painting each a few times gives a table from colour to the
 * squared distance of the nearest colour that scene shows (two tables: sky half and ground half). The scene whose
 * tables leave the least distance is read; what distance is left is where the puppet is.
 */

import { randomStream } from '../../../shared/random.ts'
import { paintScene, sceneMargin } from '../scenes.ts'
import { type Scene, scenes } from '../vocabulary.ts'
import type { Picture } from './picture.ts'

/** Squared distance beyond which a colour is simply foreign. */
export const foreign = 3000

/** What a colour's rarity counts for each factor e: a star's white is scenery, a large white thing is not. */
const rarity = 150
/** The share of a scene from which a colour counts as plain scenery. */
const commonest = 0.2

const bits = 5
const levels = 1 << bits
const shift = 8 - bits

/** Squared distance to the nearest colour of the scene, by colour cell: above and below the middle. */
interface Tables {
  readonly above: Float32Array
  readonly below: Float32Array
}

let tables: Readonly<Record<Scene, Tables>> | undefined

/** Made at the first call, in a fraction of a second. */
function sceneTables(): Readonly<Record<Scene, Tables>> {
  tables ??= Object.fromEntries(scenes.map((scene) => [scene, paintTables(scene)])) as Record<Scene, Tables>
  return tables
}

/** Mean foreignness of a few frames to each scene, lowest first. */
export function rankScenes(pictures: readonly Picture[]): readonly { readonly scene: Scene; readonly error: number }[] {
  const all = sceneTables()
  return scenes
    .map((scene) => {
      let [total, count] = [0, 0]
      for (const { width, height, data } of pictures) {
        for (let pixel = 0; pixel < width * height; pixel += 2) {
          total += distanceAt(all[scene], data, pixel, width, height)
          count++
        }
      }
      return { scene, error: total / count }
    })
    .sort((a, b) => a.error - b.error)
}

/** Writes each pixel's foreignness to the scene into the picture's fourth channel. */
export function markForeign(picture: Picture, scene: Scene): void {
  const { width, height, data } = picture
  const own = sceneTables()[scene]
  for (let pixel = 0; pixel < width * height; pixel++) {
    data[pixel * 4 + 3] = distanceAt(own, data, pixel, width, height)
  }
}

function distanceAt(
  { above, below }: Tables,
  data: Float32Array,
  pixel: number,
  width: number,
  height: number,
): number {
  const at = pixel * 4
  const cell = cellOf(data[at] as number, data[at + 1] as number, data[at + 2] as number)
  const y = pixel / width / height
  // The horizon lies between; a zoom moves it a little.
  if (y < 0.4) return above[cell] as number
  if (y > 0.8) return below[cell] as number
  return Math.min(above[cell] as number, below[cell] as number)
}

const cellOf = (r: number, g: number, b: number): number =>
  ((((r >> shift) << bits) | (g >> shift)) << bits) | (b >> shift)

function paintTables(scene: Scene): Tables {
  const [above, below] = [new Float32Array(levels ** 3), new Float32Array(levels ** 3)]
  for (let seed = 0; seed < 8; seed++) count(scene, seed, above, below)
  return { above: distances(above), below: distances(below) }
}

/** Counts colours of one painting into the tables. */
function count(scene: Scene, seed: number, above: Float32Array, below: Float32Array): void {
  const side = 48
  const { width, height, rgb } = paintScene(scene, randomStream(seed, 0x0ac1e), 1, 1, side)
  const start = Math.floor((sceneMargin * side) / 2)
  for (let row = 0; row < height; row++) {
    for (let column = start; column < width - start; column++) {
      const at = (row * width + column) * 3
      const cell = cellOf(rgb[at] as number, rgb[at + 1] as number, rgb[at + 2] as number)
      if (row < height * 0.55) above[cell] = (above[cell] as number) + 1
      if (row >= height * 0.5) below[cell] = (below[cell] as number) + 1
    }
  }
}

/** From counts to the least of squared distance and rarity over the scene's cells. */
function distances(counts: Float32Array): Float32Array {
  const total = counts.reduce((sum, n) => sum + n, 0)
  const used = [...counts.keys()]
    .filter((cell) => (counts[cell] as number) > total * 0.0004)
    .map((cell) => ({
      ...partsOf(cell),
      rare: rarity * Math.max(0, Math.log((commonest * total) / (counts[cell] as number))),
    }))
  return counts.map((_, cell) => {
    const { r, g, b } = partsOf(cell)
    let least = foreign
    for (const each of used) {
      const distance = ((r - each.r) ** 2 + (g - each.g) ** 2 + (b - each.b) ** 2) * (1 << (2 * shift))
      if (distance + each.rare < least) least = distance + each.rare
    }
    return least
  })
}

const partsOf = (cell: number) => ({ r: cell >> (2 * bits), g: (cell >> bits) & (levels - 1), b: cell & (levels - 1) })
