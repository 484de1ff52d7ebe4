/**
 * Frames as the oracles see them: brought to one size, smoothed, at full and at half resolution.
 *
 * The smoothing forgives half a pixel of place and the softness of a neural decoder. Knows nothing of what is shown.
 */

import type { Frames } from '../renderer.ts'

/** A picture with four numbers a pixel: r, g, b (0…255) and a fourth that scenery.ts and templates.ts agree on. */
export interface Picture {
  readonly width: number
  readonly height: number
  readonly data: Float32Array
}

/** The short side that every picture is brought to. */
export const workingSide = 64

/** One frame, smoothed once by (1 2 1)/4 both ways. */
export function pictureOf(clip: Frames, frame: number): Picture {
  const rgb = resized(clip, frame)
  return smoothed(rgb)
}

/** Half as wide and high, by means of four; all four channels. */
export function halved({ width, height, data }: Picture): Picture {
  const [columns, rows] = [width >> 1, height >> 1]
  const out = new Float32Array(columns * rows * 4)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const from = (row * 2 * width + column * 2) * 4
      const below = from + width * 4
      const to = (row * columns + column) * 4
      for (let c = 0; c < 4; c++)
        out[to + c] =
          ((data[from + c] as number) +
            (data[from + 4 + c] as number) +
            (data[below + c] as number) +
            (data[below + 4 + c] as number)) /
          4
    }
  }
  return { width: columns, height: rows, data: out }
}

/** Nearest of a larger multiple, mean of what a pixel covers otherwise; sizes stay even. */
function resized({ width, height, pixels }: Frames, frame: number): Picture {
  const scale = Math.min(width, height) / workingSide
  const [columns, rows] = [even(width / scale), even(height / scale)]
  const data = new Float32Array(columns * rows * 4)
  const base = frame * width * height * 3
  const taps = Math.max(1, Math.ceil(scale))
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const to = (row * columns + column) * 4
      for (let j = 0; j < taps; j++) {
        const y = Math.min(height - 1, Math.floor(((row + (j + 0.5) / taps) * height) / rows))
        for (let i = 0; i < taps; i++) {
          const x = Math.min(width - 1, Math.floor(((column + (i + 0.5) / taps) * width) / columns))
          const from = base + (y * width + x) * 3
          for (let c = 0; c < 3; c++) data[to + c] = (data[to + c] as number) + (pixels[from + c] as number)
        }
      }
      for (let c = 0; c < 3; c++) data[to + c] = (data[to + c] as number) / (taps * taps)
    }
  }
  return { width: columns, height: rows, data }
}

const even = (length: number): number => 2 * Math.round(length / 2)

/** Borders repeat. */
function smoothed({ width, height, data }: Picture): Picture {
  const across = new Float32Array(data.length)
  const out = new Float32Array(data.length)
  for (let pixel = 0; pixel < width * height; pixel++) {
    const column = pixel % width
    const [left, right] = [column === 0 ? pixel : pixel - 1, column === width - 1 ? pixel : pixel + 1]
    for (let c = 0; c < 3; c++)
      across[pixel * 4 + c] =
        ((data[left * 4 + c] as number) + 2 * (data[pixel * 4 + c] as number) + (data[right * 4 + c] as number)) / 4
  }
  for (let pixel = 0; pixel < width * height; pixel++) {
    const above = pixel < width ? pixel : pixel - width
    const below = pixel + width >= width * height ? pixel : pixel + width
    for (let c = 0; c < 3; c++)
      out[pixel * 4 + c] =
        ((across[above * 4 + c] as number) +
          2 * (across[pixel * 4 + c] as number) +
          (across[below * 4 + c] as number)) /
        4
  }
  return { width, height, data: out }
}
