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
  /** Offsets in a picture of `stride` pixels a row. */
  readonly offsets: Int32Array
  readonly stride: number
  readonly reach: { readonly left: number; readonly right: number; readonly top: number; readonly bottom: number }
  /** K red, green, blue and M, in turn. */
  readonly values: Float32Array
  /** Sums over all pixels: K², M·K for each channel, M². */
  readonly sums: readonly [number, number, number, number, number]
}

export interface Match {
  readonly score: number
  readonly colour: Colour
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

/**
 * Score of a template centred on a pixel (thousands of squared levels), with the best colour; −∞ where less than a
 * third is inside. The picture's fourth channel must hold |rgb|² less the scenery's error (see `prepare`).
 */
export function match(shape: Template, picture: Picture, x: number, y: number): Match {
  const { reach } = shape
  const inside =
    x >= reach.left && y >= reach.top && x + reach.right < picture.width && y + reach.bottom < picture.height
  return inside ? matchInside(shape, picture, x, y) : matchAcross(shape, picture, x, y)
}

/** How much of the puppet's own error counts: a decoder's softness is not held against it. */
const leniency = 0.7

/**
 * The same score with each pixel's error held below a bound, so that a joint in another place costs what it covers and
 * no more: for judging between templates at a place that `match` found.
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

/** Turns the fourth channel from the scenery's error into what `match` sums. */
export function prepare({ data }: Picture): void {
  for (let at = 0; at < data.length; at += 4) {
    const [r, g, b] = [data[at] as number, data[at + 1] as number, data[at + 2] as number]
    data[at + 3] = r * r + g * g + b * b - (data[at + 3] as number)
  }
}

function matchInside({ offsets, values, sums }: Template, { data, width }: Picture, x: number, y: number): Match {
  const base = (y * width + x) * 4
  let [power, cross, r, g, b] = [0, 0, 0, 0, 0]
  for (let index = 0; index < offsets.length; index++) {
    const at = base + (offsets[index] as number)
    const from = index * 4
    const [red, green, blue] = [data[at] as number, data[at + 1] as number, data[at + 2] as number]
    const share = values[from + 3] as number
    power += data[at + 3] as number
    cross += red * (values[from] as number) + green * (values[from + 1] as number) + blue * (values[from + 2] as number)
    r += share * red
    g += share * green
    b += share * blue
  }
  return bestColour(power - 2 * cross + sums[0], r - sums[1], g - sums[2], b - sums[3], sums[4])
}

function matchAcross({ places, values }: Template, { data, width, height }: Picture, x: number, y: number): Match {
  let [error, r, g, b, weight, count] = [0, 0, 0, 0, 0, 0]
  for (let index = 0; index * 2 < places.length; index++) {
    const column = x + (places[index * 2] as number)
    const row = y + (places[index * 2 + 1] as number)
    if (column < 0 || row < 0 || column >= width || row >= height) continue
    const at = (row * width + column) * 4
    const from = index * 4
    const share = values[from + 3] as number
    const [kr, kg, kb] = [values[from] as number, values[from + 1] as number, values[from + 2] as number]
    const [red, green, blue] = [data[at] as number, data[at + 1] as number, data[at + 2] as number]
    error += (data[at + 3] as number) - 2 * (red * kr + green * kg + blue * kb) + kr * kr + kg * kg + kb * kb
    r += share * (red - kr)
    g += share * (green - kg)
    b += share * (blue - kb)
    weight += share * share
    count++
  }
  if (count * 6 < places.length) return { score: Number.NEGATIVE_INFINITY, colour: 'white' }
  return bestColour(error, r, g, b, weight)
}

function bestColour(error: number, r: number, g: number, b: number, weight: number): Match {
  let [best, colour]: [number, Colour] = [Number.POSITIVE_INFINITY, 'white']
  for (const each of palette) {
    const left = error - 2 * (each.r * r + each.g * g + each.b * b) + each.square * weight
    if (left < best) [best, colour] = [left, each.colour]
  }
  return { score: -best / 1000, colour }
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

/** What smoothing and halving do to a pixel, as taps in full-resolution pixels. */
const taps = {
  1: [
    [-1.25, 0.08],
    [-0.75, 0.17],
    [-0.25, 0.25],
    [0.25, 0.25],
    [0.75, 0.17],
    [1.25, 0.08],
  ],
  2: [
    [-1.75, 0.06],
    [-1.25, 0.1],
    [-0.75, 0.16],
    [-0.25, 0.18],
    [0.25, 0.18],
    [0.75, 0.16],
    [1.25, 0.1],
    [1.75, 0.06],
  ],
} as const

/** Pixels covered less than this are left out: they show the scene as well. */
const covered = 0.75

function sample({ puppet, variant, mirror, size, turn }: Look, width: number, shrink: 1 | 2): Template {
  const drawing = master(puppet, variant)
  const radius = radiusOf(size)
  const scale = masterRadius / radius
  const angle = (2 * Math.PI * turn) / turns
  const [cos, sin] = [Math.cos(angle) * scale, Math.sin(angle) * scale]
  const half = Math.ceil((radius * 1.45) / shrink) + 1
  const places: number[] = []
  const values: number[] = []
  const pixel = new Float64Array(5)
  for (let dy = -half; dy <= half; dy++) {
    for (let dx = -half; dx <= half; dx++) {
      pixel.fill(0)
      for (const [oy, wy] of taps[shrink]) {
        for (const [ox, wx] of taps[shrink]) {
          const [px, py] = [dx * shrink + ox, dy * shrink + oy]
          const along = cos * px + sin * py
          gather(drawing, mirror ? -along : along, cos * py - sin * px, wx * wy, pixel)
        }
      }
      if ((pixel[4] as number) < covered) continue
      places.push(dx, dy)
      values.push(...pixel.subarray(0, 4))
    }
  }
  return finish(places, values, width)
}

/** Adds the drawing at a point (pixels from its centre), nearest pixel. */
function gather(drawing: Float32Array, x: number, y: number, weight: number, into: Float64Array): void {
  const [column, row] = [Math.round(x) + masterHalf, Math.round(y) + masterHalf]
  if (column < 0 || row < 0 || column >= masterSide || row >= masterSide) return
  const at = (row * masterSide + column) * 5
  for (let c = 0; c < 5; c++) into[c] = (into[c] as number) + weight * (drawing[at + c] as number)
}

function finish(places: readonly number[], values: readonly number[], width: number): Template {
  const count = values.length / 4
  const [xs, ys] = [places.filter((_, index) => index % 2 === 0), places.filter((_, index) => index % 2 === 1)]
  const sums: [number, number, number, number, number] = [0, 0, 0, 0, 0]
  for (let index = 0; index < count; index++) {
    const share = values[index * 4 + 3] as number
    for (let c = 0; c < 3; c++) {
      const k = values[index * 4 + c] as number
      sums[0] += k * k
      sums[c + 1] = (sums[c + 1] as number) + share * k
    }
    sums[4] += share * share
  }
  return {
    places: Int16Array.from(places),
    offsets: Int32Array.from(xs, (dx, index) => ((ys[index] as number) * width + dx) * 4),
    stride: width,
    reach: {
      left: -Math.min(0, ...xs),
      right: Math.max(0, ...xs),
      top: -Math.min(0, ...ys),
      bottom: Math.max(0, ...ys),
    },
    values: Float32Array.from(values),
    sums,
  }
}
