/**
 * Frames as the pipeline gives them.
 */

/** Pixels of some frames, in order: [count, height, width, 3], 0…255. */
export interface FramesPart {
  readonly first: number
  readonly count: number
  readonly pixels: Uint8Array
}

/** −1…1 to 0…255. */
export function pixelsOf(values: Float32Array): Uint8Array {
  return Uint8Array.from(values, (value) => Math.max(0, Math.min(255, Math.round((value + 1) * 127.5))))
}
