/**
 * How the twenty-four puppets look and live: a few vector parts each, drawn for a small sticker.
 *
 * Units: the puppet fits a disc of radius one, x to the right (its facing), y down. `main` parts take the asked colour,
 * `shade` and `tint` its darker and lighter kin; accents are fixed. `time` in seconds moves the joints. Knows neither
 * where the puppet stands nor how big it is (motion.ts), nor the die-cut rim (sticker.ts).
 */

import { box, capsule, disc, ellipse, polygon, type Rgb, type Shape } from './draw.ts'
import type { Puppet } from './vocabulary.ts'

export type Paint = 'main' | 'shade' | 'tint' | Rgb

export interface Part {
  readonly shape: Shape
  readonly paint: Paint
  /** Painted inside the silhouette only: no rim of its own. */
  readonly inner: boolean
}

export interface Pose {
  /** Seconds. */
  readonly time: number
  /** 0…1, where in its own cycle the puppet began. */
  readonly phase: number
}

const ink: Rgb = [38, 36, 54]
const paper: Rgb = [250, 248, 242]
const cream: Rgb = [252, 228, 196]
const gold: Rgb = [255, 200, 60]
const ember: Rgb = [255, 130, 40]
const steel: Rgb = [150, 160, 176]
const wood: Rgb = [150, 104, 70]
const leaf: Rgb = [96, 160, 84]
const glass: Rgb = [170, 220, 240]

const out = (shape: Shape, paint: Paint): Part => ({ shape, paint, inner: false })
const on = (shape: Shape, paint: Paint): Part => ({ shape, paint, inner: true })

/** A swing of `amplitude` at `rate` cycles a second. */
const swing = ({ time, phase }: Pose, rate: number, amplitude: number): number =>
  amplitude * Math.sin(2 * Math.PI * (rate * time + phase))

/** Eyes close for an eighth of a second now and then. */
function eye(pose: Pose, x: number, y: number, r = 0.11): Part[] {
  const closed = (pose.time * 0.6 + pose.phase) % 1 > 0.92
  if (closed) return [on(capsule(x - r, y, x + r, y, 0.035), ink)]
  return [on(disc(x, y, r), ink), on(disc(x + 0.03, y - 0.04, r * 0.38), paper)]
}

const cheeks = (x: number, y: number, apart: number): Part[] => [
  on(disc(x - apart, y, 0.09), [255, 160, 150]),
  on(disc(x + apart, y, 0.09), [255, 160, 150]),
]

export const puppetParts: Readonly<Record<Puppet, (pose: Pose) => readonly Part[]>> = {
  fox: (pose) => {
    const tail = swing(pose, 1.2, 0.16)
    return [
      out(capsule(-0.42, 0.3, -0.82, -0.12 + tail, 0.22), 'main'),
      on(disc(-0.86, -0.2 + tail, 0.15), paper),
      out(capsule(-0.36, 0.5, -0.36, 0.82, 0.1), 'shade'),
      out(capsule(0.1, 0.5, 0.1, 0.82, 0.1), 'shade'),
      out(ellipse(-0.14, 0.36, 0.44, 0.3), 'main'),
      out(
        polygon(
          [
            [0.12, -0.42],
            [0.2, -0.96],
            [0.46, -0.5],
          ],
          0.03,
        ),
        'main',
      ),
      out(
        polygon(
          [
            [0.46, -0.48],
            [0.74, -0.92],
            [0.78, -0.36],
          ],
          0.03,
        ),
        'main',
      ),
      out(ellipse(0.42, -0.2, 0.4, 0.36), 'main'),
      out(
        polygon(
          [
            [0.42, 0],
            [0.98, 0.06],
            [0.5, 0.2],
          ],
          0.05,
        ),
        paper,
      ),
      on(disc(0.96, 0.04, 0.08), ink),
      ...eye(pose, 0.46, -0.24),
    ]
  },
  cat: (pose) => {
    const tail = swing(pose, 0.9, 0.2)
    return [
      out(capsule(0.42, 0.66, 0.82, 0.3, 0.09), 'main'),
      out(capsule(0.82, 0.3, 0.78 + tail, -0.16, 0.09), 'main'),
      out(ellipse(0, 0.56, 0.46, 0.38), 'main'),
      out(
        polygon(
          [
            [-0.58, -0.3],
            [-0.56, -0.94],
            [-0.12, -0.62],
          ],
          0.03,
        ),
        'main',
      ),
      out(
        polygon(
          [
            [0.58, -0.3],
            [0.56, -0.94],
            [0.12, -0.62],
          ],
          0.03,
        ),
        'main',
      ),
      out(ellipse(0, -0.2, 0.6, 0.46), 'main'),
      on(
        polygon([
          [-0.46, -0.5],
          [-0.46, -0.76],
          [-0.28, -0.6],
        ]),
        [255, 170, 170],
      ),
      on(
        polygon([
          [0.46, -0.5],
          [0.46, -0.76],
          [0.28, -0.6],
        ]),
        [255, 170, 170],
      ),
      on(ellipse(0, 0.62, 0.24, 0.22), 'tint'),
      on(capsule(-0.3, 0.02, -0.74, -0.02, 0.025), ink),
      on(capsule(-0.3, 0.1, -0.7, 0.16, 0.025), ink),
      on(capsule(0.3, 0.02, 0.74, -0.02, 0.025), ink),
      on(capsule(0.3, 0.1, 0.7, 0.16, 0.025), ink),
      on(
        polygon([
          [-0.08, -0.02],
          [0.08, -0.02],
          [0, 0.08],
        ]),
        [240, 110, 120],
      ),
      ...eye(pose, -0.24, -0.22, 0.12),
      ...eye(pose, 0.24, -0.22, 0.12),
    ]
  },
  dog: (pose) => {
    const wag = swing(pose, 2.6, 0.22)
    return [
      out(capsule(-0.6, 0.24, -0.86, -0.14 + wag, 0.09), 'main'),
      out(capsule(-0.48, 0.5, -0.48, 0.84, 0.12), 'main'),
      out(capsule(0.12, 0.5, 0.12, 0.84, 0.12), 'main'),
      out(box(-0.18, 0.34, 0.5, 0.28, 0.24), 'main'),
      on(ellipse(-0.3, 0.26, 0.2, 0.16), 'tint'),
      out(box(0.4, -0.28, 0.4, 0.38, 0.22), 'main'),
      out(box(0.72, -0.1, 0.26, 0.2, 0.16), 'tint'),
      on(disc(0.9, -0.2, 0.1), ink),
      out(ellipse(0.08, -0.22, 0.18, 0.42, 0.2), wood),
      on(capsule(0.7, 0.06, 0.72, 0.2, 0.07), [240, 100, 110]),
      ...eye(pose, 0.46, -0.36),
    ]
  },
  rabbit: (pose) => {
    const ear = swing(pose, 1, 0.08)
    return [
      out(ellipse(-0.22 - ear, -0.66, 0.13, 0.36, -0.1 - ear), 'main'),
      out(ellipse(0.22 + ear, -0.66, 0.13, 0.36, 0.1 + ear), 'main'),
      on(ellipse(-0.22 - ear, -0.62, 0.06, 0.25, -0.1 - ear), [255, 180, 185]),
      on(ellipse(0.22 + ear, -0.62, 0.06, 0.25, 0.1 + ear), [255, 180, 185]),
      out(disc(-0.46, 0.72, 0.14), paper),
      out(ellipse(0, 0.58, 0.42, 0.38), 'main'),
      out(ellipse(0, -0.04, 0.46, 0.4), 'main'),
      out(ellipse(-0.24, 0.9, 0.2, 0.1), 'tint'),
      out(ellipse(0.24, 0.9, 0.2, 0.1), 'tint'),
      on(ellipse(0, 0.58, 0.22, 0.22), paper),
      on(disc(0, 0.04, 0.07), [240, 110, 120]),
      on(box(0, 0.2, 0.08, 0.08, 0.02), paper),
      ...eye(pose, -0.2, -0.08),
      ...eye(pose, 0.2, -0.08),
    ]
  },
  bear: (pose) => {
    const wave = swing(pose, 1.1, 0.08)
    return [
      out(disc(-0.5, -0.66, 0.24), 'main'),
      out(disc(0.5, -0.66, 0.24), 'main'),
      out(ellipse(0, 0.5, 0.58, 0.48), 'main'),
      out(ellipse(-0.6, 0.34 + wave, 0.2, 0.26, 0.5), 'main'),
      out(ellipse(0.6, 0.34 - wave, 0.2, 0.26, -0.5), 'main'),
      out(ellipse(0, -0.26, 0.64, 0.52), 'main'),
      on(disc(-0.5, -0.66, 0.12), 'shade'),
      on(disc(0.5, -0.66, 0.12), 'shade'),
      on(ellipse(0, 0.56, 0.34, 0.3), cream),
      on(ellipse(0, -0.08, 0.28, 0.22), cream),
      on(ellipse(0, -0.16, 0.12, 0.09), ink),
      ...eye(pose, -0.27, -0.36, 0.1),
      ...eye(pose, 0.27, -0.36, 0.1),
    ]
  },
  frog: (pose) => {
    const puff = swing(pose, 1.3, 0.05)
    return [
      out(ellipse(-0.7, 0.44, 0.26, 0.34, 0.5), 'shade'),
      out(ellipse(0.7, 0.44, 0.26, 0.34, -0.5), 'shade'),
      out(capsule(-0.92, 0.78, -0.5, 0.78, 0.1), 'main'),
      out(capsule(0.92, 0.78, 0.5, 0.78, 0.1), 'main'),
      out(disc(-0.4, -0.42, 0.28), 'main'),
      out(disc(0.4, -0.42, 0.28), 'main'),
      out(ellipse(0, 0.2, 0.8, 0.56 + puff), 'main'),
      on(ellipse(0, 0.46, 0.44, 0.26), cream),
      on(disc(-0.4, -0.46, 0.19), paper),
      on(disc(0.4, -0.46, 0.19), paper),
      on(capsule(-0.42, 0.08, 0.42, 0.08, 0.04), ink),
      ...eye(pose, -0.38, -0.46, 0.1),
      ...eye(pose, 0.42, -0.46, 0.1),
    ]
  },
  bird: (pose) => {
    const flap = swing(pose, 2.2, 0.55)
    return [
      out(
        polygon(
          [
            [-0.48, 0.06],
            [-0.98, -0.2],
            [-0.96, 0.22],
          ],
          0.04,
        ),
        'shade',
      ),
      out(ellipse(0, 0.08, 0.62, 0.44), 'main'),
      out(disc(0.48, -0.26, 0.34), 'main'),
      out(
        polygon(
          [
            [0.76, -0.34],
            [1.08, -0.2],
            [0.74, -0.1],
          ],
          0.03,
        ),
        ember,
      ),
      on(ellipse(0.12, 0.24, 0.36, 0.22), 'tint'),
      out(
        polygon(
          [
            [-0.28, -0.06],
            [0.22, -0.02],
            [-0.32, -0.18 - 1.2 * flap],
          ],
          0.1,
        ),
        'shade',
      ),
      ...eye(pose, 0.54, -0.32),
    ]
  },
  fish: (pose) => {
    const tail = swing(pose, 2, 0.22)
    return [
      out(
        polygon(
          [
            [-0.42, 0],
            [-0.98, -0.46 + tail],
            [-0.84, tail * 0.6],
            [-0.98, 0.46 + tail],
          ],
          0.05,
        ),
        'shade',
      ),
      out(
        polygon(
          [
            [-0.2, -0.36],
            [0.24, -0.74],
            [0.32, -0.34],
          ],
          0.05,
        ),
        'shade',
      ),
      out(ellipse(0.16, 0, 0.7, 0.48), 'main'),
      on(ellipse(-0.06, 0, 0.1, 0.42), 'tint'),
      on(ellipse(-0.32, 0, 0.07, 0.3), 'tint'),
      on(ellipse(0.1, 0.16 - tail * 0.3, 0.2, 0.1, 0.4), 'shade'),
      on(capsule(0.66, 0.16, 0.82, 0.12, 0.03), ink),
      on(disc(0.52, -0.12, 0.17), paper),
      ...eye(pose, 0.55, -0.12, 0.1),
    ]
  },
  whale: (pose) => {
    const spout = 0.08 * Math.abs(Math.sin(Math.PI * (pose.time + pose.phase)))
    const tail = swing(pose, 1, 0.14)
    return [
      out(capsule(0.2, -0.46, 0.04, -0.82 - spout, 0.07), glass),
      out(capsule(0.2, -0.46, 0.4, -0.82 - spout, 0.07), glass),
      out(capsule(-0.5, 0.24, -0.84, -0.16 + tail, 0.13), 'main'),
      out(ellipse(-0.98, -0.24 + tail, 0.22, 0.12, 0.5), 'main'),
      out(ellipse(-0.72, -0.34 + tail, 0.22, 0.12, -0.6), 'main'),
      out(ellipse(0.16, 0.16, 0.8, 0.56), 'main'),
      on(ellipse(0.32, 0.48, 0.54, 0.2), paper),
      on(ellipse(-0.02, 0.4, 0.24, 0.12, 0.6), 'shade'),
      on(capsule(0.66, 0.26, 0.9, 0.2, 0.03), ink),
      ...eye(pose, 0.56, 0.02, 0.09),
    ]
  },
  butterfly: (pose) => {
    const spread = 0.62 + swing(pose, 1.8, 0.34)
    const wing = (side: number): Part[] => [
      out(ellipse(side * 0.52 * spread, -0.34, 0.52 * spread, 0.46, side * 0.35), 'main'),
      out(ellipse(side * 0.42 * spread, 0.4, 0.4 * spread, 0.36, -side * 0.35), 'main'),
      on(ellipse(side * 0.58 * spread, -0.38, 0.22 * spread, 0.2), 'tint'),
      on(ellipse(side * 0.44 * spread, 0.42, 0.16 * spread, 0.15), gold),
    ]
    return [
      out(capsule(0, -0.5, -0.22, -0.9, 0.04), ink),
      out(capsule(0, -0.5, 0.22, -0.9, 0.04), ink),
      ...wing(-1),
      ...wing(1),
      out(capsule(0, -0.46, 0, 0.6, 0.11), ink),
    ]
  },
  snail: (pose) => {
    const stretch = swing(pose, 0.8, 0.06)
    return [
      out(capsule(0.6 + stretch, 0.3, 0.54 + stretch, -0.3, 0.05), cream),
      out(capsule(0.74 + stretch, 0.3, 0.86 + stretch, -0.24, 0.05), cream),
      out(capsule(-0.86, 0.72, 0.5 + stretch, 0.72, 0.16), cream),
      out(capsule(0.5 + stretch, 0.68, 0.68 + stretch, 0.34, 0.17), cream),
      out(disc(-0.16, 0.08, 0.62), 'main'),
      on(disc(-0.12, 0.12, 0.44), 'shade'),
      on(disc(-0.08, 0.14, 0.32), 'main'),
      on(disc(-0.05, 0.16, 0.17), 'shade'),
      on(disc(-0.03, 0.16, 0.08), 'main'),
      on(disc(0.54 + stretch, -0.32, 0.09), ink),
      on(disc(0.86 + stretch, -0.26, 0.09), ink),
    ]
  },
  crab: (pose) => {
    const snap = swing(pose, 1.6, 0.1)
    const side = (s: number): Part[] => [
      ...[0, 1, 2].map((n) =>
        out(capsule(s * 0.44, 0.3 + 0.08 * n, s * (0.92 - 0.12 * n), 0.5 + 0.18 * n + snap * 0.4, 0.06), 'shade'),
      ),
      out(capsule(s * 0.5, 0, s * 0.8, -0.36 + s * snap, 0.1), 'shade'),
      out(disc(s * 0.78, -0.58 + s * snap, 0.26), 'main'),
      on(
        polygon([
          [s * 0.78, -0.56 + s * snap],
          [s * 0.7, -0.92 + s * snap],
          [s * 0.98, -0.86 + s * snap],
        ]),
        ink,
      ),
      out(capsule(s * 0.2, -0.1, s * 0.24, -0.36, 0.05), 'shade'),
    ]
    return [
      ...side(-1),
      ...side(1),
      out(ellipse(0, 0.2, 0.66, 0.4), 'main'),
      on(disc(-0.24, -0.4, 0.13), paper),
      on(disc(0.24, -0.4, 0.13), paper),
      on(capsule(-0.2, 0.34, 0.2, 0.34, 0.04), ink),
      ...eye(pose, -0.24, -0.4, 0.08),
      ...eye(pose, 0.24, -0.4, 0.08),
    ]
  },
  ghost: (pose) => {
    const wave = swing(pose, 1, 0.07)
    return [
      out(disc(0, -0.28, 0.62), 'main'),
      out(box(0, 0.2, 0.62, 0.5, 0.05), 'main'),
      out(disc(-0.42, 0.7 + wave, 0.2), 'main'),
      out(disc(0, 0.7 - wave, 0.2), 'main'),
      out(disc(0.42, 0.7 + wave, 0.2), 'main'),
      out(ellipse(-0.68, 0.14 - wave, 0.2, 0.13, 0.5), 'main'),
      out(ellipse(0.68, 0.14 + wave, 0.2, 0.13, -0.5), 'main'),
      on(ellipse(0.04, 0.1, 0.14, 0.19), ink),
      on(ellipse(-0.2, -0.3, 0.12, 0.17), ink),
      on(ellipse(0.28, -0.3, 0.12, 0.17), ink),
      ...cheeks(0.04, -0.06, 0.42),
    ]
  },
  robot: (pose) => {
    const lamp = swing(pose, 1.5, 1) > 0 ? gold : ember
    const arm = swing(pose, 1, 0.14)
    return [
      out(capsule(0, -0.6, 0, -0.86, 0.05), steel),
      out(disc(0, -0.9, 0.12), lamp),
      out(capsule(-0.58, 0.24, -0.82, 0.46 + arm, 0.1), steel),
      out(capsule(0.58, 0.24, 0.82, 0.46 - arm, 0.1), steel),
      out(box(-0.26, 0.84, 0.16, 0.16, 0.04), steel),
      out(box(0.26, 0.84, 0.16, 0.16, 0.04), steel),
      out(box(0, 0.38, 0.54, 0.4, 0.08), 'main'),
      out(box(0, -0.32, 0.62, 0.36, 0.1), 'main'),
      on(box(0, -0.32, 0.46, 0.2, 0.06), ink),
      on(disc(-0.2, -0.32, 0.11), glass),
      on(disc(0.2, -0.32, 0.11), glass),
      on(box(0, 0.38, 0.26, 0.18, 0.04), 'tint'),
      on(disc(-0.1, 0.38, 0.07), [240, 90, 80]),
      on(disc(0.12, 0.38, 0.07), [90, 200, 110]),
    ]
  },
  rocket: (pose) => {
    const flame = 0.12 * Math.abs(Math.sin(2 * Math.PI * (2.7 * pose.time + pose.phase)))
    return [
      out(
        polygon(
          [
            [-0.2, 0.56],
            [0.2, 0.56],
            [0, 0.92 + flame],
          ],
          0.06,
        ),
        ember,
      ),
      on(
        polygon(
          [
            [-0.1, 0.56],
            [0.1, 0.56],
            [0, 0.74 + flame],
          ],
          0.03,
        ),
        gold,
      ),
      out(
        polygon(
          [
            [-0.3, 0.1],
            [-0.66, 0.62],
            [-0.28, 0.52],
          ],
          0.05,
        ),
        'shade',
      ),
      out(
        polygon(
          [
            [0.3, 0.1],
            [0.66, 0.62],
            [0.28, 0.52],
          ],
          0.05,
        ),
        'shade',
      ),
      out(ellipse(0, -0.16, 0.4, 0.76), 'main'),
      out(
        polygon(
          [
            [-0.22, -0.74],
            [0.22, -0.74],
            [0, -1],
          ],
          0.04,
        ),
        paper,
      ),
      on(box(0, 0.46, 0.26, 0.06), steel),
      on(disc(0, -0.22, 0.22), steel),
      on(disc(0, -0.22, 0.16), glass),
    ]
  },
  car: (pose) => {
    const turn = 2 * Math.PI * (1.4 * pose.time + pose.phase)
    const wheel = (x: number): Part[] => [
      out(disc(x, 0.44, 0.25), ink),
      on(disc(x, 0.44, 0.13), steel),
      on(
        capsule(
          x - 0.11 * Math.cos(turn),
          0.44 - 0.11 * Math.sin(turn),
          x + 0.11 * Math.cos(turn),
          0.44 + 0.11 * Math.sin(turn),
          0.03,
        ),
        ink,
      ),
    ]
    return [
      out(
        polygon(
          [
            [-0.56, -0.08],
            [-0.36, -0.5],
            [0.3, -0.5],
            [0.56, -0.08],
          ],
          0.08,
        ),
        'main',
      ),
      out(box(0, 0.14, 0.98, 0.3, 0.16), 'main'),
      on(
        polygon([
          [-0.42, -0.1],
          [-0.28, -0.42],
          [-0.02, -0.42],
          [-0.02, -0.1],
        ]),
        glass,
      ),
      on(
        polygon([
          [0.08, -0.1],
          [0.08, -0.42],
          [0.24, -0.42],
          [0.42, -0.1],
        ]),
        glass,
      ),
      on(box(0.9, 0.06, 0.07, 0.09, 0.03), gold),
      ...wheel(-0.52),
      ...wheel(0.52),
    ]
  },
  boat: (pose) => {
    const sail = swing(pose, 0.8, 0.07)
    return [
      out(capsule(0, 0.3, 0, -0.86, 0.05), wood),
      out(
        polygon(
          [
            [0.08, -0.8],
            [0.72 + sail, 0.14],
            [0.08, 0.14],
          ],
          0.03,
        ),
        paper,
      ),
      out(
        polygon(
          [
            [-0.08, -0.6],
            [-0.54 + sail, 0.14],
            [-0.08, 0.14],
          ],
          0.03,
        ),
        paper,
      ),
      out(
        polygon(
          [
            [0, -0.98],
            [-0.3, -0.9 + sail * 0.6],
            [0, -0.8],
          ],
          0.02,
        ),
        'main',
      ),
      out(
        polygon(
          [
            [-0.94, 0.3],
            [0.94, 0.3],
            [0.62, 0.78],
            [-0.62, 0.78],
          ],
          0.06,
        ),
        'main',
      ),
      on(
        polygon([
          [-0.76, 0.52],
          [0.76, 0.52],
          [0.7, 0.64],
          [-0.7, 0.64],
        ]),
        'shade',
      ),
    ]
  },
  balloon: (pose) => {
    const sway = swing(pose, 0.7, 0.1)
    return [
      out(capsule(0, 0.44, sway, 0.74, 0.03), ink),
      out(capsule(sway, 0.74, -sway * 0.6, 1, 0.03), ink),
      out(
        polygon(
          [
            [0, 0.34],
            [-0.13, 0.54],
            [0.13, 0.54],
          ],
          0.02,
        ),
        'shade',
      ),
      out(ellipse(0, -0.28, 0.58, 0.68), 'main'),
      on(ellipse(-0.22, -0.52, 0.12, 0.2, -0.4), 'tint'),
    ]
  },
  ball: (pose) => {
    const turn = 2 * Math.PI * (0.4 * pose.time + pose.phase)
    const spoke = (n: number) => {
      const angle = turn + (n * 2 * Math.PI) / 3
      return on(
        polygon([
          [0, 0],
          [0.78 * Math.cos(angle), 0.78 * Math.sin(angle)],
          [0.78 * Math.cos(angle + 0.6), 0.78 * Math.sin(angle + 0.6)],
        ]),
        paper,
      )
    }
    return [out(disc(0, 0, 0.8), 'main'), spoke(0), spoke(1), spoke(2), on(disc(0, 0, 0.16), 'shade')]
  },
  star: (pose) => {
    const grow = 1 + swing(pose, 1.2, 0.04)
    const points = Array.from({ length: 10 }, (_, n) => {
      const r = (n % 2 === 0 ? 0.96 : 0.44) * grow
      const angle = -Math.PI / 2 + (n * Math.PI) / 5
      return [r * Math.cos(angle), r * Math.sin(angle)] as const
    })
    return [
      out(polygon(points, 0.06), 'main'),
      on(capsule(-0.12, 0.2, 0.12, 0.2, 0.04), ink),
      ...eye(pose, -0.17, -0.02, 0.08),
      ...eye(pose, 0.17, -0.02, 0.08),
    ]
  },
  flower: (pose) => {
    const sway = swing(pose, 0.7, 0.08)
    const petals = Array.from({ length: 6 }, (_, n) => {
      const angle = (n * Math.PI) / 3 + sway
      return out(disc(sway + 0.4 * Math.cos(angle), -0.34 + 0.4 * Math.sin(angle), 0.26), 'main')
    })
    return [
      out(capsule(0, 0.96, sway, -0.1, 0.07), leaf),
      out(ellipse(0.24, 0.62, 0.25, 0.11, -0.5), leaf),
      out(ellipse(-0.24, 0.74, 0.25, 0.11, 0.5), leaf),
      ...petals,
      on(disc(sway, -0.34, 0.26), gold),
      on(disc(sway - 0.08, -0.36, 0.04), ink),
      on(disc(sway + 0.08, -0.36, 0.04), ink),
    ]
  },
  mushroom: (pose) => {
    const squash = swing(pose, 1, 0.03)
    return [
      out(box(0, 0.46, 0.3, 0.46, 0.16), cream),
      out(
        polygon(
          [
            [-0.86, 0.1],
            [-0.7, -0.42],
            [-0.32, -0.78 + squash],
            [0.32, -0.78 + squash],
            [0.7, -0.42],
            [0.86, 0.1],
          ],
          0.1,
        ),
        'main',
      ),
      on(disc(-0.42, -0.28, 0.17), paper),
      on(disc(0.12, -0.54, 0.16), paper),
      on(disc(0.5, -0.14, 0.15), paper),
      ...eye(pose, -0.12, 0.4, 0.07),
      ...eye(pose, 0.14, 0.4, 0.07),
    ]
  },
  cup: (pose) => {
    const steam = swing(pose, 0.9, 0.1)
    return [
      out(capsule(-0.22 + steam, -0.92, -0.22 - steam, -0.5, 0.07), paper),
      out(capsule(0.18 - steam, -0.92, 0.18 + steam, -0.5, 0.07), paper),
      out(disc(0.66, 0.26, 0.32), 'shade'),
      out(
        polygon(
          [
            [-0.68, -0.28],
            [0.62, -0.28],
            [0.46, 0.78],
            [-0.52, 0.78],
          ],
          0.08,
        ),
        'main',
      ),
      on(disc(0.7, 0.26, 0.13), ink),
      on(ellipse(-0.03, -0.26, 0.58, 0.1), wood),
      on(
        polygon([
          [-0.6, 0.16],
          [0.53, 0.16],
          [0.49, 0.38],
          [-0.57, 0.38],
        ]),
        'tint',
      ),
    ]
  },
  umbrella: (pose) => {
    const tilt = swing(pose, 0.8, 0.05)
    return [
      out(capsule(0, -0.2, 0, 0.72, 0.06), wood),
      out(capsule(0, 0.76, 0.26, 0.82, 0.06), wood),
      out(capsule(0, -0.8, 0, -0.92, 0.05), wood),
      out(
        polygon(
          [
            [-0.96, 0.04 + tilt],
            [-0.8, -0.4],
            [-0.4, -0.74],
            [0, -0.82],
            [0.4, -0.74],
            [0.8, -0.4],
            [0.96, 0.04 - tilt],
            [0.64, -0.1],
            [0.32, 0.06],
            [0, -0.1],
            [-0.32, 0.06],
            [-0.64, -0.1],
          ],
          0.04,
        ),
        'main',
      ),
      on(
        polygon([
          [-0.32, 0.02],
          [-0.16, -0.76],
          [0.16, -0.76],
          [0.32, 0.02],
          [0, -0.1],
        ]),
        'tint',
      ),
    ]
  },
}
