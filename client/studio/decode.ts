/**
 * A video file back to frames, by mediabunny and WebCodecs: for clips that were made elsewhere.
 */

import { ALL_FORMATS, BlobSource, Input, VideoSampleSink } from 'mediabunny'
import { type Clip, rgbOf } from '../frames.ts'

/** @throws Error where this browser cannot read the file. */
export async function clipOf(file: Blob, fps: number): Promise<Clip> {
  const input = new Input({ source: new BlobSource(file), formats: ALL_FORMATS })
  const track = await input.getPrimaryVideoTrack()
  if (track === null || !(await track.canDecode())) throw new Error('this browser cannot read the file of the video')
  const { displayWidth: width, displayHeight: height } = track
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })
  if (context === null) throw new Error('this browser draws nothing outside the page')
  const frames: Uint8Array[] = []
  for await (const sample of new VideoSampleSink(track).samples()) {
    sample.draw(context, 0, 0, width, height)
    sample.close()
    frames.push(rgbOf(context.getImageData(0, 0, width, height).data))
  }
  const pixels = new Uint8Array(frames.length * width * height * 3)
  for (const [index, frame] of frames.entries()) pixels.set(frame, index * frame.length)
  return { frames: frames.length, width, height, fps, pixels }
}
