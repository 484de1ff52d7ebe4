/**
 * A job followed to its end: its events told, its frames gathered, its file fetched.
 *
 * Frames made on this device come with the events; those of a service are read from its file.
 */

import type { Clip } from '../frames.ts'
import type { ClientEvent, Job, Output, VideoRequest } from '../index.ts'
import type { Kept } from './gallery.ts'

/** Hears every event, with the clip as far as it has come. */
export type Heed = (event: ClientEvent, clip: Clip | undefined) => void

/** @throws GenerationError as the job failed. */
export async function received(job: Job, request: VideoRequest, heed: Heed): Promise<Kept> {
  let clip: Clip | undefined
  let frames = 0
  for await (const event of job.events()) {
    if (event.type === 'status') clip ??= blankClip(job)
    if (event.type === 'part' && 'pixels' in event.part && clip !== undefined) {
      clip.pixels.set(event.part.pixels, event.part.first * clip.width * clip.height * 3)
      frames += event.part.count
    }
    heed(event, clip)
  }
  const { outputs, receipt, inferenceSource, routingReason } = await job.result()
  const [output] = outputs
  if (output === undefined || receipt === null || clip === undefined) throw new Error('the run ended without a file')
  const file = output.blob ?? (await fetched(output))
  const whole = inferenceSource === 'on_device' && frames === clip.frames
  return {
    id: job.id,
    madeAt: Date.now(),
    request,
    receipt,
    reason: routingReason,
    clip: whole ? clip : await (await import('./decode.ts')).clipOf(file, clip.fps),
    file,
  }
}

async function fetched({ url }: Output): Promise<Blob> {
  const answer = await fetch(url)
  if (!answer.ok) throw new Error(`the file of the video: the service answered ${answer.status}; make it again`)
  return answer.blob()
}

function blankClip(job: Job): Clip | undefined {
  const { num_frames: frames, width, height, fps } = named(job.state().effective)
  if (frames === undefined || width === undefined || height === undefined || fps === undefined) return undefined
  return { frames, width, height, fps, pixels: new Uint8Array(frames * width * height * 3) }
}

/** A service says its own names in camel case, a run on this device in the wire's. */
function named(effective: object): Partial<Record<'num_frames' | 'width' | 'height' | 'fps', number>> {
  const { numFrames, ...rest } = effective as { readonly numFrames?: number }
  return numFrames === undefined ? rest : { num_frames: numFrames, ...rest }
}
