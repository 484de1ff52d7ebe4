/**
 * What a clip shows, read from its pixels alone: the oracles' front.
 */

import type { Frames } from '../renderer.ts'
import type { Attributes } from '../vocabulary.ts'
import { readAction } from './action.ts'
import { readCamera } from './camera.ts'
import { readColour } from './colour.ts'
import { halved, type Picture, pictureOf } from './picture.ts'
import { follow, foreignSpot, identify, type Views } from './puppet.ts'
import { foreign, markForeign, rankScenes } from './scenery.ts'
import { prepare } from './templates.ts'

export interface Read<T> {
  readonly value: T
  readonly confidence: number
}

export type Reading = { readonly [K in keyof Attributes]: Read<Attributes[K]> }

const framesPerSecond = 8

export function readClip(clip: Frames): Reading {
  const pictures = Array.from({ length: clip.frames }, (_, frame) => pictureOf(clip, frame))
  const ranked = rankScenes(chosen(pictures))
  const [scene, nextScene] = ranked as [(typeof ranked)[0], (typeof ranked)[0]]
  for (const picture of pictures) markForeign(picture, scene.scene)
  const halves = pictures.map(halved)
  const weights = halves.map(sceneryWeights)
  const camera = readCamera(halves, weights, framesPerSecond)
  const views: Views[] = pictures.map((full, frame) => {
    const half = halves[frame] as Picture
    const spot = foreignSpot(half)
    return { full, half, spot }
  })
  for (const { full, half } of views) {
    prepare(full)
    prepare(half)
  }
  const identity = identify(chosen(views))
  const track = follow(views, identity)
  return {
    puppet: { value: identity.puppet, confidence: identity.confidence },
    colour: readColour(pictures, track),
    action: readAction(views, identity, track, framesPerSecond),
    scene: { value: scene.scene, confidence: 1 - scene.error / Math.max(1e-6, nextScene.error) },
    camera,
  }
}

/** Five frames spread over the clip. */
function chosen<T>(list: readonly T[]): T[] {
  const last = list.length - 1
  return [...new Set([0, 1, 2, 3, 4].map((n) => Math.round((n * last) / 4)))].map((index) => list[index] as T)
}

function sceneryWeights({ data }: Picture): Float32Array {
  return Float32Array.from({ length: data.length / 4 }, (_, pixel) =>
    (data[pixel * 4 + 3] as number) < foreign / 4 ? 1 : 0,
  )
}
