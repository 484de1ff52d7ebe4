/**
 * Extending a clip: another that begins with its last frame, and both as one.
 *
 * The frame they share is kept once. The file is written anew, since two files cannot be put end to end without it.
 */

import { isOwn } from '../device-model.ts'
import { type Clip, rgbaOf } from '../frames.ts'
import type { ModelState, VideoRequest } from '../index.ts'
import type { Kept } from './gallery.ts'

/** Whether a model that is here can go on from a clip. */
export const extendable = ({ receipt }: Kept, models: readonly ModelState[]): boolean =>
  models.some(({ card }) => card.id === receipt.model && isOwn(card))

/** What to ask for: the same model, size and rate as the clip has, from the noise of a new seed. */
export function extensionOf({ request, receipt, clip }: Kept, prompt: string): VideoRequest {
  const { seed: _, inferenceMode: __, duration: ___, ...same } = request
  const size = `${clip.width}x${clip.height}`
  const length = { numFrames: receipt.effective.num_frames }
  return {
    ...same,
    ...length,
    prompt: prompt.trim() || same.prompt,
    model: receipt.model,
    size,
    inferenceMode: 'only_on_device',
  }
}

export const lastFrameOf = (clip: Clip): ImageData => rgbaOf(clip, clip.frames - 1)

/** A clip and what was drawn after it; kept as one, with the receipt of what was drawn last over the new file's hash. */
export async function joined(before: Kept, after: Kept): Promise<Kept> {
  const clip = joinedClips(before.clip, after.clip)
  const [{ encodeMovie }, { sha256 }] = await Promise.all([import('../mp4.ts'), import('../hash.ts')])
  const { bytes, contentType } = await encodeMovie(clip, 'mp4', new AbortController().signal)
  const receipt = { ...after.receipt, outputs_sha256: [await sha256(bytes)] }
  const begunWith = { seed: before.receipt.seed, frames: before.clip.frames }
  return { ...after, clip, receipt, file: new Blob([bytes], { type: contentType }), begunWith }
}

function joinedClips(first: Clip, second: Clip): Clip {
  const shared = second.width * second.height * 3
  const pixels = new Uint8Array(first.pixels.length + second.pixels.length - shared)
  pixels.set(first.pixels)
  pixels.set(second.pixels.subarray(shared), first.pixels.length)
  return { ...first, frames: first.frames + second.frames - 1, pixels }
}
