/**
 * The action read from the puppet's track: the motion of motion.ts that leaves the least residual, and turning by
 * templates that turn against templates that do not.
 *
 * Residuals are in units of what is tolerated and held below a bound per frame, so that a frame in which the puppet
 * was lost costs no more than a frame.
 */

import { amplitudes, travel } from '../motion.ts'
import type { Action } from '../vocabulary.ts'
import { actions } from '../vocabulary.ts'
import type { Picture } from './picture.ts'
import { bestAround, type Found, growthOf, type Identity, type Views } from './puppet.ts'
import { radiusOf, template, turns } from './templates.ts'

export interface ActionReading {
  readonly value: Action
  readonly confidence: number
}

interface Step {
  readonly x: number
  readonly y: number
  readonly growth: number
}

/** Tolerances: places in short sides, growth in natural logarithm. */
const tolerance = { place: 0.03, growth: 0.1 } as const
const bound = 9

export function readAction(
  views: readonly Views[],
  identity: Identity,
  track: readonly Found[],
  fps: number,
): ActionReading {
  if (track.length < 9) return { value: 'stands still', confidence: 0 }
  const { width, height } = (views[0] as Views).full
  const side = Math.min(width, height)
  const steps = track.map((found) => ({ x: found.x / side, y: found.y / side, growth: growthOf(found) }))
  const times = steps.map((_, frame) => frame / fps)
  const errors = actions
    .filter((action) => action !== 'spins')
    .map((action) => ({ action, error: residual(action, steps, times, width / side, height / side) }))
    .sort((a, b) => a.error - b.error)
  const turning =
    identity.puppet === 'ball' ? rollingLead(views, track, times) : turningLead(views, identity, track, fps)
  if (turning > 0) return { value: 'spins', confidence: Math.min(1, turning) }
  const [best, next] = errors as [(typeof errors)[0], (typeof errors)[0]]
  return { value: best.action, confidence: Math.min(1 - best.error / Math.max(1e-6, next.error), -turning) }
}

/** The motion an action makes, per free phase: offsets from the start. */
function motions(action: Action, times: readonly number[], width: number, height: number): readonly Step[][] {
  const [verb, direction, pace = 'plain'] = action.split(' ') as [string, string, keyof typeof travel | undefined]
  const phases = Array.from({ length: 16 }, (_, n) => n / 16)
  const still = { x: 0, y: 0, growth: 0 }
  switch (verb) {
    case 'moves': {
      const way = (travel[pace] / 2) * (direction === 'left' || direction === 'up' ? -1 : 1)
      const sideways = direction === 'left' || direction === 'right'
      return [times.map((t) => (sideways ? { ...still, x: way * width * t } : { ...still, y: way * height * t }))]
    }
    case 'jumps':
      return [0, 0.03, 0.06, 0.94, 0.97].map((phase) =>
        times.map((t) => ({ ...still, y: -amplitudes.jump * hop(t * amplitudes.jumpRate + phase) })),
      )
    case 'shakes':
      return phases.map((phase) =>
        times.map((t) => ({
          ...still,
          x: amplitudes.shake * Math.sin(2 * Math.PI * (amplitudes.shakeRate * t + phase)),
        })),
      )
    case 'grows':
    case 'shrinks': {
      const rate = Math.log(amplitudes.growth[1] / amplitudes.growth[0]) / 2
      return [times.map((t) => ({ ...still, growth: (verb === 'grows' ? rate : -rate) * t }))]
    }
    default:
      return [times.map(() => still)]
  }
}

const hop = (time: number): number => {
  const within = time - Math.floor(time)
  return 4 * within * (1 - within)
}

/** Least bounded residual of an action over its phases, the start left free. */
function residual(
  action: Action,
  steps: readonly Step[],
  times: readonly number[],
  width: number,
  height: number,
): number {
  return Math.min(
    ...motions(action, times, width, height).map((motion) => {
      const away = steps.map((step, frame) => ({
        x: step.x - (motion[frame] as Step).x,
        y: step.y - (motion[frame] as Step).y,
        growth: step.growth - (motion[frame] as Step).growth,
      }))
      const start = {
        x: median(away.map(({ x }) => x)),
        y: median(away.map(({ y }) => y)),
        growth: median(away.map(({ growth }) => growth)),
      }
      return mean(
        away.map(({ x, y, growth }) => {
          const place = ((x - start.x) ** 2 + (y - start.y) ** 2) / tolerance.place ** 2
          const size = (growth - start.growth) ** 2 / tolerance.growth ** 2
          return Math.min(bound, place) + Math.min(bound / 2, size)
        }),
      )
    }),
  )
}

/** How much better turning explains every other frame than standing upright, −1…1: above zero it turns. */
function turningLead(views: readonly Views[], { mirror }: Identity, track: readonly Found[], fps: number): number {
  const [first, last] = [track[0] as Found, track[track.length - 1] as Found]
  const start = { ...(first.score >= last.score ? first : last), mirror }
  const frames = [...views.keys()].filter((frame) => frame % 2 === 0)
  const scores = [-1, 1].map((way) =>
    mean(
      frames.map((frame) => {
        const turn = Math.round(way * amplitudes.spin * (frame / fps) * turns)
        return turnedScore({ ...start, turn }, (views[frame] as Views).full)
      }),
    ),
  )
  const upright = mean(frames.map((frame) => (track[frame] as Found).score))
  const pixels = template(start, (views[0] as Views).full.width, 1).places.length / 2
  return Math.tanh((((Math.max(...scores) - upright) * 1000) / pixels - turningMargin) / 200)
}

/** Squared levels a pixel that turning must win by: following has more freedom than turning, so little is enough. */
const turningMargin = 0

/**
 * The ball rolls of its own accord and only its rate tells a spin: its three spokes, as the third circular harmonic
 * around its centre, are followed, and the rate that fits best is that of rolling, or of rolling and spinning either
 * way. −1…1, above zero it spins.
 */
function rollingLead(views: readonly Views[], track: readonly Found[], times: readonly number[]): number {
  const rolling = 0.4
  const harmonics = track.map((found, frame) => spokes((views[frame] as Views).full, found))
  const power = harmonics.reduce((sum, [re, im]) => sum + Math.hypot(re, im), 1e-6)
  const agreement = (rate: number): number => {
    let [re, im] = [0, 0]
    harmonics.forEach(([a, b], frame) => {
      const angle = -3 * 2 * Math.PI * rate * (times[frame] as number)
      re += a * Math.cos(angle) - b * Math.sin(angle)
      im += a * Math.sin(angle) + b * Math.cos(angle)
    })
    return Math.hypot(re, im) / power
  }
  const spins = [-1, 1].flatMap((way) => [-1, 1].map((side) => agreement(way * amplitudes.spin + side * rolling)))
  const lead = Math.max(...spins) - Math.max(agreement(rolling), agreement(-rolling))
  return lead - rollingMargin
}

/** Spinning has twice as many rates to choose from. */
const rollingMargin = 0.15

/** Third circular harmonic of the brightness between the hub and the rim. */
function spokes({ width, height, data }: Picture, found: Found): readonly [number, number] {
  const radius = radiusOf(found.size) * 0.72
  let [re, im] = [0, 0]
  for (let dy = -Math.ceil(radius); dy <= radius; dy++) {
    for (let dx = -Math.ceil(radius); dx <= radius; dx++) {
      const [x, y] = [found.x + dx, found.y + dy]
      const distance = Math.hypot(dx, dy)
      if (distance > radius || distance < radius * 0.3 || x < 0 || y < 0 || x >= width || y >= height) continue
      const at = (y * width + x) * 4
      const light = (data[at] as number) + (data[at + 1] as number) + (data[at + 2] as number)
      const angle = 3 * Math.atan2(dy, dx)
      re += light * Math.cos(angle)
      im += light * Math.sin(angle)
    }
  }
  return [re, im]
}

function turnedScore(look: Found, full: Picture): number {
  const centre = bestAround(look, full, look.x, look.y, 2)
  const others = ([0, 1, 2] as const).map((variant) => bestAround({ ...centre, variant }, full, centre.x, centre.y, 1))
  return Math.max(centre.score, ...others.map(({ score }) => score))
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

function median(values: readonly number[]): number {
  const order = [...values].sort((a, b) => a - b)
  return order[order.length >> 1] as number
}
