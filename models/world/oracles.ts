/**
 * Oracles: what a clip shows, read from its pixels alone, with no learned part.
 *
 * Scene: by its colours (scenery.ts). Camera: each possible move undone (camera.ts). Puppet: likeliest template where
 * the frame looks least like its scene (puppet.ts, templates.ts). Colour: median where the template shows nothing else
 * (colour.ts). Action: nearest motion to the puppet's track, or turning (action.ts). A confidence is how far the next
 * answer stays behind, 0…1. Know the world's constants, not the clip's attributes; `measureOracles` says how well they
 * read clips whose attributes are known.
 */

import { amplitudes } from './motion.ts'
import { readAction } from './oracles/action.ts'
import { readCamera } from './oracles/camera.ts'
import { readColour } from './oracles/colour.ts'
import { halved, type Picture, pictureOf } from './oracles/picture.ts'
import { follow, foreignSpot, identify, type Views } from './oracles/puppet.ts'
import { foreign, markForeign, rankScenes } from './oracles/scenery.ts'
import { softened } from './oracles/soften.ts'
import { prepare, turns } from './oracles/templates.ts'
import { type Frames, renderClip } from './renderer.ts'
import { type Attributes, attributeNames, type Split, sampleAttributes } from './vocabulary.ts'

export interface Read<T> {
  readonly value: T
  /** 0…1: how far the next answer stays behind. */
  readonly confidence: number
}

export type Reading = { readonly [K in keyof Attributes]: Read<Attributes[K]> }

/** A clip, and its frames a second where they are not 8. */
export type FilmedFrames = Frames & { readonly fps?: number }

/**
 * Reads a clip of any size. Fewer than nine frames give no action and fewer than five no camera: stillness, at
 * confidence 0.
 * @throws RangeError for a clip without frames or with fewer pixels than its size says.
 */
export function readClip(clip: FilmedFrames): Reading {
  check(clip)
  const { fps = 8 } = clip
  const pictures = Array.from({ length: clip.frames }, (_, frame) => pictureOf(clip, frame))
  const [scene, next] = rankScenes(spread(pictures)) as [SceneRank, SceneRank]
  for (const picture of pictures) markForeign(picture, scene.scene)
  const halves = pictures.map(halved)
  const camera = readCamera(halves, halves.map(sceneryWeights), fps)
  const views = pictures.map((full, frame) => viewsOf(full, halves[frame] as Picture))
  const turnsBetween = (amplitudes.spin * turns * (clip.frames - 1)) / fps / Math.max(1, spread(views).length - 1)
  const identity = identify(spread(views), turnsBetween)
  const track = follow(views, identity)
  return {
    puppet: { value: identity.puppet, confidence: identity.confidence },
    colour: readColour(pictures, track),
    action: readAction(views, identity, track, fps),
    scene: { value: scene.scene, confidence: 1 - scene.error / Math.max(1e-6, next.error) },
    camera,
  }
}

export interface OracleMeasure {
  readonly clips: number
  /** Clips of which each attribute was read right. */
  readonly right: Readonly<Record<keyof Attributes, number>>
  /** Clips of which all five were. */
  readonly all: number
}

export interface MeasureOptions {
  readonly firstSeed?: number
  readonly split?: Split
  /** Blurs and adds noise as a neural decoder might. */
  readonly soft?: boolean
}

/** Reads `count` rendered clips of known attributes, of seeds that no training uses. */
export function measureOracles(count: number, options: MeasureOptions = {}): OracleMeasure {
  const { firstSeed = 0xa000_0000, split = 'all', soft = false } = options
  const right = { puppet: 0, colour: 0, action: 0, scene: 0, camera: 0 }
  let all = 0
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const attributes = sampleAttributes(seed, split)
    const clip = renderClip(attributes, seed)
    const reading = readClip(soft ? softened(clip, seed) : clip)
    const hits = attributeNames.filter((name) => reading[name].value === attributes[name])
    for (const name of hits) right[name]++
    if (hits.length === attributeNames.length) all++
  }
  return { clips: count, right, all }
}

type SceneRank = ReturnType<typeof rankScenes>[number]

function check({ frames, height, width, pixels }: Frames): void {
  const size = frames * height * width * 3
  if (frames < 1 || height < 16 || width < 16)
    throw new RangeError(`readClip: got ${frames} frames of ${width}×${height}, wants at least one of 16×16`)
  if (pixels.length !== size)
    throw new RangeError(
      `readClip: got ${pixels.length} bytes, wants ${size} for ${frames} frames of ${width}×${height}`,
    )
}

function viewsOf(full: Picture, half: Picture): Views {
  const spot = foreignSpot(half)
  prepare(full)
  prepare(half)
  return { full, half, spot }
}

/** Five frames spread over the clip, or what there is. */
function spread<T>(list: readonly T[]): T[] {
  const last = list.length - 1
  return [...new Set([0, 1, 2, 3, 4].map((n) => Math.round((n * last) / 4)))].map((index) => list[index] as T)
}

/** 1 where a pixel shows scenery, 0 where it may be the puppet's. */
function sceneryWeights({ data }: Picture): Float32Array {
  return Float32Array.from({ length: data.length / 4 }, (_, pixel) =>
    (data[pixel * 4 + 3] as number) < foreign / 4 ? 1 : 0,
  )
}
