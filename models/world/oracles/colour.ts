/**
 * The puppet's colour: the median of the pixels that a template says show nothing else, to the nearest of eight.
 */

import { colourValues } from '../sticker.ts'
import { type Colour, colours } from '../vocabulary.ts'
import type { Picture } from './picture.ts'
import type { Found } from './puppet.ts'
import { template } from './templates.ts'

export interface ColourReading {
  readonly value: Colour
  readonly confidence: number
}

/** Main-colour pixels show at least this share of it. */
const pure = 0.8

/** Medians over the better half of the frames. */
export function readColour(pictures: readonly Picture[], track: readonly Found[]): ColourReading {
  const order = [...track.keys()].sort((a, b) => (track[b] as Found).score - (track[a] as Found).score)
  const samples: number[][] = [[], [], []]
  for (const frame of order.slice(0, Math.ceil(track.length / 2))) {
    gather(pictures[frame] as Picture, track[frame] as Found, samples)
  }
  const seen = samples.map(median)
  const errors = colours.map((colour) => Math.hypot(...colourValues[colour].map((v, c) => v - (seen[c] as number))))
  const ranked = [...colours.keys()].sort((a, b) => (errors[a] as number) - (errors[b] as number))
  const [best, next] = [ranked[0] as number, ranked[1] as number]
  return { value: colours[best] as Colour, confidence: 1 - (errors[best] as number) / (errors[next] as number) }
}

function gather({ width, height, data }: Picture, found: Found, samples: number[][]): void {
  const { places, values } = template(found, width, 1)
  for (let index = 0; index * 2 < places.length; index++) {
    const column = found.x + (places[index * 2] as number)
    const row = found.y + (places[index * 2 + 1] as number)
    if (column < 0 || row < 0 || column >= width || row >= height) continue
    if ((values[index * 4 + 3] as number) < pure) continue
    for (let c = 0; c < 3; c++) samples[c]?.push(data[(row * width + column) * 4 + c] as number)
  }
}

function median(values: number[]): number {
  const order = Float64Array.from(values).sort()
  return order[order.length >> 1] ?? 128
}
