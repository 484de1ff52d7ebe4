/**
 * Where the puppet is at each moment, and where the camera looks.
 *
 * The puppet moves in frame coordinates: the camera pans and zooms behind it and leaves it alone, so that action and
 * camera can be read apart. Lengths in short sides of the frame, time in seconds. Amplitudes are for two seconds, the
 * length of seventeen frames at eight a second; longer clips go on at the same speed.
 */

import type { RandomStream } from '../../shared/random.ts'
import type { Action, Camera } from './vocabulary.ts'

export interface Placement {
  readonly x: number
  readonly y: number
  /** Radius. */
  readonly size: number
  /** Radians, clockwise. */
  readonly rotation: number
  /** Looks left. */
  readonly mirror: boolean
}

/** The part of the scene that fills the frame: shifted by `x`, `zoom` times enlarged about the frame's centre. */
export interface View {
  readonly x: number
  readonly zoom: number
}

/** Way in two seconds, as a share of the frame's width (or height, up and down). */
export const travel = { slowly: 0.25, plain: 0.5, quickly: 1 } as const
/** Radius of a puppet before its own variation of ±12 %. */
export const baseSize = 0.2
export const amplitudes = {
  /** Height of a hop and hops in a second. */
  jump: 0.24,
  jumpRate: 1.25,
  /** Turns in a second. */
  spin: 0.5,
  /** Size at the start and after two seconds. */
  growth: [0.62, 1.4],
  shake: 0.05,
  shakeRate: 2.7,
  /** Way of a pan in two seconds, and the enlargement a zoom reaches. */
  pan: 0.36,
  zoom: 1.4,
} as const

export type Track = (seconds: number) => Placement

/** A puppet's way through a frame of `width` by `height` units. */
export function track(action: Action, random: RandomStream, width: number, height: number): Track {
  const size = baseSize * random.between(0.88, 1.12)
  const start = { x: width * random.between(0.34, 0.66), y: height * random.between(0.36, 0.64) }
  const rest: Placement = { ...start, size, rotation: 0, mirror: random.chance(0.5) }
  const [verb, direction, pace] = action.split(' ') as [string, string | undefined, string | undefined]
  switch (verb) {
    case 'moves':
      return moving(rest, direction as Direction, (pace ?? 'plain') as keyof typeof travel, random, width, height)
    case 'jumps':
      return (t) => ({ ...rest, y: rest.y + 0.08 - amplitudes.jump * hop(t * amplitudes.jumpRate) })
    case 'spins': {
      const way = random.chance(0.5) ? 1 : -1
      return (t) => ({ ...rest, rotation: way * 2 * Math.PI * amplitudes.spin * t })
    }
    case 'grows':
      return (t) => ({ ...rest, size: size * growth(t) })
    case 'shrinks':
      return (t) => ({ ...rest, size: size * growth(2 - t) })
    case 'shakes': {
      const phase = random.between(0, 1)
      const offset = (t: number) => amplitudes.shake * Math.sin(2 * Math.PI * (amplitudes.shakeRate * t + phase))
      return (t) => ({ ...rest, x: rest.x + offset(t) })
    }
    default:
      return () => rest
  }
}

type Direction = 'left' | 'right' | 'up' | 'down'

/** Centred on the frame up to some jitter, so that the puppet's centre stays inside for two seconds. */
function moving(
  rest: Placement,
  direction: Direction,
  pace: keyof typeof travel,
  random: RandomStream,
  width: number,
  height: number,
): Track {
  const sideways = direction === 'left' || direction === 'right'
  const sign = direction === 'left' || direction === 'up' ? -1 : 1
  const length = sideways ? width : height
  const way = travel[pace] * length
  const slack = Math.max(0.02, 0.36 - travel[pace] * 0.34) * length
  const from = length / 2 - (sign * way) / 2 + random.between(-slack, slack) / 2
  const mirror = sideways ? direction === 'left' : rest.mirror
  return (t) => {
    const along = from + (sign * way * t) / 2
    return sideways ? { ...rest, x: along, mirror } : { ...rest, y: along }
  }
}

/** A parabola per unit of time: 0 at whole numbers, 1 between. */
function hop(time: number): number {
  const within = time - Math.floor(time)
  return 4 * within * (1 - within)
}

/** Geometric, so that each moment grows by the same factor; held within twice its reach for long clips. */
function growth(seconds: number): number {
  const [small, large] = amplitudes.growth
  return small * (large / small) ** (Math.min(3, Math.max(-1, seconds)) / 2)
}

/** Where the camera looks after `seconds`. */
export function view(camera: Camera, seconds: number): View {
  const share = seconds / 2
  switch (camera) {
    case 'pans left':
      return { x: amplitudes.pan * (0.5 - share), zoom: 1 }
    case 'pans right':
      return { x: amplitudes.pan * (share - 0.5), zoom: 1 }
    case 'zooms in':
      return { x: 0, zoom: amplitudes.zoom ** Math.min(2, share) }
    case 'zooms out':
      return { x: 0, zoom: amplitudes.zoom ** Math.max(0, 1 - share) }
    case 'still':
      return { x: 0, zoom: 1 }
    default:
      return camera satisfies never
  }
}
