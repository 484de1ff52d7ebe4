/**
 * Frames to MP4 or WebM: WebCodecs encodes, mediabunny muxes; awaiting each frame is the backpressure.
 */

import {
  BufferTarget,
  getFirstEncodableVideoCodec,
  Mp4OutputFormat,
  Output,
  QUALITY_VERY_HIGH,
  VideoSample,
  VideoSampleSource,
  WebMOutputFormat,
} from 'mediabunny'
import { GenerationError } from '../shared/errors.ts'
import { type Clip, videoFrameOf } from './frames.ts'

/** H.264 first where it goes: everything plays it. */
const containers = {
  mp4: { format: () => new Mp4OutputFormat({ fastStart: 'in-memory' }), codecs: ['avc', 'vp9', 'av1'] },
  webm: { format: () => new WebMOutputFormat(), codecs: ['vp9', 'av1', 'vp8'] },
} as const

export interface EncodedVideo {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** MIME type with codecs. */
  readonly contentType: string
}

/**
 * Encodes a clip.
 * @throws GenerationError format_unavailable where this browser has no encoder for the container.
 */
export async function encodeMovie(
  clip: Clip,
  container: keyof typeof containers,
  signal: AbortSignal,
): Promise<EncodedVideo> {
  const { format, codecs } = containers[container]
  const { width, height, fps, frames } = clip
  const codec = await getFirstEncodableVideoCodec([...codecs], { width, height, bitrate: QUALITY_VERY_HIGH })
  if (codec === null) {
    throw new GenerationError(
      'format_unavailable',
      `${container}: this browser encodes none of ${codecs.join(', ')} at ${width}x${height}; ask for gif`,
    )
  }
  const target = new BufferTarget()
  const output = new Output({ format: format(), target })
  const source = new VideoSampleSource({ codec, bitrate: QUALITY_VERY_HIGH, keyFrameInterval: 2 })
  output.addVideoTrack(source, { frameRate: fps })
  await output.start()
  for (let frame = 0; frame < frames; frame++) {
    signal.throwIfAborted()
    using sample = new VideoSample(videoFrameOf(clip, frame))
    await source.add(sample)
  }
  await output.finalize()
  return { bytes: new Uint8Array(target.buffer as ArrayBuffer), contentType: await output.getMimeType() }
}
