/**
 * Frames to an animated GIF, by ourselves: a palette of the clip's own colours and LZW.
 *
 * The palette is chosen by median cut (Heckbert 1982) over all frames at five bits a colour, so a clip of few flat
 * colours, as stickers are, keeps them. Format: GIF89a specification.
 */

import type { Clip } from './frames.ts'

const colours = 256

/** The whole file, looping for ever. Delays are in hundredths of a second, the format's unit. */
export function encodeGif(clip: Clip): Uint8Array<ArrayBuffer> {
  const { width, height, frames, fps, pixels } = clip
  const { palette, indexOf } = paletteOf(pixels)
  const delay = Math.max(2, Math.round(100 / fps))
  const word = (value: number) => [value & 255, value >> 8]
  const parts: (ArrayLike<number> & Iterable<number>)[] = [
    ascii('GIF89a'),
    [...word(width), ...word(height), 0xf7, 0, 0],
    palette,
    [0x21, 0xff, 11, ...ascii('NETSCAPE2.0'), 3, 1, 0, 0, 0],
  ]
  const area = width * height
  for (let frame = 0; frame < frames; frame++) {
    const indices = new Uint8Array(area)
    for (let pixel = 0; pixel < area; pixel++) indices[pixel] = indexOf(key(pixels, (frame * area + pixel) * 3))
    parts.push([0x21, 0xf9, 4, 4, ...word(delay), 0, 0, 0x2c, 0, 0, 0, 0, ...word(width), ...word(height), 0, 8])
    parts.push(blocks(compress(indices)))
  }
  parts.push([0x3b])
  return joined(parts)
}

const ascii = (text: string): number[] => Array.from(text, (letter) => letter.charCodeAt(0))

function joined(parts: readonly ArrayLike<number>[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let offset = 0
  for (const part of parts) {
    bytes.set(part, offset)
    offset += part.length
  }
  return bytes
}

/** A colour at five bits each. */
function key(pixels: Uint8Array, at: number): number {
  const bits = (value: number) => value >> 3
  return (bits(pixels[at] as number) << 10) | (bits(pixels[at + 1] as number) << 5) | bits(pixels[at + 2] as number)
}

/** A colour of the clip: how often, and the sum of its exact values. */
interface Colour {
  readonly key: number
  count: number
  readonly sums: [number, number, number]
}

function paletteOf(pixels: Uint8Array) {
  const boxes = [[...histogram(pixels).values()]]
  while (boxes.length < colours) {
    const widest = boxes.reduce((best, box, at) => (worth(box) > worth(boxes[best] as Colour[]) ? at : best), 0)
    const box = boxes[widest] as Colour[]
    if (box.length < 2) break
    boxes.splice(widest, 1, ...halves(box))
  }
  const palette = new Uint8Array(colours * 3)
  const places = new Uint8Array(1 << 15)
  for (const [index, box] of boxes.entries()) {
    const total = box.reduce((sum, { count }) => sum + count, 0)
    for (let axis = 0; axis < 3; axis++)
      palette[index * 3 + axis] = Math.round(box.reduce((sum, each) => sum + (each.sums[axis] as number), 0) / total)
    for (const each of box) places[each.key] = index
  }
  return { palette, indexOf: (colour: number) => places[colour] as number }
}

function histogram(pixels: Uint8Array): Map<number, Colour> {
  const seen = new Map<number, Colour>()
  for (let at = 0; at < pixels.length; at += 3) {
    const colour = key(pixels, at)
    const entry = seen.get(colour) ?? { key: colour, count: 0, sums: [0, 0, 0] }
    entry.count += 1
    for (let axis = 0; axis < 3; axis++) entry.sums[axis] = (entry.sums[axis] as number) + (pixels[at + axis] as number)
    seen.set(colour, entry)
  }
  return seen
}

const component = (colour: number, axis: number): number => (colour >> (5 * (2 - axis))) & 31

function extent(box: readonly Colour[], axis: number): number {
  const values = box.map((each) => component(each.key, axis))
  return Math.max(...values) - Math.min(...values)
}

const worth = (box: readonly Colour[]): number =>
  box.length < 2 ? 0 : Math.max(...[0, 1, 2].map((axis) => extent(box, axis)))

/** Cut across the longest side where half the pixels lie on either hand. */
function halves(box: readonly Colour[]): [Colour[], Colour[]] {
  const axis = [0, 1, 2].reduce((best, each) => (extent(box, each) > extent(box, best) ? each : best), 0)
  const sorted = [...box].sort((a, b) => component(a.key, axis) - component(b.key, axis))
  const half = sorted.reduce((sum, { count }) => sum + count, 0) / 2
  let [seen, cut] = [0, 0]
  while (cut < sorted.length - 1 && (cut === 0 || seen < half)) seen += (sorted[cut++] as Colour).count
  return [sorted.slice(0, cut), sorted.slice(cut)]
}

/** LZW with codes of 9 to 12 bits, least significant bit first; the table starts over when it is full. */
function compress(indices: Uint8Array): Uint8Array {
  const [clear, end] = [256, 257]
  const out = bitWriter()
  let [table, next, size] = [new Map<number, number>(), end + 1, 9]
  out.write(clear, size)
  let prefix = indices[0] as number
  for (const index of indices.subarray(1)) {
    const pair = (prefix << 8) | index
    const known = table.get(pair)
    if (known !== undefined) {
      prefix = known
      continue
    }
    out.write(prefix, size)
    prefix = index
    if (next === 4096) {
      out.write(clear, size)
      ;[table, next, size] = [new Map(), end + 1, 9]
      continue
    }
    table.set(pair, next)
    if (next === 1 << size) size += 1
    next += 1
  }
  out.write(prefix, size)
  out.write(end, size)
  return out.bytes()
}

function bitWriter() {
  const bytes: number[] = []
  let [held, count] = [0, 0]
  return {
    write: (code: number, size: number) => {
      held |= code << count
      count += size
      for (; count >= 8; count -= 8, held >>>= 8) bytes.push(held & 255)
    },
    bytes: () => Uint8Array.from(count > 0 ? [...bytes, held & 255] : bytes),
  }
}

/** Data in blocks of at most 255 bytes, each led by its length, closed by an empty one. */
function blocks(data: Uint8Array): number[] {
  const out: number[] = []
  for (let at = 0; at < data.length; at += 255) {
    const block = data.subarray(at, at + 255)
    out.push(block.length, ...block)
  }
  out.push(0)
  return out
}
