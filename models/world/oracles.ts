/**
 * Oracles: what a clip shows, read from its pixels alone, with no learned part.
 *
 * Puppet and colour: templates over place, scale, facing and phase in three frames, all eight colours at once. Action:
 * the puppet tracked through the clip, then the nearest of the motions of motion.ts; turning by comparing templates
 * that turn with templates that do not. Scene: the palette above and below the horizon. Camera: each possible move
 * undone, the one that makes the scenery stand still wins. A confidence is how much better the answer fits than the
 * next, 0…1. Knows the world's constants, not the clip's attributes.
 */

import { amplitudes, baseSize, travel, view } from './motion.ts'
import type { Pose } from './puppets.ts'
import type { Frames } from './renderer.ts'
import { scenePalettes } from './scenes.ts'
import { type Match, match, type Picture, smoothed, type Template, template } from './template.ts'
import { type Action, type Attributes, type Camera, cameras, type Puppet, puppets, scenes } from './vocabulary.ts'

export interface Read<T> {
  readonly value: T
  readonly confidence: number
}

export type Reading = { readonly [K in keyof Attributes]: Read<Attributes[K]> }

const fps = 8

/** Reads a clip; a single frame gives puppet, colour and scene, and stillness for the rest. */
export function readClip(clip: Frames): Reading {
  const pictures = Array.from({ length: clip.frames }, (_, frame) => pictureOf(clip, frame))
  const camera = readCamera(pictures)
  const views = pictures.map(viewsOf)
  const found = findPuppet(views)
  const track = follow(views, found)
  return {
    puppet: { value: found.puppet, confidence: found.confidence },
    colour: { value: found.colour, confidence: found.confidence },
    action: readAction(views, found, track),
    scene: readScene(pictures),
    camera,
  }
}

// Scene

/** Medians of the upper and the lower part over all frames, against each palette. */
function readScene(pictures: readonly Picture[]): Read<Attributes['scene']> {
  const [above, below] = [medianColour(pictures, 0, 0.4), medianColour(pictures, 0.86, 1)]
  const errors = scenes.map((scene) => {
    const palette = scenePalettes[scene]
    return distance(above, palette.above) + distance(below, palette.below)
  })
  return nearest(scenes, errors)
}

function medianColour(pictures: readonly Picture[], from: number, to: number): number[] {
  return [0, 1, 2].map((channel) => {
    const counts = new Uint32Array(256)
    let total = 0
    for (const { rgb, width, height } of pictures) {
      for (let index = Math.floor(from * height) * width; index < Math.floor(to * height) * width; index++) {
        const level = Math.min(255, Math.max(0, Math.round(rgb[index * 3 + channel] as number)))
        counts[level] = (counts[level] as number) + 1
        total++
      }
    }
    let [seen, level] = [0, 0]
    while (seen + (counts[level] as number) <= total / 2) seen += counts[level++] as number
    return level
  })
}

const distance = (a: readonly number[], b: readonly number[]): number =>
  Math.hypot(...a.map((value, index) => value - (b[index] as number)))

// Camera

/** Error of the scenery under each move, over pairs of frames a second apart. */
function readCamera(pictures: readonly Picture[]): Read<Camera> {
  const last = pictures.length - 1
  const gap = Math.min(8, last)
  const starts = gap === 0 ? [] : [0, Math.floor((last - gap) / 2), last - gap]
  const errors = cameras.map((camera) => {
    const pairs = starts.map((start) =>
      moveError(camera, pictures[start] as Picture, pictures[start + gap] as Picture, start / fps, (start + gap) / fps),
    )
    return pairs.reduce((total, error) => total + error, 0)
  })
  return starts.length === 0 ? { value: 'still', confidence: 0 } : nearest(cameras, errors)
}

/** Mean error, each pixel's held below a bound so that the puppet does not decide. */
function moveError(camera: Camera, from: Picture, to: Picture, before: number, after: number): number {
  const { width, height } = from
  const [was, is] = [view(camera, before), view(camera, after)]
  const side = Math.min(width, height)
  const zoom = is.zoom / was.zoom
  let [total, count] = [0, 0]
  for (let row = 2; row < height - 2; row++) {
    const sourceY = Math.round((row + 0.5 - height / 2) / zoom + height / 2 - 0.5)
    for (let column = 2; column < width - 2; column++) {
      const shifted = (column + 0.5 - width / 2) / zoom + (is.x - was.x) * side
      const sourceX = Math.round(shifted + width / 2 - 0.5)
      if (sourceX < 0 || sourceY < 0 || sourceX >= width || sourceY >= height) continue
      const [a, b] = [(row * width + column) * 3, (sourceY * width + sourceX) * 3]
      let error = 0
      for (let channel = 0; channel < 3; channel++)
        error += Math.abs((to.rgb[a + channel] as number) - (from.rgb[b + channel] as number))
      total += Math.min(90, error)
      count++
    }
  }
  return total / Math.max(1, count)
}

// Puppet and colour

interface Found {
  readonly puppet: Puppet
  readonly colour: Attributes['colour']
  readonly confidence: number
  readonly mirror: boolean
  readonly phase: number
}

interface Spot {
  readonly x: number
  readonly y: number
  /** Radius over baseSize · side. */
  readonly size: number
  readonly mirror: boolean
  readonly phase: number
  readonly match: Match
}

const sizes = [0.62, 0.8, 1, 1.18, 1.42] as const
const phases = [0, 0.25, 0.5, 0.75] as const

/** Every puppet sought coarsely in three frames, the better ones ever more closely. */
function findPuppet(pictures: readonly Views[]): Found {
  const last = pictures.length - 1
  const frames = [...new Set([0, Math.floor(last / 2), last])]
  const totals = new Map(puppets.map((puppet) => [puppet, { error: 0, spots: [] as Spot[] }]))
  for (const frame of frames) {
    const spots = searchFrame(pictures[frame] as Views, frame / fps)
    for (const [puppet, total] of totals) {
      const spot = spots.get(puppet)
      // Bounded, so that one frame in which the puppet is turned or outside does not outweigh two.
      total.error += Math.min(0, spot?.match.error ?? 0)
      if (spot !== undefined) total.spots.push(spot)
    }
  }
  const choice = nearest(
    puppets,
    puppets.map((puppet) => totals.get(puppet)?.error ?? 0),
  )
  const [best] = (totals.get(choice.value)?.spots ?? []).sort((a, b) => a.match.error - b.match.error)
  return {
    puppet: choice.value,
    colour: best?.match.colour ?? 'white',
    confidence: choice.confidence,
    mirror: best?.mirror ?? false,
    phase: best?.phase ?? 0,
  }
}

/** The best spots of the likeliest puppets in one frame: all of them at half the size, seven at full size. */
function searchFrame({ full, half }: Views, time: number): ReadonlyMap<Puppet, Spot> {
  const coarse = puppets
    .map((puppet) => [puppet, searchCoarsely(puppet, half, time)] as const)
    .filter((entry): entry is readonly [Puppet, Spot] => entry[1] !== undefined)
    .sort((a, b) => a[1].match.error - b[1].match.error)
    .slice(0, 7)
  return new Map(coarse.map(([puppet, spot]) => [puppet, refine(puppet, full, spot, time)]))
}

const remembered = new Map<string, Template>()

/** Templates of the coarse search are few and asked for again and again. */
function kept(key: string, make: () => Template): Template {
  const known = remembered.get(key) ?? make()
  remembered.set(key, known)
  return known
}

/** Phases to seek a puppet with: one, but for the ball, whose whole look turns. */
const seekPhases = (puppet: Puppet): readonly number[] => (puppet === 'ball' ? [0.05, 0.15, 0.25] : [0.1])

/** Anywhere in a half-size picture, every other place and every other pixel; the spot is in full-size pixels. */
function searchCoarsely(puppet: Puppet, half: Picture, time: number): Spot | undefined {
  let best: Spot | undefined
  for (const size of [0.64, 0.84, 1.05, 1.36]) {
    for (const [mirror, phase] of seekPhases(puppet).flatMap(
      (p) =>
        [
          [false, p],
          [true, p],
        ] as const,
    )) {
      const radius = size * baseSize * Math.min(half.width, half.height)
      const shape = kept(`${puppet} ${radius} ${mirror} ${phase}`, () =>
        thinned(template(puppet, { radius, rotation: 0, mirror, pose: { time: 0, phase }, smoothing: 2 })),
      )
      const look = (x: number, y: number) => {
        const found = match(shape, half, x, y, 1)
        if (found !== undefined && (best === undefined || found.error < best.match.error)) {
          best = { x: 2 * x + 1, y: 2 * y + 1, size, mirror, phase: phase - ownRate * time, match: found }
        }
      }
      for (let y = 1; y < half.height; y += 2) for (let x = 1; x < half.width; x += 2) look(x, y)
    }
  }
  return best
}

/** Cycles a second of a typical puppet's own life: only a first guess, which refine() mends. */
const ownRate = 1

/** Half of a template's pixels, as on a chessboard. */
function thinned({ dx, dy, main, fixed }: Template): Template {
  const kept = [...dx.keys()].filter((index) => (((dx[index] as number) + (dy[index] as number)) & 1) === 0)
  return {
    dx: Int16Array.from(kept, (index) => dx[index] as number),
    dy: Int16Array.from(kept, (index) => dy[index] as number),
    main: Float32Array.from(kept, (index) => main[index] as number),
    fixed: Float32Array.from(kept.flatMap((index) => [0, 1, 2].map((channel) => fixed[index * 3 + channel] as number))),
  }
}

/** Place, scale, facing and phase at full size, one after another, twice. */
function refine(puppet: Puppet, picture: Picture, start: Spot, time: number): Spot {
  const side = Math.min(picture.width, picture.height)
  let best = start
  const look = (spot: Omit<Spot, 'match'>, reach: number, force = false) => {
    const pose: Pose = { time, phase: spot.phase }
    const shape = template(puppet, {
      radius: spot.size * baseSize * side,
      rotation: 0,
      mirror: spot.mirror,
      pose,
      smoothing: 2,
    })
    let local: Spot | undefined
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) {
        const found = match(shape, picture, spot.x + dx, spot.y + dy)
        if (found !== undefined && (local === undefined || found.error < local.match.error))
          local = { ...spot, x: spot.x + dx, y: spot.y + dy, match: found }
      }
    }
    if (local !== undefined && (force || local.match.error < best.match.error)) best = local
  }
  look(best, 3, true)
  for (const phase of phases) look({ ...best, phase }, 1)
  for (const factor of [0.88, 0.94, 1.06, 1.12]) look({ ...best, size: best.size * factor }, 1)
  look({ ...best, mirror: !best.mirror }, 1)
  for (const shift of [-0.12, 0.12]) look({ ...best, phase: best.phase + shift }, 1)
  return best
}

// Action

interface Step {
  readonly x: number
  readonly y: number
  readonly size: number
  readonly error: number
}

const around = [-1, 0, 1].flatMap((dy) => [-1, 0, 1].map((dx) => [dx, dy] as const))

/** The puppet in every frame, upright, wherever it fits best. */
function follow(views: readonly Views[], { puppet, mirror, phase }: Found): Step[] {
  return views.map(({ half }, frame) => {
    let best: Step = { x: 0, y: 0, size: 1, error: Number.POSITIVE_INFINITY }
    for (const size of sizes) {
      const radius = size * baseSize * Math.min(half.width, half.height)
      const shape = template(puppet, { radius, rotation: 0, mirror, pose: { time: frame / fps, phase }, smoothing: 2 })
      const look = (x: number, y: number) => {
        const error = match(shape, half, x, y)?.error ?? Number.POSITIVE_INFINITY
        if (error < best.error) best = { x: 2 * x + 1, y: 2 * y + 1, size, error }
      }
      for (let y = 0; y < half.height; y += 2) for (let x = (y % 4) >> 1; x < half.width; x += 2) look(x, y)
      const [x, y] = [best.x >> 1, best.y >> 1]
      if (best.size === size) for (const [dx, dy] of around) look(x + dx, y + dy)
    }
    return best
  })
}

function readAction(views: readonly Views[], found: Found, track: readonly Step[]): Read<Action> {
  if (track.length < 9) return { value: 'stands still', confidence: 0 }
  const side = sideOf(views)
  const standing = average(track.map(({ error }) => error))
  const turning = turningError(views, found, track)
  if (turning < 1.1 * standing) return { value: 'spins', confidence: 1 - standing / turning }
  const seconds = (track.length - 1) / fps
  const { width, height } = (views[0] as Views).full
  const wayX = (slope(track.map(({ x }) => x)) * fps * 2) / width
  const wayY = (slope(track.map(({ y }) => y)) * fps * 2) / height
  const growth = slope(track.map(({ size }) => Math.log(size))) * fps * 2
  const full = Math.log(amplitudes.growth[1] / amplitudes.growth[0])
  const jump = roughness(track.map(({ y }) => y / side))
  const shake = roughness(track.map(({ x }) => x / side))
  // Each feature in units of what the action would make of it.
  const scores: Partial<Record<Action, number>> = {
    grows: growth / full,
    shrinks: -growth / full,
    jumps: Math.min(1.2, jump / 0.062),
    shakes: Math.min(1.2, shake / 0.05),
  }
  const staying = (Object.entries(scores) as [Action, number][]).sort((a, b) => b[1] - a[1])[0] as [Action, number]
  const moved = Math.max(Math.abs(wayX), Math.abs(wayY)) * Math.min(1, seconds / 2)
  if (moved > 0.13 && staying[1] < 0.5 + moved)
    return { value: moving(wayX, wayY), confidence: Math.min(1, moved / 0.25) }
  if (staying[1] > 0.45) return { value: staying[0], confidence: Math.min(1, staying[1]) }
  return { value: 'stands still', confidence: 1 - Math.max(0, staying[1]) }
}

/** The pace is the nearest on a logarithmic scale. */
function moving(wayX: number, wayY: number): Action {
  const sideways = Math.abs(wayX) > Math.abs(wayY)
  const way = sideways ? wayX : wayY
  const direction = sideways ? (way < 0 ? 'left' : 'right') : way < 0 ? 'up' : 'down'
  const size = Math.abs(way)
  if (size < Math.sqrt(travel.slowly * travel.plain)) return `moves ${direction} slowly`
  return size > Math.sqrt(travel.plain * travel.quickly) ? `moves ${direction} quickly` : `moves ${direction}`
}

/** Error of the puppet turning in place, either way, where it stood in the first frame. */
function turningError(views: readonly Views[], { puppet, mirror, phase }: Found, track: readonly Step[]): number {
  const side = sideOf(views)
  const start = track[0] as Step
  const errors = [-1, 1].map((way) => {
    const each = views.map(({ half: picture }, frame) => {
      const time = frame / fps
      const options = {
        radius: (start.size * baseSize * side) / 2,
        rotation: way * 2 * Math.PI * amplitudes.spin * time,
        mirror,
        pose: { time, phase },
        smoothing: 2,
      }
      const shape = template(puppet, options)
      let best = Number.POSITIVE_INFINITY
      for (let dy = -2; dy <= 2; dy++) {
        for (let dx = -2; dx <= 2; dx++)
          best = Math.min(
            best,
            match(shape, picture, (start.x >> 1) + dx, (start.y >> 1) + dy)?.error ?? Number.POSITIVE_INFINITY,
          )
      }
      return best
    })
    return average(each)
  })
  return Math.min(...errors)
}

const sideOf = (views: readonly Views[]): number =>
  Math.min((views[0] as Views).full.width, (views[0] as Views).full.height)

/** Least-squares slope per element. */
function slope(values: readonly number[]): number {
  const middle = (values.length - 1) / 2
  const mean = average(values)
  let [above, below] = [0, 0]
  values.forEach((value, index) => {
    above += (index - middle) * (value - mean)
    below += (index - middle) ** 2
  })
  return above / below
}

/** Root mean square of the second difference, halved: zero for a straight line. */
function roughness(values: readonly number[]): number {
  const seconds = values
    .slice(2)
    .map((value, index) => (value - 2 * (values[index + 1] as number) + (values[index] as number)) / 2)
  return Math.sqrt(average(seconds.map((second) => second * second)))
}

const average = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0) / values.length

// Pictures

/** A frame smoothed for matching, at full and at half size. */
interface Views {
  readonly full: Picture
  readonly half: Picture
}

function viewsOf(picture: Picture): Views {
  const smooth = (each: Picture, passes: number) => ({ ...each, rgb: smoothed(each.rgb, each.width, 3, passes) })
  return { full: smooth(picture, 2), half: smooth(halved(picture), 2) }
}

function pictureOf({ width, height, pixels }: Frames, frame: number): Picture {
  const size = width * height * 3
  return { width, height, rgb: Float32Array.from(pixels.subarray(frame * size, (frame + 1) * size)) }
}

function halved({ width, height, rgb }: Picture): Picture {
  const [columns, rows] = [width >> 1, height >> 1]
  const out = new Float32Array(columns * rows * 3)
  for (let index = 0; index < columns * rows; index++) {
    const corner = (Math.floor(index / columns) * 2 * width + (index % columns) * 2) * 3
    for (let channel = 0; channel < 3; channel++) {
      const upper = (rgb[corner + channel] as number) + (rgb[corner + 3 + channel] as number)
      const lower = (rgb[corner + width * 3 + channel] as number) + (rgb[corner + width * 3 + 3 + channel] as number)
      out[index * 3 + channel] = (upper + lower) / 4
    }
  }
  return { width: columns, height: rows, rgb: out }
}

/** The name of the smallest error, and how far it is from the next. */
function nearest<T>(names: readonly T[], errors: readonly number[]): Read<T> {
  const order = [...names.keys()].sort((a, b) => (errors[a] as number) - (errors[b] as number))
  const [first, second] = [order[0] as number, order[1] as number]
  const [best, next] = [errors[first] as number, errors[second] as number]
  const confidence = best < 0 ? 1 - next / best : 1 - best / Math.max(1e-9, next)
  return { value: names[first] as T, confidence: Number.isFinite(confidence) ? confidence : 0 }
}
