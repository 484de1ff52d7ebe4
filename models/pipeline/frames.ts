/**
 * Frames as the pipeline gives them.
 */

/** Pixels of some frames, in order: [count, height, width, 3], 0…255. */
export interface FramesPart {
  readonly first: number
  readonly count: number
  readonly pixels: Uint8Array
}

/**
 * −1…1 to 0…255. A loop, not `Uint8Array.from`: its iterator boxes every number, megabytes of garbage for a clip, and a
 * tab whose engine leaves that much behind is given more memory by V8 with every dozen clips.
 */
export function pixelsOf(values: Float32Array): Uint8Array {
  const pixels = new Uint8Array(values.length)
  for (let at = 0; at < values.length; at++) {
    pixels[at] = Math.max(0, Math.min(255, Math.round(((values[at] as number) + 1) * 127.5)))
  }
  return pixels
}

/** 0…255 to −1…1. */
export function valuesOf(pixels: Uint8Array): Float32Array {
  const values = new Float32Array(pixels.length)
  for (let at = 0; at < pixels.length; at++) values[at] = (pixels[at] as number) / 127.5 - 1
  return values
}
