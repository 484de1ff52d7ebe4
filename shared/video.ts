/**
 * Shapes of videos and of their latents.
 *
 * A causal video autoencoder keeps the first frame by itself, so lengths are 4k + 1 and an image is a clip of one.
 * Knows no network; strides come from the model's card.
 */

import { GenerationError } from './errors.ts'

export interface VideoShape {
  readonly frames: number
  readonly height: number
  readonly width: number
}

export interface Strides {
  /** Frames to a latent frame, after the first. */
  readonly temporal: number
  /** Pixels to a latent's side. */
  readonly spatial: number
}

export interface LatentShape extends VideoShape {
  readonly channels: number
}

/**
 * The latents of a video.
 * @throws GenerationError invalid_parameter where the strides do not fit.
 */
export function latentShape(
  { frames, height, width }: VideoShape,
  { temporal, spatial }: Strides,
  channels: number,
): LatentShape {
  const groups = (frames - 1) / temporal
  if (!Number.isInteger(groups) || frames < 1) {
    throw new GenerationError('invalid_parameter', framesMessage(frames, temporal), { pointer: '/num_frames' })
  }
  for (const [name, side] of [
    ['height', height],
    ['width', width],
  ] as const) {
    if (side % spatial !== 0 || side < spatial) {
      throw new GenerationError('invalid_parameter', `${name}: got ${side}, allowed are multiples of ${spatial}`, {
        pointer: `/${name}`,
      })
    }
  }
  return { channels, frames: groups + 1, height: height / spatial, width: width / spatial }
}

/** The nearest stride·k + offset within bounds; ties go up. */
export function nearestOf(value: number, { min, max, stride, offset }: Progression): number {
  const steps = Math.floor((value - offset) / stride + 0.5)
  const [least, most] = [Math.ceil((min - offset) / stride), Math.floor((max - offset) / stride)]
  return Math.min(most, Math.max(least, steps)) * stride + offset
}

/** The numbers stride·k + offset from `min` to `max`. */
export interface Progression {
  readonly min: number
  readonly max: number
  readonly stride: number
  readonly offset: number
}

function framesMessage(frames: number, stride: number): string {
  const fix = nearestOf(frames, { min: 1, max: Number.MAX_SAFE_INTEGER - stride, stride, offset: 1 })
  return `frames: got ${frames}, allowed ${stride}n + 1; use ${fix}`
}
