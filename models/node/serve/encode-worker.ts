/**
 * A thread that encodes frames, so that seconds of H.264 do not keep the node from answering.
 *
 * Spoken to by encoder.ts alone: one answer per request, in order.
 */

import { parentPort } from 'node:worker_threads'
import type { PixelVideo } from '../video-file.ts'
import { encodeFrames, type FrameFormat } from './outputs.ts'

export interface EncodeRequest {
  readonly video: PixelVideo
  readonly format: FrameFormat
}

export type EncodeAnswer = { readonly bytes: Uint8Array } | { readonly failure: string }

parentPort?.on('message', (request: EncodeRequest) => {
  // One after another: an encoder of this kind must not run twice at once.
  lane = lane.then(() => answer(request))
})

let lane: Promise<void> = Promise.resolve()

async function answer({ video, format }: EncodeRequest): Promise<void> {
  try {
    // A copy of its own: an encoder's buffer may be a slice of a larger one, which must not be given away.
    const bytes = Uint8Array.from(await encodeFrames(video, format))
    parentPort?.postMessage({ bytes } satisfies EncodeAnswer, [bytes.buffer])
  } catch (error) {
    parentPort?.postMessage({ failure: String(error) } satisfies EncodeAnswer)
  }
}
