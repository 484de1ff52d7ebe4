/**
 * A clip as a neural decoder might hand it over: a little blurred, a little noisy. For measuring oracles, nothing else.
 */

import { gaussian } from '../../../shared/random.ts'
import type { Frames } from '../renderer.ts'

export interface SoftenOptions {
  /** Standard deviation of the blur in pixels. */
  readonly blur?: number
  /** Standard deviation of the noise in levels of 255. */
  readonly noise?: number
}

/** Gaussian blur, then Gaussian noise that the seed fixes. */
export function softened(clip: Frames, seed: number, { blur = 0.7, noise = 6 }: SoftenOptions = {}): Frames {
  const { frames, height, width, pixels } = clip
  const out = new Uint8Array(pixels.length)
  const size = height * width * 3
  for (let frame = 0; frame < frames; frame++) {
    const picture = Float32Array.from(pixels.subarray(frame * size, (frame + 1) * size))
    const soft = blurred(blurred(picture, 3, width, blur), width * 3, height, blur)
    const grain = gaussian(seed, 0x50f7, frame * size, size)
    for (let index = 0; index < size; index++) {
      const level = (soft[index] as number) + noise * (grain[index] as number)
      out[frame * size + index] = Math.min(255, Math.max(0, Math.round(level)))
    }
  }
  return { frames, height, width, pixels: out }
}

/** Along one axis: neighbours lie `stride` numbers apart, `length` of them in a line; borders repeat. */
function blurred(values: Float32Array, stride: number, length: number, sigma: number): Float32Array {
  const reach = Math.ceil(3 * sigma)
  const kernel = Array.from({ length: 2 * reach + 1 }, (_, n) => Math.exp(-((n - reach) ** 2) / (2 * sigma * sigma)))
  const weight = kernel.reduce((sum, each) => sum + each, 0)
  return values.map((_, index) => {
    const place = Math.floor(index / stride) % length
    return kernel.reduce((sum, share, n) => {
      const step = Math.min(length - 1, Math.max(0, place + n - reach)) - place
      return sum + (share / weight) * (values[index + step * stride] as number)
    }, 0)
  })
}
