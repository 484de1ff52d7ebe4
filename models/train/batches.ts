/**
 * Pixels of the sticker world for training: films rendered once, and windows cut from them.
 *
 * Every film has a seed of its own and every batch is a function of its step, so a run that resumes sees what it would
 * have seen. Held-out triples never appear. Knows no network and no file.
 */

import { type RandomStream, randomStream } from '../../shared/random.ts'
import { spatialStride, temporalStride } from '../networks/autoencoder.ts'
import { renderClip } from '../world/renderer.ts'
import { sampleAttributes } from '../world/vocabulary.ts'

/** Whole clips as bytes: [count, frames, side, side, 3 colours and, where asked for, the puppet's coverage]. */
export interface Films {
  readonly count: number
  readonly frames: number
  readonly side: number
  readonly channels: 3 | 4
  readonly bytes: Uint8Array
}

/** Renders films; number n of the set has the seed `first + n`. */
export function renderFilms(first: number, count: number, frames: number, side: number, channels: 3 | 4): Films {
  const size = frames * side * side
  const bytes = new Uint8Array(count * size * channels)
  for (let index = 0; index < count; index++) {
    const seed = (first + index) >>> 0
    const clip = renderClip(sampleAttributes(seed, 'seen'), seed, { frames, height: side, width: side })
    const masks = channels === 4 ? clip.truth().masks : undefined
    for (let n = 0; n < size; n++) {
      const target = (index * size + n) * channels
      for (let colour = 0; colour < 3; colour++) bytes[target + colour] = clip.pixels[n * 3 + colour] as number
      if (masks !== undefined) bytes[target + 3] = Math.round(255 * (masks[n] as number))
    }
  }
  return { count, frames, side, channels, bytes }
}

/** 0…255 to −1…1, colours only: [count, frames, side, side, 3]. */
export function unitPixels({ bytes, channels }: Films): Float32Array {
  const out = new Float32Array((bytes.length / channels) * 3)
  for (let n = 0; n < out.length / 3; n++)
    for (let colour = 0; colour < 3; colour++)
      out[n * 3 + colour] = (bytes[n * channels + colour] as number) / 127.5 - 1
  return out
}

/** How much of each cell of the latents the puppet covers, 0…255: [count, (frames + 3) / 4, side / 8, side / 8]. */
export function cellCoverage({ count, frames, side, channels, bytes }: Films): Uint8Array {
  const [groups, grid] = [(frames - 1) / temporalStride + 1, side / spatialStride]
  const sums = new Float64Array(count * groups * grid * grid)
  for (let n = 0; n < count * frames * side * side; n++) {
    const [row, column] = [Math.floor(n / side) % side, n % side]
    const [clip, frame] = [Math.floor(n / side / side / frames), Math.floor(n / side / side) % frames]
    const group = Math.ceil(frame / temporalStride)
    const cell = ((clip * groups + group) * grid + Math.floor(row / spatialStride)) * grid
    const at = cell + Math.floor(column / spatialStride)
    // The first frame is a group of its own.
    sums[at] = (sums[at] as number) + (bytes[n * channels + 3] as number) * (frame === 0 ? temporalStride : 1)
  }
  return Uint8Array.from(sums, (sum) => Math.round(sum / (temporalStride * spatialStride ** 2)))
}

export interface WindowBatch {
  /** [batch, frames, side, side, 3] in −1…1. */
  readonly frames: Float32Array
  /** [batch, frames, side, side, 1]: puppets count five times as much as scenery; mean about one. */
  readonly weight: Float32Array
  readonly places: readonly WindowPlace[]
}

/** Where a window lies: its film, its first frame, its upper left pixel. */
export interface WindowPlace {
  readonly film: number
  readonly frame: number
  readonly left: number
  readonly top: number
}

export interface WindowOptions {
  readonly films: Films
  readonly seed: number
  readonly step: number
  readonly batch: number
  readonly frames: number
  /** Side of the squares; that of the films gives whole frames. */
  readonly side: number
  /** Lays windows on the cells of the latents: from the first frame on, at multiples of the stride. */
  readonly onCells?: boolean
}

/**
 * Short windows of films, cut to squares around the puppet (mostly) or anywhere. A convolutional network learns as much
 * from a small square as from a frame, and the puppet is the hard part.
 */
export function windowBatch(options: WindowOptions): WindowBatch {
  const { films, seed, step, batch, frames, side } = options
  const random = randomStream(seed, 0x40000 + step)
  const out = new Float32Array(batch * frames * side * side * 3)
  const weight = new Float32Array(batch * frames * side * side)
  const places = Array.from({ length: batch }, () => placeOf(options, random))
  for (const [index, { film, frame: first, left, top }] of places.entries()) {
    for (let n = 0; n < frames * side * side; n++) {
      const [frame, row, column] = [Math.floor(n / (side * side)), Math.floor(n / side) % side, n % side]
      const line = (film * films.frames + first + frame) * films.side + top + row
      const source = (line * films.side + left + column) * films.channels
      const target = index * frames * side * side + n
      weight[target] = 0.7 + (2.8 * (films.bytes[source + 3] as number)) / 255
      for (let colour = 0; colour < 3; colour++)
        out[target * 3 + colour] = (films.bytes[source + colour] as number) / 127.5 - 1
    }
  }
  return { frames: out, weight, places }
}

function placeOf({ films, frames, side, onCells = false }: WindowOptions, random: RandomStream): WindowPlace {
  const film = random.integer(films.count)
  const frame = onCells ? 0 : random.integer(films.frames - frames + 1)
  const middle = film * films.frames + frame + (frames >> 1)
  const centre = random.chance(0.85) ? puppetCentre(films, middle) : undefined
  const corner = (along: number | undefined) => {
    const wanted = along === undefined ? random.between(0, films.side) : along + random.between(-6, 6)
    const free = Math.min(films.side - side, Math.max(0, wanted - side / 2))
    return onCells ? Math.round(free / spatialStride) * spatialStride : Math.round(free)
  }
  return { film, frame, left: corner(centre?.x), top: corner(centre?.y) }
}

/** Changes pixels [n, 3] in −1…1 in place. */
export type Recolouring = (pixels: Float32Array) => void

/** Colours of no scene and no puppet: channels exchanged, turned over, paler, moved; shapes stay. */
export function recolouring(random: RandomStream): Recolouring {
  const [turn, mirrored] = [random.integer(3), random.chance(0.5)]
  const channels = [0, 1, 2].map((colour) => {
    const gain = random.between(0.3, 1) * (random.chance(0.5) ? 1 : -1)
    return { from: (turn + (mirrored ? 3 - colour : colour)) % 3, gain, offset: random.between(-0.6, 0.6) }
  })
  return (pixels) => {
    for (let at = 0; at < pixels.length; at += 3) {
      const old = pixels.slice(at, at + 3)
      for (const [colour, { from, gain, offset }] of channels.entries())
        pixels[at + colour] = Math.min(1, Math.max(-1, gain * (old[from] as number) + offset))
    }
  }
}

/** Where the puppet is in a frame (counted over all films), or undefined where it is not to be seen. */
function puppetCentre({ side, channels, bytes }: Films, frame: number): { x: number; y: number } | undefined {
  let [x, y, count] = [0, 0, 0]
  for (let row = 0; row < side; row += 2) {
    for (let column = 0; column < side; column += 2) {
      if ((bytes[((frame * side + row) * side + column) * channels + 3] as number) < 128) continue
      x += column
      y += row
      count++
    }
  }
  return count === 0 ? undefined : { x: x / count, y: y / count }
}
