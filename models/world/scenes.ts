/**
 * The eight scenes: a palette, a horizon and details that no two clips share.
 *
 * Painted once per clip on a canvas wider than the frame, which the camera then looks at (renderer.ts). Units: the
 * frame's short side is one, y = 0 at the frame's top; x runs from −margin to width + margin. Soft shapes of some
 * size, no noise: a small autoencoder must learn them, and phase correlation must see them move.
 */

import type { RandomStream } from '../../shared/random.ts'
import { box, type Canvas, canvas, capsule, disc, ellipse, paint, polygon, type Rgb, type Shape } from './draw.ts'
import type { Scene } from './vocabulary.ts'

/** The two colours that fill most of a scene: above the horizon and below it. */
export interface Palette {
  readonly above: Rgb
  readonly below: Rgb
}

export const scenePalettes: Readonly<Record<Scene, Palette>> = {
  meadow: { above: [186, 222, 244], below: [148, 196, 116] },
  sea: { above: [206, 232, 244], below: [86, 160, 196] },
  desert: { above: [250, 226, 190], below: [226, 188, 124] },
  snow: { above: [196, 208, 228], below: [238, 243, 250] },
  'night sky': { above: [30, 34, 72], below: [22, 26, 52] },
  city: { above: [226, 212, 208], below: [108, 108, 120] },
  forest: { above: [112, 146, 112], below: [106, 110, 72] },
  room: { above: [236, 214, 190], below: [168, 122, 92] },
}

/** How far the painted scene reaches beyond the frame, in short sides. */
export const sceneMargin = 0.45

type Stroke = (shape: Shape, colour: Rgb, opacity?: number) => void

/** Paints a scene for a frame of `aspect` = width / height units by one, `scale` pixels to the unit. */
export function paintScene(scene: Scene, random: RandomStream, width: number, height: number, scale: number): Canvas {
  const target = canvas(Math.ceil((width + 2 * sceneMargin) * scale), Math.ceil(height * scale))
  const transform = { x: sceneMargin * scale, y: 0, scale, rotation: 0, mirror: false }
  const stroke: Stroke = (shape, colour, opacity = 1) => paint(target, shape, transform, colour, 0, opacity)
  const { above, below } = scenePalettes[scene]
  const horizon = height * random.between(0.52, 0.68)
  const area = { left: -sceneMargin, right: width + sceneMargin, height, horizon }
  fill(target, above)
  sceneDetails[scene](stroke, random, area, below)
  return target
}

interface Area {
  readonly left: number
  readonly right: number
  readonly height: number
  readonly horizon: number
}

type Details = (stroke: Stroke, random: RandomStream, area: Area, below: Rgb) => void

const sceneDetails: Readonly<Record<Scene, Details>> = {
  meadow: (stroke, random, area, below) => {
    clouds(stroke, random, area, [246, 250, 252], 4)
    along(random, area, 5, (x) =>
      stroke(ellipse(x, area.horizon + 0.1, random.between(0.3, 0.5), random.between(0.16, 0.3)), [126, 180, 108]),
    )
    ground(stroke, area, below)
    along(random, area, 9, (x) => tuft(stroke, x, random.between(area.horizon + 0.08, area.height), [118, 170, 92]))
    along(random, area, 6, (x) =>
      stroke(disc(x, random.between(area.horizon + 0.08, area.height), 0.03), random.pick(blossoms)),
    )
  },
  sea: (stroke, random, area, below) => {
    stroke(disc(random.between(area.left, area.right), random.between(0.1, 0.25), 0.1), [252, 240, 190])
    clouds(stroke, random, area, [244, 250, 252], 4)
    ground(stroke, area, below)
    for (let row = 0; row < 5; row++) {
      const y = area.horizon + 0.05 + row * 0.09
      along(random, area, 5, (x) => stroke(capsule(x, y, x + random.between(0.08, 0.2), y, 0.014), [150, 204, 224]))
    }
  },
  desert: (stroke, random, area, below) => {
    stroke(disc(random.between(area.left, area.right), random.between(0.12, 0.28), 0.12), [255, 244, 204])
    along(random, area, 5, (x) =>
      stroke(ellipse(x, area.horizon + 0.08, random.between(0.3, 0.55), random.between(0.14, 0.26)), [236, 200, 140]),
    )
    ground(stroke, area, below)
    along(random, area, 6, (x) =>
      stroke(
        ellipse(x, random.between(area.horizon + 0.1, area.height), random.between(0.14, 0.3), 0.03),
        [208, 166, 104],
      ),
    )
    along(random, area, 4, (x) => cactus(stroke, x, random.between(area.horizon + 0.04, area.horizon + 0.2)))
  },
  snow: (stroke, random, area, below) => {
    along(random, area, 5, (x) => pine(stroke, x, area.horizon + 0.06, random.between(0.2, 0.34), [124, 150, 160]))
    ground(stroke, area, below)
    along(random, area, 6, (x) =>
      stroke(
        ellipse(x, random.between(area.horizon + 0.06, area.height), random.between(0.12, 0.28), 0.035),
        [214, 224, 238],
      ),
    )
    along(random, area, 16, (x) =>
      stroke(disc(x, random.between(0, area.height), random.between(0.016, 0.03)), [252, 253, 255]),
    )
  },
  'night sky': (stroke, random, area, below) => {
    const moon = random.between(area.left + 0.2, area.right - 0.2)
    stroke(disc(moon, random.between(0.14, 0.26), 0.11), [244, 236, 200])
    along(random, area, 26, (x) =>
      stroke(disc(x, random.between(0, area.horizon + 0.2), random.between(0.012, 0.026)), [226, 226, 246]),
    )
    along(random, area, 5, (x) =>
      stroke(ellipse(x, random.between(0.2, area.horizon), random.between(0.16, 0.3), 0.04), [54, 58, 104]),
    )
    along(random, area, 4, (x) =>
      stroke(ellipse(x, area.height, random.between(0.3, 0.5), random.between(0.12, 0.24)), below),
    )
  },
  city: (stroke, random, area, below) => {
    along(random, area, 8, (x) => tower(stroke, random, x, area.horizon))
    ground(stroke, { ...area, horizon: area.horizon + 0.04 }, below)
    along(random, area, 6, (x) =>
      stroke(capsule(x, area.horizon + 0.2, x + 0.12, area.horizon + 0.2, 0.016), [214, 206, 170]),
    )
  },
  forest: (stroke, random, area, below) => {
    along(random, area, 8, (x) => stroke(box(x, area.horizon - 0.3, random.between(0.03, 0.05), 0.6), [86, 110, 84]))
    ground(stroke, area, below)
    along(random, area, 6, (x) =>
      stroke(box(x, area.horizon - 0.3, random.between(0.045, 0.07), 0.46, 0.02), [100, 78, 62]),
    )
    along(random, area, 8, (x) =>
      stroke(ellipse(x, random.between(0, 0.1), random.between(0.18, 0.3), random.between(0.1, 0.18)), [66, 104, 74]),
    )
    along(random, area, 7, (x) => tuft(stroke, x, random.between(area.horizon + 0.06, area.height), [88, 128, 76]))
  },
  room: (stroke, random, area, below) => {
    along(random, area, 7, (x) => stroke(box(x, area.horizon / 2, 0.02, area.horizon / 2), [226, 200, 174]))
    along(random, area, 2, (x) => pane(stroke, x, 0.24))
    along(random, area, 3, (x) => stroke(box(x, random.between(0.16, 0.32), 0.08, 0.1, 0.01), random.pick(frames)))
    ground(stroke, area, below)
    stroke(box((area.left + area.right) / 2, area.horizon, (area.right - area.left) / 2, 0.016), [244, 234, 220])
    const rug = random.between(0.2, 0.8)
    stroke(ellipse(rug, area.horizon + 0.22, 0.42, 0.1), random.pick(frames))
    stroke(ellipse(rug, area.horizon + 0.22, 0.3, 0.06), [240, 224, 200])
  },
}

const blossoms: readonly Rgb[] = [
  [250, 236, 170],
  [244, 190, 200],
  [236, 236, 246],
]
const frames: readonly Rgb[] = [
  [150, 168, 176],
  [186, 140, 130],
  [150, 160, 128],
]

/** Visits evenly spread places with jitter, so that every part of a scene has something to see. */
function along(random: RandomStream, { left, right }: Area, count: number, visit: (x: number) => void): void {
  const step = (right - left) / count
  for (let n = 0; n < count; n++) visit(left + (n + random.between(0.1, 0.9)) * step)
}

function ground(stroke: Stroke, { left, right, height, horizon }: Area, colour: Rgb): void {
  stroke(
    box((left + right) / 2, (horizon + height) / 2 + 0.5, (right - left) / 2 + 1, (height - horizon) / 2 + 0.5),
    colour,
  )
}

function clouds(stroke: Stroke, random: RandomStream, area: Area, colour: Rgb, count: number): void {
  along(random, area, count, (x) => {
    const y = random.between(0.08, area.horizon * 0.6)
    const size = random.between(0.07, 0.11)
    stroke(ellipse(x, y, size * 2, size * 0.7), colour, 0.9)
    stroke(disc(x - size * 0.5, y - size * 0.4, size * 0.8), colour, 0.9)
    stroke(disc(x + size * 0.6, y - size * 0.3, size * 0.65), colour, 0.9)
  })
}

function tuft(stroke: Stroke, x: number, y: number, colour: Rgb): void {
  for (const lean of [-0.05, 0, 0.05]) stroke(capsule(x, y, x + lean, y - 0.06, 0.014), colour)
}

function cactus(stroke: Stroke, x: number, y: number): void {
  const colour: Rgb = [122, 156, 104]
  stroke(capsule(x, y, x, y - 0.22, 0.035), colour)
  stroke(capsule(x, y - 0.1, x + 0.08, y - 0.12, 0.022), colour)
  stroke(capsule(x + 0.08, y - 0.12, x + 0.08, y - 0.18, 0.022), colour)
}

function pine(stroke: Stroke, x: number, y: number, height: number, colour: Rgb): void {
  for (const [part, half] of [
    [0, 0.4],
    [0.3, 0.32],
    [0.6, 0.22],
  ] as const) {
    stroke(
      polygon(
        [
          [x - half * height, y - part * height],
          [x + half * height, y - part * height],
          [x, y - (part + 0.5) * height],
        ],
        0.008,
      ),
      colour,
    )
  }
}

function tower(stroke: Stroke, random: RandomStream, x: number, horizon: number): void {
  const [half, tall] = [random.between(0.08, 0.12), random.between(0.22, 0.5)]
  stroke(
    box(x, horizon - tall / 2 + 0.05, half, tall / 2 + 0.05, 0.01),
    random.pick([
      [160, 158, 172],
      [136, 136, 156],
      [182, 170, 172],
    ] as const),
  )
  for (let y = horizon - tall + 0.06; y < horizon - 0.04; y += 0.1) {
    for (const side of [-0.45, 0.45]) {
      const lit = random.chance(0.5)
      stroke(box(x + side * half, y, 0.022, 0.026, 0.004), lit ? [248, 228, 160] : [108, 112, 136])
    }
  }
}

function pane(stroke: Stroke, x: number, y: number): void {
  stroke(box(x, y, 0.16, 0.17, 0.02), [250, 244, 232])
  stroke(box(x, y, 0.13, 0.14), [176, 214, 236])
  stroke(box(x, y, 0.012, 0.14), [250, 244, 232])
}

function fill({ rgb }: Canvas, [r, g, b]: Rgb): void {
  for (let index = 0; index < rgb.length; index += 3) {
    rgb[index] = r
    rgb[index + 1] = g
    rgb[index + 2] = b
  }
}
