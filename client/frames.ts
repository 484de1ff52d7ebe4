/**
 * Pixels in the forms that canvases and encoders take.
 *
 * Encoders are fed I420 in BT.709 limited range and told so: given RGB they write full-range files that players show
 * too dark or too bright. Knows no file format.
 */

/** Pixels [frames, height, width, 3], 0…255. */
export interface Clip {
  readonly frames: number
  readonly height: number
  readonly width: number
  readonly fps: number
  readonly pixels: Uint8Array
}

/** One frame as RGBA, opaque. */
export function rgbaOf({ width, height, pixels }: Pick<Clip, 'width' | 'height' | 'pixels'>, frame: number): ImageData {
  const area = width * height
  const data = new Uint8ClampedArray(4 * area)
  for (let pixel = 0, from = frame * area * 3; pixel < area; pixel++, from += 3) {
    data[4 * pixel] = pixels[from] as number
    data[4 * pixel + 1] = pixels[from + 1] as number
    data[4 * pixel + 2] = pixels[from + 2] as number
    data[4 * pixel + 3] = 255
  }
  return new ImageData(data, width, height)
}

/** How alike two lists of pixels are: 10·log10(255² / mean squared difference), Infinity where they are equal. */
export function decibels(one: ArrayLike<number>, other: ArrayLike<number>): number {
  if (one.length !== other.length || one.length === 0) return Number.NEGATIVE_INFINITY
  let squares = 0
  for (let at = 0; at < one.length; at++) squares += ((one[at] as number) - (other[at] as number)) ** 2
  return squares === 0 ? Number.POSITIVE_INFINITY : 10 * Math.log10((255 * 255 * one.length) / squares)
}

/** RGBA to RGB, whatever its opacity. */
export function rgbOf(rgba: Uint8ClampedArray): Uint8Array {
  const rgb = new Uint8Array((rgba.length / 4) * 3)
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from] as number
    rgb[to + 1] = rgba[from + 1] as number
    rgb[to + 2] = rgba[from + 2] as number
  }
  return rgb
}

/** One frame as I420: luma, then both chroma planes at half the sides. BT.709, limited range; sides must be even. */
export function i420Of(
  { width, height, pixels }: Pick<Clip, 'width' | 'height' | 'pixels'>,
  frame: number,
): Uint8Array<ArrayBuffer> {
  const area = width * height
  const quarter = area / 4
  const planes = new Uint8Array(area + 2 * quarter)
  const base = frame * area * 3
  const at = (row: number, column: number) => base + (row * width + column) * 3
  const from = (place: number) => pixels[place] as number
  for (let pixel = 0; pixel < area; pixel++) planes[pixel] = luma(pixels, base + 3 * pixel)
  for (let row = 0; row < height; row += 2) {
    for (let column = 0; column < width; column += 2) {
      const above = at(row, column)
      const below = at(row + 1, column)
      const mean = (colour: number) =>
        (from(above + colour) + from(above + 3 + colour) + from(below + colour) + from(below + 3 + colour)) / 4
      const [red, green, blue] = [mean(0), mean(1), mean(2)]
      const place = (row / 2) * (width / 2) + column / 2
      planes[area + place] = Math.round(128 - 0.10064 * red - 0.33857 * green + 0.43922 * blue)
      planes[area + quarter + place] = Math.round(128 + 0.43922 * red - 0.39894 * green - 0.04027 * blue)
    }
  }
  return planes
}

function luma(pixels: Uint8Array, at: number): number {
  const red = pixels[at] as number
  const green = pixels[at + 1] as number
  const blue = pixels[at + 2] as number
  return Math.round(16 + 0.18259 * red + 0.61423 * green + 0.06201 * blue)
}

/** A frame for WebCodecs. The caller closes it. */
export function videoFrameOf(clip: Clip, frame: number): VideoFrame {
  const { width, height, fps } = clip
  return new VideoFrame(i420Of(clip, frame), {
    format: 'I420',
    codedWidth: width,
    codedHeight: height,
    timestamp: Math.round((frame * 1e6) / fps),
    duration: Math.round(1e6 / fps),
    colorSpace: { primaries: 'bt709', transfer: 'bt709', matrix: 'bt709', fullRange: false },
  })
}
