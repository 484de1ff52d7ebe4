/**
 * A picture cut into overlapping tiles, so that a decoder holds no more than a budget of memory at once.
 *
 * A convolution sees so far and no further: where tiles overlap by twice that reach, each pixel is taken from a tile that
 * saw all it depends on, and the parts are the whole, to the last bits of a sum. Where that costs more work than is bearable
 * (decoders of large autoencoders look across half a picture) tiles overlap by what is, and are faded into each other: what
 * a distant border adds to a pixel is small, but not nothing. All tiles have one size, so one session serves all.
 */

import { pixelsOf } from './frames.ts'

/** A stretch of one axis that is decoded by itself. */
export interface Span {
  /** Cells `from`, …, `to` − 1. */
  readonly from: number
  readonly to: number
  /** The share of each of its pixels in the whole; shares of all spans add up to 1 everywhere. */
  readonly shares: Float32Array
}

export interface Tiling {
  readonly rows: readonly Span[]
  readonly columns: readonly Span[]
  /** Cells that a tile is sure to see beyond what is taken of it; Infinity where there is one tile. */
  readonly margin: number
}

export interface TilingOptions {
  /** Cells. */
  readonly height: number
  readonly width: number
  /** Cells to either side that a cell's pixels depend on. */
  readonly reach: number
  /** Pixels to a cell's side. */
  readonly stride: number
  /** Bytes that decoding holds for each cell of a tile. */
  readonly cellBytes: number
  /** Bytes that decoding a tile may hold. */
  readonly budget: number
}

/** Overlaps may make the work so many times what the whole picture takes. */
const bearableWork = 4

/** The tiles of a picture: one where the budget allows it, else the fewest cells to decode with the widest margin that is bearable. */
export function tilingOf({ height, width, reach, stride, cellBytes, budget }: TilingOptions): Tiling {
  const cells = Math.max(1, Math.floor(budget / cellBytes))
  if (height * width <= cells)
    return cutTiles({ height, width, margin: Number.POSITIVE_INFINITY, reach, stride }, [height, width])
  for (let margin = reach; margin > 0; margin--) {
    const best = cheapest(height, width, margin, cells)
    if (best !== undefined) return cutTiles({ height, width, margin, reach, stride }, best)
  }
  // The budget is below three by three cells: nothing smaller has a margin.
  return cutTiles({ height, width, margin: 1, reach, stride }, [Math.min(3, height), Math.min(3, width)])
}

/** Tiles of a given size and margin. */
export function cutTiles(
  { height, width, margin, reach, stride }: Omit<TilingOptions, 'cellBytes' | 'budget'> & { readonly margin: number },
  [tall, wide]: readonly [number, number],
): Tiling {
  // The outer half of a margin that is too narrow is the worse one, and is not shown.
  const fade = margin < reach ? Math.max(1, Math.floor(margin / 2)) : 0
  const spans = (length: number, size: number) => spansOf({ length, size, margin, stride, fade })
  return { rows: spans(height, tall), columns: spans(width, wide), margin }
}

/** The size of tiles of at most so many cells that takes the least work, if that is bearable. */
function cheapest(height: number, width: number, margin: number, cells: number): readonly [number, number] | undefined {
  let best: readonly [number, number] | undefined
  let least = bearableWork * height * width
  for (const tall of sizesOf(height, margin)) {
    for (const wide of sizesOf(width, margin)) {
      const work = countOf(height, tall, margin) * countOf(width, wide, margin) * tall * wide
      if (tall * wide > cells || work > least) continue
      least = work
      best = [tall, wide]
    }
  }
  return best
}

/** Sizes that leave something between two margins, and the whole. */
const sizesOf = (length: number, margin: number): number[] =>
  Array.from({ length: Math.max(1, length - 2 * margin) }, (_, index) => length - index)

const countOf = (length: number, size: number, margin: number): number =>
  size >= length ? 1 : 1 + Math.ceil((length - size) / (size - 2 * margin))

interface Cut {
  readonly length: number
  readonly size: number
  readonly margin: number
  readonly stride: number
  /** Cells on either side of a seam over which two spans are faded. */
  readonly fade: number
}

/** Spans of one size, evenly placed; a seam lies in the middle of what two of them share. */
function spansOf({ length, size, margin, stride, fade }: Cut): Span[] {
  const count = countOf(length, size, margin)
  const starts = Array.from({ length: count }, (_, index) =>
    count === 1 ? 0 : Math.round((index * (length - size)) / (count - 1)),
  )
  const seam = (index: number): number => {
    const [left, right] = [starts[index] as number, starts[index + 1] as number]
    return right + Math.floor((left + size - right) / 2)
  }
  const drawn = starts.map((from, index) => {
    const rises = index === 0 ? undefined : seam(index - 1)
    const falls = index === count - 1 ? undefined : seam(index)
    return Float32Array.from({ length: size * stride }, (_, pixel) => {
      const place = from + (pixel + 0.5) / stride
      const rising = rises === undefined ? 1 : ramp(place - rises, fade)
      const falling = falls === undefined ? 1 : 1 - ramp(place - falls, fade)
      return rising * falling
    })
  })
  // Where seams lie closer than they are wide, more than two spans have a share.
  const total = new Float32Array(length * stride)
  const each = (visit: (span: number, pixel: number, place: number) => void) => {
    for (const [span, from] of starts.entries())
      for (let pixel = 0; pixel < size * stride; pixel++) visit(span, pixel, from * stride + pixel)
  }
  const shareAt = (span: number, pixel: number) => drawn[span]?.[pixel] as number
  each((span, pixel, place) => {
    total[place] = (total[place] as number) + shareAt(span, pixel)
  })
  each((span, pixel, place) => {
    ;(drawn[span] as Float32Array)[pixel] = shareAt(span, pixel) / (total[place] as number)
  })
  return starts.map((from, index) => ({ from, to: from + size, shares: drawn[index] as Float32Array }))
}

/** 0 before −fade, 1 behind it, straight in between. */
const ramp = (place: number, fade: number): number =>
  fade === 0 ? Number(place >= 0) : Math.min(1, Math.max(0, (place + fade) / (2 * fade)))

export interface Tile {
  readonly row: Span
  readonly column: Span
}

/** Every tile of a tiling, row by row. */
export function tilesOf({ rows, columns }: Tiling): Tile[] {
  return rows.flatMap((row) => columns.map((column) => ({ row, column })))
}

/** A tile of planes [N, h, w]. */
export function cropped(
  planes: Float32Array,
  { height, width }: { readonly height: number; readonly width: number },
  { row, column }: Tile,
): Float32Array {
  const [tall, wide] = [row.to - row.from, column.to - column.from]
  if (tall === height && wide === width) return planes
  const count = planes.length / (width * height)
  const out = new Float32Array(count * tall * wide)
  for (let plane = 0; plane < count; plane++) {
    for (let y = 0; y < tall; y++) {
      const start = (plane * height + row.from + y) * width + column.from
      out.set(planes.subarray(start, start + wide), (plane * tall + y) * wide)
    }
  }
  return out
}

/** Frames [count, H, W, 3] that tiles are laid into. */
export interface Canvas {
  readonly frames: () => number
  /** Adds a tile's share: [count, h, w, 3]. */
  readonly add: (values: Float32Array, tile: Tile) => void
  /** The frames `start`, …, `stop` − 1 as bytes. */
  readonly pixels: (start?: number, stop?: number) => Uint8Array
}

/** An empty canvas of so many pixels; it has as many frames as its first tile. */
export function canvasOf([height, width]: readonly [number, number], stride: number): Canvas {
  let whole = new Float32Array(0)
  const area = height * width * 3
  const addRow = (values: Float32Array, source: number, target: number, across: number, shares: Float32Array) => {
    for (let number = 0; number < 3 * shares.length; number++) {
      const share = across * (shares[Math.floor(number / 3)] as number)
      whole[target + number] = (whole[target + number] as number) + share * (values[source + number] as number)
    }
  }
  return {
    frames: () => whole.length / area,
    add: (values, { row, column }) => {
      const [tall, wide] = [row.shares.length, column.shares.length]
      if (tall === height && wide === width) {
        whole = values as Float32Array<ArrayBuffer>
        return
      }
      const lines = values.length / (wide * 3)
      if (whole.length === 0) whole = new Float32Array((lines / tall) * area)
      for (let line = 0; line < lines; line++) {
        const across = row.shares[line % tall] as number
        const top = Math.floor(line / tall) * height + row.from * stride + (line % tall)
        if (across > 0) addRow(values, line * wide * 3, (top * width + column.from * stride) * 3, across, column.shares)
      }
    },
    pixels: (start = 0, stop = whole.length / area) => pixelsOf(whole.subarray(start * area, stop * area)),
  }
}
