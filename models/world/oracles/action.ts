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
import { turns } from './templates.ts'

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
  const upright = mean(track.map(({ score }) => score))
  const turned = turningScore(views, identity, track, fps)
  if (turned > upright * 1.05) return { value: 'spins', confidence: 1 - upright / turned }
  const [best, next] = errors as [(typeof errors)[0], (typeof errors)[0]]
  return { value: best.action, confidence: Math.min(1 - best.error / Math.max(1e-6, next.error), 1 - turned / upright) }
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

/** Mean score of the puppet turning in place, the better way round, about where it stood at first. */
function turningScore(views: readonly Views[], { mirror }: Identity, track: readonly Found[], fps: number): number {
  const [first, last] = [track[0] as Found, track[track.length - 1] as Found]
  const start = first.score >= last.score ? first : last
  const scores = [-1, 1].map((way) =>
    mean(
      views.map(({ full }, frame) => {
        const turn = Math.round(way * amplitudes.spin * (frame / fps) * turns)
        return turnedScore({ ...start, mirror, turn }, full)
      }),
    ),
  )
  return Math.max(...scores)
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
