/**
 * A small anti-aliased painter: shapes as signed distances, coverage as a ramp one pixel wide.
 *
 * Coordinates are units of the caller's; a transform of rotation, uniform scale and mirroring keeps distances true, so
 * outlines are the same shapes grown. Knows no puppets and no scenes. Distance formulas: standard (ellipses by the
 * first-order estimate k₀(k₀−1)/k₁, exact enough near the edge).
 */

export type Rgb = readonly [number, number, number]

export type Shape =
  | {
      readonly kind: 'ellipse'
      readonly x: number
      readonly y: number
      readonly rx: number
      readonly ry: number
      readonly turn: number
    }
  | {
      readonly kind: 'capsule'
      readonly x1: number
      readonly y1: number
      readonly x2: number
      readonly y2: number
      readonly radius: number
    }
  | {
      readonly kind: 'box'
      readonly x: number
      readonly y: number
      readonly hw: number
      readonly hh: number
      readonly radius: number
      readonly turn: number
    }
  | { readonly kind: 'polygon'; readonly points: readonly (readonly [number, number])[]; readonly radius: number }

/** Where a drawing's unit coordinates go: pixel = centre + scale · rotate(mirror · point). */
export interface Transform {
  readonly x: number
  readonly y: number
  readonly scale: number
  readonly rotation: number
  readonly mirror: boolean
}

/** Linear colour, rows of rgb in 0…255; alpha only where a mask is asked for. */
export interface Canvas {
  readonly width: number
  readonly height: number
  readonly rgb: Float32Array
}

export function canvas(width: number, height: number): Canvas {
  return { width, height, rgb: new Float32Array(width * height * 3) }
}

/** Calls `visit(pixel index, coverage)` for every pixel the shape, grown by `grow` units, touches. */
export function rasterise(
  shape: Shape,
  { x, y, scale, rotation, mirror }: Transform,
  width: number,
  height: number,
  grow: number,
  visit: (index: number, coverage: number) => void,
): void {
  const [cos, sin] = [Math.cos(rotation), Math.sin(rotation)]
  const [centreX, centreY, reach] = bounds(shape)
  const side = mirror ? -1 : 1
  const middleX = x + scale * (cos * side * centreX - sin * centreY)
  const middleY = y + scale * (sin * side * centreX + cos * centreY)
  const radius = (reach + grow) * scale + 1
  const [left, right] = [Math.max(0, Math.floor(middleX - radius)), Math.min(width - 1, Math.ceil(middleX + radius))]
  const [top, bottom] = [Math.max(0, Math.floor(middleY - radius)), Math.min(height - 1, Math.ceil(middleY + radius))]
  const inverse = 1 / scale
  for (let row = top; row <= bottom; row++) {
    const dy = (row + 0.5 - y) * inverse
    for (let column = left; column <= right; column++) {
      const dx = (column + 0.5 - x) * inverse
      const distance = distanceTo(shape, side * (cos * dx + sin * dy), cos * dy - sin * dx) - grow
      const coverage = 0.5 - distance * scale
      if (coverage > 0) visit(row * width + column, coverage < 1 ? coverage : 1)
    }
  }
}

/**
 * Signed distance in units to the union of shapes, over the pixels within `reach` of the origin.
 * One pass gives every rim around a silhouette.
 */
export function unionDistance(
  shapes: readonly Shape[],
  { x, y, scale, rotation, mirror }: Transform,
  width: number,
  height: number,
  reach: number,
  visit: (index: number, distance: number) => void,
): void {
  const [cos, sin, side] = [Math.cos(rotation), Math.sin(rotation), mirror ? -1 : 1]
  const circles = shapes.map(bounds)
  const inverse = 1 / scale
  const radius = reach * scale + 1
  const [left, right] = [Math.max(0, Math.floor(x - radius)), Math.min(width - 1, Math.ceil(x + radius))]
  const [top, bottom] = [Math.max(0, Math.floor(y - radius)), Math.min(height - 1, Math.ceil(y + radius))]
  for (let row = top; row <= bottom; row++) {
    const dy = (row + 0.5 - y) * inverse
    for (let column = left; column <= right; column++) {
      const dx = (column + 0.5 - x) * inverse
      const [px, py] = [side * (cos * dx + sin * dy), cos * dy - sin * dx]
      let nearest = 0.3
      for (let index = 0; index < shapes.length; index++) {
        const circle = circles[index] as readonly [number, number, number]
        // A shape whose circle is farther than what is known cannot be nearer.
        if (length(px - circle[0], py - circle[1]) - circle[2] < nearest) {
          nearest = Math.min(nearest, distanceTo(shapes[index] as Shape, px, py))
        }
      }
      if (nearest < 0.3) visit(row * width + column, nearest)
    }
  }
}

/** Blends a colour into a pixel. */
export function blend(rgb: Float32Array, pixel: number, colour: Rgb, weight: number): void {
  const at = pixel * 3
  rgb[at] = (rgb[at] as number) + (colour[0] - (rgb[at] as number)) * weight
  rgb[at + 1] = (rgb[at + 1] as number) + (colour[1] - (rgb[at + 1] as number)) * weight
  rgb[at + 2] = (rgb[at + 2] as number) + (colour[2] - (rgb[at + 2] as number)) * weight
}

/** Paints the shape over the canvas. */
export function paint(target: Canvas, shape: Shape, transform: Transform, colour: Rgb, grow = 0, opacity = 1): void {
  rasterise(shape, transform, target.width, target.height, grow, (index, coverage) => {
    blend(target.rgb, index, colour, coverage * opacity)
  })
}

export const ellipse = (x: number, y: number, rx: number, ry: number, turn = 0): Shape => ({
  kind: 'ellipse',
  x,
  y,
  rx,
  ry,
  turn,
})
export const disc = (x: number, y: number, r: number): Shape => ellipse(x, y, r, r)
export const capsule = (x1: number, y1: number, x2: number, y2: number, radius: number): Shape => ({
  kind: 'capsule',
  x1,
  y1,
  x2,
  y2,
  radius,
})
export const box = (x: number, y: number, hw: number, hh: number, radius = 0, turn = 0): Shape => ({
  kind: 'box',
  x,
  y,
  hw,
  hh,
  radius,
  turn,
})
export const polygon = (points: readonly (readonly [number, number])[], radius = 0): Shape => ({
  kind: 'polygon',
  points,
  radius,
})

/** Centre and reach of a circle around the shape. */
function bounds(shape: Shape): readonly [number, number, number] {
  switch (shape.kind) {
    case 'ellipse':
      return [shape.x, shape.y, Math.max(shape.rx, shape.ry)]
    case 'capsule': {
      const half = Math.hypot(shape.x2 - shape.x1, shape.y2 - shape.y1) / 2
      return [(shape.x1 + shape.x2) / 2, (shape.y1 + shape.y2) / 2, half + shape.radius]
    }
    case 'box':
      return [shape.x, shape.y, Math.hypot(shape.hw, shape.hh)]
    case 'polygon': {
      const xs = shape.points.map(([px]) => px)
      const ys = shape.points.map(([, py]) => py)
      const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)]
      return [(x0 + x1) / 2, (y0 + y1) / 2, Math.hypot(x1 - x0, y1 - y0) / 2 + shape.radius]
    }
    default:
      return shape satisfies never
  }
}

function distanceTo(shape: Shape, px: number, py: number): number {
  switch (shape.kind) {
    case 'ellipse':
      return ellipseDistance(shape, px - shape.x, py - shape.y)
    case 'capsule': {
      const [ax, ay] = [shape.x2 - shape.x1, shape.y2 - shape.y1]
      const [bx, by] = [px - shape.x1, py - shape.y1]
      const along = Math.min(1, Math.max(0, (ax * bx + ay * by) / (ax * ax + ay * ay || 1)))
      return length(bx - along * ax, by - along * ay) - shape.radius
    }
    case 'box': {
      const [x, y] = turned(px - shape.x, py - shape.y, shape.turn)
      const dx = Math.abs(x) - shape.hw + shape.radius
      const dy = Math.abs(y) - shape.hh + shape.radius
      return length(Math.max(dx, 0), Math.max(dy, 0)) + Math.min(Math.max(dx, dy), 0) - shape.radius
    }
    case 'polygon':
      return polygonDistance(shape.points, px, py) - shape.radius
    default:
      return shape satisfies never
  }
}

function ellipseDistance({ rx, ry, turn }: Extract<Shape, { kind: 'ellipse' }>, dx: number, dy: number): number {
  if (rx === ry) return length(dx, dy) - rx
  const [x, y] = turned(dx, dy, turn)
  const k0 = length(x / rx, y / ry)
  const k1 = length(x / (rx * rx), y / (ry * ry))
  return k1 === 0 ? -Math.min(rx, ry) : (k0 * (k0 - 1)) / k1
}

function polygonDistance(points: readonly (readonly [number, number])[], px: number, py: number): number {
  let nearest = Number.POSITIVE_INFINITY
  let inside = false
  let [lastX, lastY] = points[points.length - 1] as readonly [number, number]
  for (const [x, y] of points) {
    const [ex, ey, wx, wy] = [lastX - x, lastY - y, px - x, py - y]
    const along = Math.min(1, Math.max(0, (wx * ex + wy * ey) / (ex * ex + ey * ey || 1)))
    const [bx, by] = [wx - ex * along, wy - ey * along]
    nearest = Math.min(nearest, bx * bx + by * by)
    if (y > py !== lastY > py && px < ((lastX - x) * (py - y)) / (lastY - y) + x) inside = !inside
    ;[lastX, lastY] = [x, y]
  }
  return inside ? -Math.sqrt(nearest) : Math.sqrt(nearest)
}

function turned(x: number, y: number, turn: number): readonly [number, number] {
  if (turn === 0) return [x, y]
  const [cos, sin] = [Math.cos(turn), Math.sin(turn)]
  return [cos * x + sin * y, cos * y - sin * x]
}

/** Math.hypot guards against overflow at ten times the price. */
const length = (x: number, y: number): number => Math.sqrt(x * x + y * y)
