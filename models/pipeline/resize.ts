/**
 * Frames of another size than asked for, brought to it: bilinear, centres of pixels on centres.
 */

/** The source of a pixel along one axis: the two next to it, and the share of the second. */
interface Blend {
  readonly low: number
  readonly high: number
  readonly share: number
}

/** pixels [count, h, w, 3] → [count, H, W, 3]. */
export function resized(
  pixels: Uint8Array,
  [height, width]: readonly [number, number],
  [tall, wide]: readonly [number, number],
): Uint8Array {
  if (height === tall && width === wide) return pixels
  const count = pixels.length / (height * width * 3)
  const [rows, columns] = [blends(height, tall), blends(width, wide)]
  const out = new Uint8Array(count * tall * wide * 3)
  let cursor = 0
  for (let frame = 0; frame < count; frame++) {
    for (const row of rows) {
      const line = (y: number) => (frame * height + y) * width
      for (const column of columns) {
        for (let colour = 0; colour < 3; colour++) {
          const at = (y: number, x: number) => pixels[(line(y) + x) * 3 + colour] as number
          const across = (y: number) => at(y, column.low) + column.share * (at(y, column.high) - at(y, column.low))
          const top = across(row.low)
          out[cursor++] = Math.round(top + row.share * (across(row.high) - top))
        }
      }
    }
  }
  return out
}

function blends(from: number, to: number): Blend[] {
  return Array.from({ length: to }, (_, index) => {
    const place = Math.min(from - 1, Math.max(0, ((index + 0.5) * from) / to - 0.5))
    const low = Math.floor(place)
    return { low, high: Math.min(low + 1, from - 1), share: place - low }
  })
}
