/**
 * Templates of puppets for matching, with the colour left open.
 *
 * Every paint of a sticker is affine in its main colour, so a template is M·colour + K per pixel, and the squared error
 * against a picture is closed in the colour: three sums judge all eight at once. Pixels outside the sticker are not
 * compared.
 */

import { canvas, type Transform } from './draw.ts'
import type { Pose } from './puppets.ts'
import { colourValues, paintSticker, stickerMask } from './sticker.ts'
import { type Colour, colours, type Puppet } from './vocabulary.ts'

/** The pixels of a sticker around its centre. */
export interface Template {
  readonly dx: Int16Array
  readonly dy: Int16Array
  /** Share of the main colour. */
  readonly main: Float32Array
  /** What is there without it, rgb. */
  readonly fixed: Float32Array
}

export interface TemplateOptions {
  /** Radius in pixels. */
  readonly radius: number
  readonly rotation: number
  readonly mirror: boolean
  readonly pose: Pose
  /** How often the template is smoothed, as the picture it is held against must be. */
  readonly smoothing: number
}

/** A picture to search: rgb rows, 0…255. */
export interface Picture {
  readonly width: number
  readonly height: number
  readonly rgb: Float32Array
}

export interface Match {
  /**
   * Minus the variance under the template, in millions, times a power (the third) of the share it explains: large things well
   * explained beat small ones, and a horizon that happens to look like a boat does not.
   */
  readonly error: number
  readonly colour: Colour
}

/** Draws a puppet as a template; the smoothing forgives half a pixel and a soft decoder. */
export function template(puppet: Puppet, { radius, rotation, mirror, pose, smoothing }: TemplateOptions): Template {
  const half = Math.ceil(radius * 1.35) + 2
  const side = 2 * half + 1
  const transform: Transform = { x: half + 0.5, y: half + 0.5, scale: radius, rotation, mirror }
  const mask = smoothed(stickerMask(puppet, pose, transform, side, side), side, 1, smoothing)
  const [dark, light] = [0, 255].map((value) => {
    const target = canvas(side, side)
    paintSticker(target, puppet, [value, value, value], pose, transform)
    return smoothed(target.rgb, side, 3, smoothing)
  }) as [Float32Array, Float32Array]
  const kept = [...mask.keys()].filter((index) => (mask[index] as number) > 0.8)
  return {
    dx: Int16Array.from(kept, (index) => (index % side) - half),
    dy: Int16Array.from(kept, (index) => Math.floor(index / side) - half),
    main: Float32Array.from(kept, (index) => ((light[index * 3] as number) - (dark[index * 3] as number)) / 255),
    fixed: Float32Array.from(kept.flatMap((index) => [0, 1, 2].map((channel) => dark[index * 3 + channel] as number))),
  }
}

/** Binomial smoothing (1 2 1)/4 both ways, `passes` times; borders repeat. */
export function smoothed(values: Float32Array, width: number, channels: number, passes: number): Float32Array {
  const height = values.length / width / channels
  let current = values
  for (let pass = 0; pass < passes; pass++) {
    const across = new Float32Array(values.length)
    for (let index = 0; index < width * height; index++) {
      const column = index % width
      const [left, right] = [column === 0 ? index : index - 1, column === width - 1 ? index : index + 1]
      for (let c = 0; c < channels; c++)
        across[index * channels + c] =
          ((current[left * channels + c] as number) +
            2 * (current[index * channels + c] as number) +
            (current[right * channels + c] as number)) /
          4
    }
    const down = new Float32Array(values.length)
    const stride = width * channels
    for (let index = 0; index < values.length; index++) {
      const above = index < stride ? index : index - stride
      const below = index + stride >= values.length ? index : index + stride
      down[index] = ((across[above] as number) + 2 * (across[index] as number) + (across[below] as number)) / 4
    }
    current = down
  }
  return current
}

const palette = colours.map((colour) => ({ colour, rgb: colourValues[colour] }))

/** The best colour for a template centred on a pixel; undefined where less than half of it is inside. */
export function match(
  { dx, dy, main, fixed }: Template,
  picture: Picture,
  x: number,
  y: number,
  sharpness = 3,
): Match | undefined {
  const { width, height, rgb } = picture
  let [squares, r, g, b, weight, count] = [0, 0, 0, 0, 0, 0]
  let [power, sumR, sumG, sumB] = [0, 0, 0, 0]
  for (let index = 0; index < dx.length; index++) {
    const column = x + (dx[index] as number)
    const row = y + (dy[index] as number)
    if (column < 0 || row < 0 || column >= width || row >= height) continue
    const at = (row * width + column) * 3
    const share = main[index] as number
    const [red, green, blue] = [rgb[at] as number, rgb[at + 1] as number, rgb[at + 2] as number]
    power += red * red + green * green + blue * blue
    sumR += red
    sumG += green
    sumB += blue
    const dr = red - (fixed[index * 3] as number)
    const dg = green - (fixed[index * 3 + 1] as number)
    const db = blue - (fixed[index * 3 + 2] as number)
    squares += dr * dr + dg * dg + db * db
    r += share * dr
    g += share * dg
    b += share * db
    weight += share * share
    count++
  }
  if (count < dx.length * 0.5) return undefined
  const variance = power - (sumR * sumR + sumG * sumG + sumB * sumB) / count
  let best: Match | undefined
  for (const { colour, rgb: c } of palette) {
    const left = squares - 2 * (c[0] * r + c[1] * g + c[2] * b) + (c[0] ** 2 + c[1] ** 2 + c[2] ** 2) * weight
    const explained = Math.max(0, 1 - left / (variance + 1))
    const error = (-variance * explained ** sharpness) / 1e6
    if (best === undefined || error < best.error) best = { error, colour }
  }
  return best
}
