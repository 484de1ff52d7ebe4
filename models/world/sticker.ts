/**
 * A puppet as a die-cut sticker: its parts in the asked colour, inside a white rim inside a thin dark edge.
 *
 * The rim keeps every puppet readable on every scene (a white ghost in the snow, a blue bird over the sea).
 */

import { blend, type Canvas, paint, type Rgb, rasterise, type Transform, unionDistance } from './draw.ts'
import { type Part, type Pose, puppetParts } from './puppets.ts'
import type { Colour, Puppet } from './vocabulary.ts'

export const colourValues: Readonly<Record<Colour, Rgb>> = {
  red: [222, 48, 48],
  orange: [246, 140, 30],
  yellow: [250, 218, 40],
  green: [52, 172, 70],
  blue: [46, 100, 226],
  purple: [146, 66, 200],
  pink: [252, 138, 196],
  white: [244, 244, 244],
}

const rimWidth = 0.09
const edgeWidth = 0.07
/** No part with its rim reaches farther from the centre. */
const reach = 1.4
const rim: Rgb = [255, 255, 255]
const edge: Rgb = [44, 42, 60]

/** Paints the puppet, in a named colour or any; the transform's scale is its radius in pixels. */
export function paintSticker(
  target: Canvas,
  puppet: Puppet,
  colour: Colour | Rgb,
  pose: Pose,
  transform: Transform,
): void {
  const value = typeof colour === 'string' ? colourValues[colour] : colour
  const parts = puppetParts[puppet](pose)
  const silhouette = parts.filter((part) => !part.inner).map(({ shape }) => shape)
  unionDistance(silhouette, transform, target.width, target.height, reach, (index, distance) => {
    blend(target.rgb, index, edge, coverage(rimWidth + edgeWidth - distance, transform.scale))
    blend(target.rgb, index, rim, coverage(rimWidth - distance, transform.scale))
  })
  for (const part of parts) paint(target, part.shape, transform, paintOf(part, value))
}

/** Coverage of the puppet, rim included: [height, width] in 0…1. */
export function stickerMask(
  puppet: Puppet,
  pose: Pose,
  transform: Transform,
  width: number,
  height: number,
): Float32Array {
  const mask = new Float32Array(width * height)
  const silhouette = puppetParts[puppet](pose).filter((part) => !part.inner)
  const shapes = silhouette.map(({ shape }) => shape)
  unionDistance(shapes, transform, width, height, reach, (index, distance) => {
    mask[index] = coverage(rimWidth + edgeWidth - distance, transform.scale)
  })
  return mask
}

/** Coverage of what shows the asked colour: [height, width] in 0…1. */
export function colourMask(
  puppet: Puppet,
  pose: Pose,
  transform: Transform,
  width: number,
  height: number,
): Float32Array {
  const mask = new Float32Array(width * height)
  for (const { shape, paint: colour } of puppetParts[puppet](pose)) {
    const goal = colour === 'main' ? 1 : 0
    rasterise(shape, transform, width, height, 0, (index, coverage) => {
      mask[index] = (mask[index] as number) + (goal - (mask[index] as number)) * coverage
    })
  }
  return mask
}

/** A ramp one pixel wide around zero; `depth` in units, inside positive. */
const coverage = (depth: number, scale: number): number => Math.min(1, Math.max(0, 0.5 + depth * scale))

function paintOf({ paint: colour }: Part, value: Rgb): Rgb {
  if (colour === 'main') return value
  if (colour === 'shade') return mix(value, edge, 0.22)
  return colour === 'tint' ? mix(value, rim, 0.35) : colour
}

function mix(a: Rgb, b: Rgb, weight: number): Rgb {
  return [a[0] + (b[0] - a[0]) * weight, a[1] + (b[1] - a[1]) * weight, a[2] + (b[2] - a[2]) * weight]
}
