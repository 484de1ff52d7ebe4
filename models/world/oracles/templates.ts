/**
 * Puppets as templates with the colour left open, and how well one explains a place in a picture.
 *
 * Every paint of a sticker is affine in its main colour, so a template is K + M·colour per pixel and the squared error
 * is closed in the colour: four sums judge all eight at once. A place scores the scenery's error there less the
 * puppet's, a likelihood ratio: what the puppet covers must look unlike the scene and like the puppet. Templates of
 * any size and turn are sampled from one drawing per puppet and pose.
 */

import { canvas, type Transform } from '../draw.ts'
import { colourValues, paintSticker, stickerMask } from '../sticker.ts'
import { type Colour, colours, type Puppet } from '../vocabulary.ts'
import type { Picture } from './picture.ts'
import { foreign } from './scenery.ts'

/** Poses kept apart: a swing far to one side, in the middle, far to the other. */
export const variants = [0, 1, 2] as const
export type Variant = (typeof variants)[number]
const variantPhases = [-0.14, 0.01, 0.14] as const

/** Sizes are powers of a step; number 0 has a radius of one pixel. */
const sizeStep = 1.09
export const sizeOf = (radius: number): number => Math.round(Math.log(radius) / Math.log(sizeStep))
export const radiusOf = (size: number): number => sizeStep ** size

/** Rotations are sixteenths of a turn. */
export const turns = 16

export interface Look {
  readonly puppet: Puppet
  readonly variant: Variant
  readonly mirror: boolean
  /** Index of a size, in full-resolution pixels. */
  readonly size: number
  /** Sixteenths of a turn, clockwise. */
  readonly turn: number
}

export interface Template {
  /** Offsets in pixels, dx and dy in turn. */
  readonly places: Int16Array
  /** The same as offsets in a picture's data. */
  readonly offsets: Int32Array
  readonly reach: { readonly left: number; readonly right: number; readonly top: number; readonly bottom: number }
  /** K red, green, blue and M, in turn. */
  readonly values: Float32Array
  /** Sums over all pixels: K², M·K for each channel, M². */
  readonly constants: readonly [number, number, number, number, number]
}

const cache = new Map<string, Template>()

/** The template of a look for pictures of a width, at full (1) or half (2) resolution. */
export function template(look: Look, width: number, shrink: 1 | 2): Template {
  const { puppet, variant, mirror, size, turn } = look
  const key = `${puppet} ${variant} ${mirror} ${size} ${((turn % turns) + turns) % turns} ${width} ${shrink}`
  const known = cache.get(key)
  if (known !== undefined) return known
  const made = sample(look, width, shrink)
  cache.set(key, made)
  return made
}

const palette = colours.map((colour) => {
  const [r, g, b] = colourValues[colour]
  return { colour, r, g, b, square: r * r + g * g + b * b }
})

/** Sums over a template at a place, from which the squared error in any colour follows. */
const sums = new Float64Array(5)

/**
 * How well a template centred on a pixel explains it in its best colour, in thousands of squared levels; −∞ where less
 * than a third is inside. The picture's fourth channel must hold what `prepare` writes.
 */
export function scoreAt(shape: Template, picture: Picture, x: number, y: number): number {
  if (!sumUp(shape, picture, x, y)) return Number.NEGATIVE_INFINITY
  let least = Number.POSITIVE_INFINITY
  for (const each of palette) least = Math.min(least, errorIn(each))
  return -least / 1000
}

/** The colour in which a template explains a place best. */
export function colourAt(shape: Template, picture: Picture, x: number, y: number): Colour {
  sumUp(shape, picture, x, y)
  return palette.reduce((a, b) => (errorIn(b) < errorIn(a) ? b : a)).colour
}

const errorIn = ({ r, g, b, square }: (typeof palette)[number]): number =>
  (sums[0] as number) -
  2 * (r * (sums[1] as number) + g * (sums[2] as number) + b * (sums[3] as number)) +
  square * (sums[4] as number)

/** Turns the fourth channel from the scenery's error into |rgb|² less it, which is what the sums take. */
export function prepare({ data }: Picture): void {
  for (let at = 0; at < data.length; at += 4) {
    const [r, g, b] = [data[at] as number, data[at + 1] as number, data[at + 2] as number]
    data[at + 3] = r * r + g * g + b * b - (data[at + 3] as number)
  }
}

function sumUp(shape: Template, picture: Picture, x: number, y: number): boolean {
  const { left, right, top, bottom } = shape.reach
  const inside = x >= left && y >= top && x + right < picture.width && y + bottom < picture.height
  if (!inside) return sumAcross(shape, picture, x, y)
  sumInside(shape, picture, x, y)
  return true
}

function sumInside({ offsets, values, constants }: Template, { data, width }: Picture, x: number, y: number): void {
  const base = (y * width + x) * 4
  let [error, r, g, b] = [0, 0, 0, 0]
  for (let index = 0; index < offsets.length; index++) {
    const at = base + (offsets[index] as number)
    const from = index * 4
    const red = data[at] as number
    const green = data[at + 1] as number
    const blue = data[at + 2] as number
    const share = values[from + 3] as number
    error +=
      (data[at + 3] as number) -
      2 * (red * (values[from] as number) + green * (values[from + 1] as number) + blue * (values[from + 2] as number))
    r += share * red
    g += share * green
    b += share * blue
  }
  sums[0] = error + constants[0]
  sums[1] = r - constants[1]
  sums[2] = g - constants[2]
  sums[3] = b - constants[3]
  sums[4] = constants[4]
}

/** The same for the part inside the picture; false where that is less than a third. */
function sumAcross({ places, values }: Template, { data, width, height }: Picture, x: number, y: number): boolean {
  let count = 0
  sums.fill(0)
  for (let index = 0; index * 2 < places.length; index++) {
    const column = x + (places[index * 2] as number)
    const row = y + (places[index * 2 + 1] as number)
    if (column < 0 || row < 0 || column >= width || row >= height) continue
    const at = (row * width + column) * 4
    const from = index * 4
    const share = values[from + 3] as number
    let error = data[at + 3] as number
    for (let c = 0; c < 3; c++) {
      const [seen, fixed] = [data[at + c] as number, values[from + c] as number]
      error += fixed * (fixed - 2 * seen)
      sums[c + 1] = (sums[c + 1] as number) + share * (seen - fixed)
    }
    sums[0] = (sums[0] as number) + error
    sums[4] = (sums[4] as number) + share * share
    count++
  }
  return count * 6 >= places.length
}

/** How much of the puppet's own error counts: a decoder's softness is not held against it. */
const leniency = 0.4

/**
 * The same score with each pixel's error held below a bound, so that a joint in another place costs what it covers and
 * no more: for judging between templates at a place that `scoreAt` found.
 */
export function judge({ places, values }: Template, picture: Picture, x: number, y: number, colour: Colour): number {
  const { data, width, height } = picture
  const main = colourValues[colour]
  let score = 0
  for (let index = 0; index * 2 < places.length; index++) {
    const column = x + (places[index * 2] as number)
    const row = y + (places[index * 2 + 1] as number)
    if (column < 0 || row < 0 || column >= width || row >= height) continue
    const at = (row * width + column) * 4
    const from = index * 4
    const share = values[from + 3] as number
    const [red, green, blue] = [data[at] as number, data[at + 1] as number, data[at + 2] as number]
    const dr = red - (values[from] as number) - share * main[0]
    const dg = green - (values[from + 1] as number) - share * main[1]
    const db = blue - (values[from + 2] as number) - share * main[2]
    const scenery = red * red + green * green + blue * blue - (data[at + 3] as number)
    score += scenery - leniency * Math.min(foreign, dr * dr + dg * dg + db * db)
  }
  return score / 1000
}

// Drawing

const masterRadius = 24
const masterHalf = Math.ceil(masterRadius * 1.45) + 2
const masterSide = 2 * masterHalf + 1

/** K red, green, blue, M and coverage of a puppet at a large size, in turn. */
const masters = new Map<string, Float32Array>()

function master(puppet: Puppet, variant: Variant): Float32Array {
  const key = `${puppet} ${variant}`
  const made = masters.get(key) ?? drawMaster(puppet, variantPhases[variant])
  masters.set(key, made)
  return made
}

function drawMaster(puppet: Puppet, phase: number): Float32Array {
  const transform: Transform = {
    x: masterHalf + 0.5,
    y: masterHalf + 0.5,
    scale: masterRadius,
    rotation: 0,
    mirror: false,
  }
  const pose = { time: 0, phase: (phase + 1) % 1 }
  const mask = stickerMask(puppet, pose, transform, masterSide, masterSide)
  const [dark, light] = [0, 255].map((level) => {
    const target = canvas(masterSide, masterSide)
    paintSticker(target, puppet, [level, level, level], pose, transform)
    return target.rgb
  }) as [Float32Array, Float32Array]
  const out = new Float32Array(masterSide * masterSide * 5)
  for (let pixel = 0; pixel < masterSide * masterSide; pixel++) {
    for (let c = 0; c < 3; c++) out[pixel * 5 + c] = dark[pixel * 3 + c] as number
    out[pixel * 5 + 3] = ((light[pixel * 3] as number) - (dark[pixel * 3] as number)) / 255
    out[pixel * 5 + 4] = mask[pixel] as number
  }
  return out
}

/** What smoothing and halving do to a pixel, as taps at places in full-resolution pixels. */
const taps = {
  1: { at: [-1.125, -0.375, 0.375, 1.125], weight: [0.14, 0.36, 0.36, 0.14] },
  2: { at: [-1.75, -1.05, -0.35, 0.35, 1.05, 1.75], weight: [0.08, 0.17, 0.25, 0.25, 0.17, 0.08] },
} as const

/** Pixels covered less than this are left out: they show the scene as well. */
const covered = 0.75

/** Every other pixel, as on a chessboard: neighbours of smoothed pictures say the same. */
function sample({ puppet, variant, mirror, size, turn }: Look, width: number, shrink: 1 | 2): Template {
  const drawing = master(puppet, variant)
  const radius = radiusOf(size)
  const angle = (2 * Math.PI * turn) / turns
  const scale = masterRadius / radius
  const [cos, sin] = [Math.cos(angle) * scale, Math.sin(angle) * scale]
  const half = Math.ceil((radius * 1.45) / shrink) + 1
  const places: number[] = []
  const values: number[] = []
  const pixel = new Float64Array(5)
  for (let dy = -half; dy <= half; dy++) {
    for (let dx = -half; dx <= half; dx++) {
      if (((dx + dy) & 1) === 1) continue
      gather(drawing, dx * shrink, dy * shrink, cos, sin, mirror, taps[shrink], pixel)
      if ((pixel[4] as number) < covered) continue
      places.push(dx, dy)
      values.push(pixel[0] as number, pixel[1] as number, pixel[2] as number, pixel[3] as number)
    }
  }
  return finish(places, values, width)
}

/** A weighted mean of the drawing around a place, given in pixels from its centre. */
function gather(
  drawing: Float32Array,
  x: number,
  y: number,
  cos: number,
  sin: number,
  mirror: boolean,
  { at: places, weight: weights }: { readonly at: readonly number[]; readonly weight: readonly number[] },
  into: Float64Array,
): void {
  into.fill(0)
  for (let j = 0; j < places.length; j++) {
    for (let i = 0; i < places.length; i++) {
      const [px, py] = [x + (places[i] as number), y + (places[j] as number)]
      const along = cos * px + sin * py
      const column = Math.round(mirror ? -along : along) + masterHalf
      const row = Math.round(cos * py - sin * px) + masterHalf
      if (column < 0 || row < 0 || column >= masterSide || row >= masterSide) continue
      const from = (row * masterSide + column) * 5
      const weight = (weights[i] as number) * (weights[j] as number)
      for (let c = 0; c < 5; c++) into[c] = (into[c] as number) + weight * (drawing[from + c] as number)
    }
  }
}

function finish(places: readonly number[], values: readonly number[], width: number): Template {
  const count = values.length / 4
  const [xs, ys] = [places.filter((_, index) => index % 2 === 0), places.filter((_, index) => index % 2 === 1)]
  const constants: [number, number, number, number, number] = [0, 0, 0, 0, 0]
  for (let index = 0; index < count; index++) {
    const share = values[index * 4 + 3] as number
    for (let c = 0; c < 3; c++) {
      const k = values[index * 4 + c] as number
      constants[0] += k * k
      constants[c + 1] = (constants[c + 1] as number) + share * k
    }
    constants[4] += share * share
  }
  return {
    places: Int16Array.from(places),
    offsets: Int32Array.from(xs, (dx, index) => ((ys[index] as number) * width + dx) * 4),
    reach: {
      left: -Math.min(0, ...xs),
      right: Math.max(0, ...xs),
      top: -Math.min(0, ...ys),
      bottom: Math.max(0, ...ys),
    },
    values: Float32Array.from(values),
    constants,
  }
}
