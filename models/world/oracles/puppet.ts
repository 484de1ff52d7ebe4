/**
 * The puppet found, named and followed, by templates.
 *
 * Where a frame looks least like its scene, all puppets are tried at half resolution over size, facing and place; the
 * best few at full resolution with all poses. Scores of several frames add up, so that one bad frame does not decide.
 * Then the one puppet is followed through every frame.
 */

import { baseSize } from '../motion.ts'
import { type Colour, type Puppet, puppets } from '../vocabulary.ts'
import type { Picture } from './picture.ts'
import { colourAt, judge, type Look, radiusOf, scoreAt, sizeOf, template, turns, type Variant } from './templates.ts'

/** A frame at both resolutions, prepared for matching, and where it looks least like its scene. */
export interface Views {
  readonly full: Picture
  readonly half: Picture
  readonly spot: Place
}

/** In pixels of the full resolution; a pixel's centre is at its index. */
export interface Place {
  readonly x: number
  readonly y: number
}

/** A look at a place, with its score in thousands of squared levels and the colour that fits best. */
export interface Found extends Look, Place {
  readonly score: number
  readonly colour: Colour
}

export interface Identity {
  readonly puppet: Puppet
  readonly mirror: boolean
  /** 0…1: how far the next best puppet stays behind. */
  readonly confidence: number
}

interface Stance {
  readonly variant: Variant
  readonly turn: number
}

/** Poses to try: joints for all, for the ball its rolling, which repeats every third of a turn. */
export const stancesOf = (puppet: Puppet): readonly Stance[] =>
  puppet === 'ball'
    ? [0, 1, 2, 3, 4, 5].map((turn) => ({ variant: 1, turn }))
    : ([1, 0, 2] as const).map((variant) => ({ variant, turn: 0 }))

/** Sizes sought, small to large. */
const sought = [0.66, 0.8, 0.96, 1.14, 1.36].map((factor) => sizeOf(factor * baseSize * 64))
const [smallest, largest] = [sizeOf(0.5 * baseSize * 64), sizeOf(1.7 * baseSize * 64)]

/** The most foreign place: the middle of the window that holds the most of it. */
export function foreignSpot({ width, height, data }: Picture): Place {
  const sums = new Float32Array(width * height)
  for (let pixel = 0; pixel < sums.length; pixel++) sums[pixel] = data[pixel * 4 + 3] as number
  const soft = boxed(boxed(boxed(boxed(sums, width, 1), width, width), width, 1), width, width)
  let best = 0
  for (let pixel = 1; pixel < soft.length; pixel++) if ((soft[pixel] as number) > (soft[best] as number)) best = pixel
  return { x: 2 * (best % width) + 0.5, y: 2 * Math.floor(best / width) + 0.5 }
}

const reach = 4

/** Sums over nine neighbours along a row (step 1) or a column (step = width). */
function boxed(values: Float32Array, width: number, step: number): Float32Array {
  const out = new Float32Array(values.length)
  for (let pixel = 0; pixel < values.length; pixel++) {
    const [place, count] =
      step === 1 ? [pixel % width, width] : [Math.floor(pixel / width), Math.floor(values.length / width)]
    const [from, to] = [Math.max(-reach, -place), Math.min(reach, count - 1 - place)]
    let sum = 0
    for (let k = from; k <= to; k++) sum += values[pixel + k * step] as number
    out[pixel] = sum
  }
  return out
}

/**
 * Names the puppet from a few frames: every other one tries all puppets, the rest the likeliest of those. Each puppet
 * may stand upright throughout or turn either way; its best of the three counts. `turnsBetween` is how far a spin
 * turns from one of the frames to the next, in sixteenths.
 */
export function identify(frames: readonly Views[], turnsBetween: number): Identity {
  const coarse = frames.map((views, index) =>
    index % 2 === 0 ? puppets.map((each) => searchCoarsely(each, views)) : [],
  )
  const likely = ranked(puppets, (puppet) => sum(coarse.map((finds) => scoreAmong(finds, puppet)))).slice(0, likeliest)
  const finds = likely.map((puppet) => {
    const upright = frames.map((views, index) => {
      const known = coarse[index]?.find((found) => found.puppet === puppet)
      return refine(known ?? searchCoarsely(puppet, views), views.full)
    })
    const trials = [upright, turning(upright, frames, turnsBetween), turning(upright, frames, -turnsBetween)]
    return ranked(trials, (each) => sum(each.map(({ score }) => Math.max(-decisive, score))))[0] as readonly Found[]
  })
  const inFrames = frames.map((_, index) => finds.map((own) => own[index] as Found))
  const total = (puppet: Puppet) => sum(inFrames.map((each) => scoreAmong(each, puppet)))
  const [puppet, next] = ranked(likely, total) as [Puppet, Puppet]
  const own = finds[likely.indexOf(puppet)] as readonly Found[]
  return {
    puppet,
    mirror: (ranked(own, ({ score }) => score)[0] as Found).mirror,
    confidence: Math.min(1, (total(puppet) - total(next)) / (decisive * frames.length)),
  }
}

/** The puppet turning in place, as the first frame shows it upright. */
function turning(upright: readonly Found[], frames: readonly Views[], turnsBetween: number): readonly Found[] {
  const [start] = upright as [Found]
  if (start.puppet === 'ball') return upright
  return upright.map((found, index) => {
    const turn = Math.round(index * turnsBetween)
    if (turn % turns === 0) return found
    const { full } = frames[index] as Views
    const centre = bestAround({ ...start, turn }, full, start.x, start.y, 2)
    const others = stancesOf(start.puppet).map(({ variant }) =>
      bestAround({ ...centre, variant }, full, centre.x, centre.y, 1),
    )
    return ranked([centre, ...others], ({ score }) => score)[0] as Found
  })
}

/** How many puppets are looked at closely. */
const likeliest = 7

/** From the highest value down. */
function ranked<T>(items: readonly T[], value: (item: T) => number): T[] {
  return items
    .map((item) => ({ item, value: value(item) }))
    .sort((a, b) => b.value - a.value)
    .map(({ item }) => item)
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

/** A lead of so many thousands of squared levels in every frame is beyond doubt. */
const decisive = 100

/** Score behind the frame's best, held above a bound so that one frame does not decide alone; 0 where none is found. */
function scoreAmong(finds: readonly Found[], puppet: Puppet): number {
  const best = Math.max(...finds.map(({ score }) => score))
  const own = finds.find((found) => found.puppet === puppet)
  return own === undefined || !Number.isFinite(best) ? 0 : Math.max(-decisive, own.score - best)
}

function searchCoarsely(puppet: Puppet, { half, spot }: Views): Found {
  const stances = stancesOf(puppet)
  const [cx, cy] = [Math.round((spot.x - 0.5) / 2), Math.round((spot.y - 0.5) / 2)]
  let best: Found | undefined
  for (const stance of lively.has(puppet) ? stances : stances.slice(0, 1)) {
    for (const size of sought) {
      for (const mirror of [false, true]) {
        const look: Look = { puppet, ...stance, mirror, size }
        const found = bestPlace(look, half, 2, cx, cy, 3, 2)
        if (best === undefined || found.score > best.score) best = found
      }
    }
  }
  return best as Found
}

/** Puppets whose outline changes so much that one pose will not find them. */
const lively: ReadonlySet<Puppet> = new Set<Puppet>(['butterfly', 'bird', 'ball'])

/** Place, then pose, size and facing, at full resolution. */
function refine(start: Found, full: Picture): Found {
  let best: Found = { ...start, score: Number.NEGATIVE_INFINITY }
  const look = (change: Partial<Look>, radius: number) => {
    const from = { ...best, ...change }
    if (from.size < smallest || from.size > largest) return
    const found = bestAround(from, full, from.x, from.y, radius)
    if (found.score > best.score) best = found
  }
  look({ x: Math.floor(start.x), y: Math.floor(start.y) } as Partial<Look>, 2)
  for (const stance of stancesOf(start.puppet)) look(stance, 1)
  for (const step of [-1, 1]) look({ size: best.size + step }, 1)
  for (const step of [-1, 1]) look({ size: best.size + step }, 1)
  look({ mirror: !best.mirror }, 1)
  return best
}

/** The best place within a radius at full resolution, judged there. */
export function bestAround(look: Look, picture: Picture, x: number, y: number, radius: number): Found {
  return bestPlace(look, picture, 1, x, y, radius, 1)
}

/** The best of the places around one, as on a chessboard where `step` is 2; places are the picture's own. */
function bestPlace(
  look: Look,
  picture: Picture,
  shrink: 1 | 2,
  x: number,
  y: number,
  radius: number,
  step: 1 | 2,
): Found {
  const shape = template(look, picture.width, shrink)
  let [best, bestX, bestY] = [Number.NEGATIVE_INFINITY, x, y]
  for (let dy = -radius; dy <= radius; dy++) {
    for (let dx = -radius; dx <= radius; dx++) {
      if (step === 2 && ((dx + dy) & 1) === 1) continue
      const score = scoreAt(shape, picture, x + dx, y + dy)
      if (score > best) [best, bestX, bestY] = [score, x + dx, y + dy]
    }
  }
  const [fullX, fullY] = shrink === 1 ? [bestX, bestY] : [2 * bestX + 0.5, 2 * bestY + 0.5]
  const found = { ...look, x: fullX, y: fullY }
  if (best === Number.NEGATIVE_INFINITY) return { ...found, score: best, colour: 'white' }
  const colour = colourAt(shape, picture, bestX, bestY)
  return { ...found, score: judge(shape, picture, bestX, bestY, colour), colour }
}

/** The puppet in every frame, upright. */
export function follow(frames: readonly Views[], { puppet, mirror }: Identity): readonly Found[] {
  return frames.map((views) => {
    const { half, full, spot } = views
    const [cx, cy] = [Math.round((spot.x - 0.5) / 2), Math.round((spot.y - 0.5) / 2)]
    const [stance] = stancesOf(puppet) as [Stance]
    const coarse = sought.map((size) => bestPlace({ puppet, ...stance, mirror, size }, half, 2, cx, cy, 4, 2))
    return settle(
      coarse.reduce((a, b) => (b.score > a.score ? b : a)),
      full,
    )
  })
}

/** Place, then stance, then size as long as it helps. */
function settle(start: Found, full: Picture): Found {
  let best = bestAround(start, full, Math.floor(start.x), Math.floor(start.y), 2)
  const improve = (change: Partial<Look>): boolean => {
    const found = bestAround({ ...best, ...change }, full, best.x, best.y, 1)
    const better = found.score > best.score
    if (better) best = found
    return better
  }
  for (const stance of stancesOf(start.puppet)) improve(stance)
  for (const step of [-1, 1]) {
    while (best.size + step >= smallest && best.size + step <= largest && improve({ size: best.size + step }));
  }
  return best
}

/** Log of the radius over the base size. */
export const growthOf = ({ size }: Found): number => Math.log(radiusOf(size) / (baseSize * 64))
