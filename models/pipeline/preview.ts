/**
 * A rough look at a clip while it is made: the autoencoder's linear half, on the host.
 *
 * The decoder adds a network's detail to a linear map from latents to tubes of 8×8 pixels by 4 frames; the map alone
 * shows what is being drawn for a few million multiplications, and the GPU is left to the denoiser.
 *
 *   C channels · G groups of frames · h, w latent sides
 */

import { type LatentShape, latentShape } from '../../shared/video.ts'
import { latentStrides, spatialStride, temporalStride, tubeSize } from '../networks/autoencoder.ts'
import { readTensor } from '../weights/safetensors.ts'
import { type FramesPart, pixelsOf } from './frames.ts'
import type { Model } from './model.ts'

/** Frames with their size, ready for a canvas: pixels [count, height, width, 3]. */
export interface PreviewFrames extends FramesPart {
  readonly width: number
  readonly height: number
}

export type Preview = (estimate: Float32Array, size: { frames: number; height: number; width: number }) => PreviewFrames

/** Previews of a model's estimates [1, C, G, h, w]. */
export function previewOf(model: Model): Preview {
  const tensor = (name: string) => {
    const file = Object.values(model.files).find(({ entries }) => entries.has(name))
    if (file === undefined)
      throw new Error(`preview: the weights have no ${name}; card and files do not belong together`)
    return readTensor(file, name)
  }
  const weight = tensor('autoencoder.decoder.components.weight') // [tubeSize, C]
  const bias = tensor('autoencoder.decoder.components.bias') //     [tubeSize]
  return (estimate, size) => {
    const shape = latentShape(size, latentStrides, model.autoencoder.channels)
    const all = new Float32Array(shape.frames * temporalStride * size.height * size.width * 3)
    for (let group = 0; group < shape.frames; group++) decodeGroup(all, estimate, group, shape, weight, bias)
    // Of the first group's four frames only the last is shown.
    const lead = (temporalStride - 1) * size.height * size.width * 3
    return {
      first: 0,
      count: size.frames,
      pixels: pixelsOf(all.subarray(lead)),
      width: size.width,
      height: size.height,
    }
  }
}

/** One group's tubes, written to their pixels; a tube is [8 rows, 8 columns, 4 frames, 3 colours]. */
function decodeGroup(
  all: Float32Array,
  estimate: Float32Array,
  group: number,
  { channels, frames, height, width }: LatentShape,
  weight: Float32Array,
  bias: Float32Array,
): void {
  const area = height * width
  const frameSize = area * spatialStride * spatialStride * 3
  const latent = new Float32Array(channels)
  for (let place = 0; place < area; place++) {
    for (let channel = 0; channel < channels; channel++)
      latent[channel] = estimate[(channel * frames + group) * area + place] as number
    const [top, left] = [Math.floor(place / width) * spatialStride, (place % width) * spatialStride]
    for (let number = 0; number < tubeSize; number++) {
      const colour = number % 3
      const frame = Math.floor(number / 3) % temporalStride
      const column = Math.floor(number / (3 * temporalStride)) % spatialStride
      const row = Math.floor(number / (3 * temporalStride * spatialStride))
      let sum = bias[number] as number
      for (let channel = 0; channel < channels; channel++)
        sum += (weight[number * channels + channel] as number) * (latent[channel] as number)
      const at = ((top + row) * width * spatialStride + left + column) * 3 + colour
      all[(group * temporalStride + frame) * frameSize + at] = sum
    }
  }
}
