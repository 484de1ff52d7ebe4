/**
 * A clip of the sticker world from attributes and a seed, and the truth about it.
 *
 * The same attributes and seed are the same film at any size, length and rate: everything random is drawn in a fixed
 * order and in units of the frame. Truth (masks, depth, flow, edges, tracks) costs as much again and is made on demand.
 */

import { randomStream } from '../../shared/random.ts'
import { type Canvas, canvas } from './draw.ts'
import { type Placement, type Track, track, type View, view } from './motion.ts'
import type { Pose } from './puppets.ts'
import { paintScene, sceneMargin } from './scenes.ts'
import { paintSticker, stickerMask } from './sticker.ts'
import type { Attributes } from './vocabulary.ts'

export interface ClipOptions {
  readonly frames?: number
  readonly height?: number
  readonly width?: number
  /** Frames a second. */
  readonly fps?: number
  /** Index of the first frame rendered; 0 when left out. */
  readonly start?: number
}

/** Pixels of a clip: [frames, height, width, 3], 0…255. */
export interface Frames {
  readonly frames: number
  readonly height: number
  readonly width: number
  readonly pixels: Uint8Array
}

export interface Clip extends Frames {
  readonly attributes: Attributes
  /** Computed at the first call. */
  readonly truth: () => Truth
}

export interface Truth {
  /** Coverage of the puppet with its rim, [frames, height, width] in 0…1. */
  readonly masks: Float32Array
  /** 0 for the scene, 1 for the puppet, by majority of coverage: [frames, height, width]. */
  readonly depth: Uint8Array
  /** Motion of each pixel to the next frame, in pixels x then y: [frames − 1, height, width, 2]. */
  readonly flow: Float32Array
  /** Where depth changes: [frames, height, width]. */
  readonly edges: Uint8Array
  /** The puppet's centre in pixels, radius in pixels and rotation in radians, per frame. */
  readonly tracks: readonly Placement[]
  /** First frames of shots after the first: none in a clip of one shot. */
  readonly cuts: readonly number[]
}

interface Film {
  readonly attributes: Attributes
  readonly scene: Canvas
  readonly scale: number
  readonly track: Track
  readonly phase: number
  readonly frames: number
  readonly height: number
  readonly width: number
  readonly fps: number
  readonly start: number
}

/** Renders a clip; 17 frames of 64×64 at 8 a second when nothing else is said. */
export function renderClip(attributes: Attributes, seed: number, options: ClipOptions = {}): Clip {
  const film = filmOf(attributes, seed, options)
  const { frames, height, width } = film
  const pixels = new Uint8Array(frames * height * width * 3)
  const target = canvas(width, height)
  for (let frame = 0; frame < frames; frame++) {
    paintFrame(film, secondsAt(film, frame), target)
    const base = frame * height * width * 3
    for (let index = 0; index < target.rgb.length; index++) pixels[base + index] = (target.rgb[index] as number) + 0.5
  }
  let truth: Truth | undefined
  return {
    attributes,
    frames,
    height,
    width,
    pixels,
    truth: () => {
      truth ??= truthOf(film)
      return truth
    },
  }
}

/** Joins clips of one size into one; the truth of each stays its own, the cuts are where they meet. */
export function joinClips(clips: readonly Frames[]): Frames & { readonly cuts: readonly number[] } {
  const [first] = clips
  if (first === undefined) throw new RangeError('joinClips: got no clip, wants at least one')
  const odd = clips.find(({ height, width }) => height !== first.height || width !== first.width)
  if (odd !== undefined)
    throw new RangeError(
      `joinClips: got ${odd.width}×${odd.height} beside ${first.width}×${first.height}; render all at one size`,
    )
  const pixels = new Uint8Array(clips.reduce((total, clip) => total + clip.pixels.length, 0))
  const cuts: number[] = []
  let [offset, frames] = [0, 0]
  for (const clip of clips) {
    if (frames > 0) cuts.push(frames)
    pixels.set(clip.pixels, offset)
    offset += clip.pixels.length
    frames += clip.frames
  }
  return { frames, height: first.height, width: first.width, pixels, cuts }
}

function filmOf(attributes: Attributes, seed: number, options: ClipOptions): Film {
  const { frames = 17, height = 64, width = 64, fps = 8, start = 0 } = options
  const scale = Math.min(height, width)
  const [unitWidth, unitHeight] = [width / scale, height / scale]
  const way = track(attributes.action, randomStream(seed, 2), unitWidth, unitHeight)
  const scene = paintScene(attributes.scene, randomStream(seed, 3), unitWidth, unitHeight, scale)
  return {
    attributes,
    scene,
    scale,
    track: way,
    phase: randomStream(seed, 4).uniform(),
    frames,
    height,
    width,
    fps,
    start,
  }
}

function paintFrame(film: Film, seconds: number, target: Canvas): void {
  look(film.scene, view(film.attributes.camera, seconds), film.scale, target)
  const { puppet, colour } = film.attributes
  paintSticker(target, puppet, colour, poseAt(film, seconds), transformAt(film, seconds))
}

const secondsAt = ({ start, fps }: Film, frame: number): number => (start + frame) / fps

const poseAt = ({ phase }: Film, time: number): Pose => ({ time, phase })

function transformAt({ track: way, scale }: Film, seconds: number) {
  const { x, y, size, rotation, mirror } = way(seconds)
  return { x: x * scale, y: y * scale, scale: size * scale, rotation, mirror }
}

/** Samples the scene through the camera, bilinearly. */
function look(scene: Canvas, { x, zoom }: View, scale: number, target: Canvas): void {
  const { width, height, rgb } = target
  const left = (sceneMargin + x) * scale
  for (let row = 0; row < height; row++) {
    const sourceY = clamp((row + 0.5 - height / 2) / zoom + height / 2 - 0.5, scene.height - 1)
    const top = Math.min(Math.floor(sourceY), scene.height - 2)
    const down = sourceY - top
    for (let column = 0; column < width; column++) {
      const sourceX = clamp(left + (column + 0.5 - width / 2) / zoom + width / 2 - 0.5, scene.width - 1)
      const start = Math.min(Math.floor(sourceX), scene.width - 2)
      const across = sourceX - start
      const corner = (top * scene.width + start) * 3
      const below = corner + scene.width * 3
      for (let channel = 0; channel < 3; channel++) {
        const upper = lerp(scene.rgb[corner + channel] as number, scene.rgb[corner + 3 + channel] as number, across)
        const lower = lerp(scene.rgb[below + channel] as number, scene.rgb[below + 3 + channel] as number, across)
        rgb[(row * width + column) * 3 + channel] = lerp(upper, lower, down)
      }
    }
  }
}

function truthOf(film: Film): Truth {
  const { frames, height, width, attributes } = film
  const area = height * width
  const masks = new Float32Array(frames * area)
  const depth = new Uint8Array(frames * area)
  const edges = new Uint8Array(frames * area)
  const flow = new Float32Array(Math.max(0, frames - 1) * area * 2)
  const tracks: Placement[] = []
  for (let frame = 0; frame < frames; frame++) {
    const seconds = secondsAt(film, frame)
    const { x, y, scale: size, rotation, mirror } = transformAt(film, seconds)
    tracks.push({ x, y, size, rotation, mirror })
    const mask = stickerMask(attributes.puppet, poseAt(film, seconds), transformAt(film, seconds), width, height)
    masks.set(mask, frame * area)
    depth.set(
      mask.map((coverage) => (coverage >= 0.5 ? 1 : 0)),
      frame * area,
    )
    edges.set(edgesOf(depth.subarray(frame * area, (frame + 1) * area), width), frame * area)
    if (frame < frames - 1) flow.set(flowOf(film, frame, mask), frame * area * 2)
  }
  return { masks, depth, flow, edges, tracks, cuts: [] }
}

/** The scene moves with the camera, the puppet with its transform (its joints apart). */
function flowOf(film: Film, frame: number, mask: Float32Array): Float32Array {
  const { width, height, scale, attributes } = film
  const [before, after] = [secondsAt(film, frame), secondsAt(film, frame + 1)]
  const [now, next] = [view(attributes.camera, before), view(attributes.camera, after)]
  const [from, to] = [transformAt(film, before), transformAt(film, after)]
  const ratio = to.scale / from.scale
  const [cos, sin] = [Math.cos(to.rotation - from.rotation) * ratio, Math.sin(to.rotation - from.rotation) * ratio]
  const zoom = next.zoom / now.zoom
  const flow = new Float32Array(width * height * 2)
  for (let index = 0; index < width * height; index++) {
    const [px, py] = [(index % width) + 0.5, Math.floor(index / width) + 0.5]
    if ((mask[index] as number) >= 0.5) {
      const [dx, dy] = [px - from.x, py - from.y]
      flow[index * 2] = to.x + cos * dx - sin * dy - px
      flow[index * 2 + 1] = to.y + sin * dx + cos * dy - py
    } else {
      flow[index * 2] = (px - width / 2) * (zoom - 1) - (next.x - now.x) * scale * next.zoom
      flow[index * 2 + 1] = (py - height / 2) * (zoom - 1)
    }
  }
  return flow
}

function edgesOf(depth: Uint8Array, width: number): Uint8Array {
  return depth.map((layer, index) => {
    const right = (index + 1) % width === 0 ? layer : (depth[index + 1] ?? layer)
    return layer !== right || layer !== (depth[index + width] ?? layer) ? 1 : 0
  })
}

const lerp = (a: number, b: number, weight: number): number => a + (b - a) * weight
const clamp = (x: number, high: number): number => Math.min(high, Math.max(0, x))
