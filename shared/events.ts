/**
 * What a generation says while it runs: one union for local and remote runs.
 *
 * In a process a part holds frames, on the wire it is a reference to bytes, never bytes.
 */

import type { ErrorCode } from './errors.ts'

export const stages = ['download', 'text_encode', 'denoise', 'vae_decode', 'upscale', 'mux', 'upload'] as const
export type Stage = (typeof stages)[number]

export type InferenceSource = 'on_device' | 'in_cloud' | 'hybrid'

/** A block of video as a reference. */
export interface PartReference {
  readonly kind: 'latents' | 'segment'
  readonly url: string
  readonly bytes: number
  readonly sha256: string
}

export type GenerationEvent<Part = PartReference> = { readonly seq: number } & (
  | {
      readonly type: 'progress'
      /** 0…1 of the whole generation. */
      readonly value: number
      readonly stage: Stage
      readonly step?: number
      readonly steps?: number
      readonly etaMs?: number
      readonly inferenceSource: InferenceSource
    }
  | { readonly type: 'part'; readonly block: number; readonly part: Part }
  | { readonly type: 'warning'; readonly code: string; readonly message: string }
  | { readonly type: 'error'; readonly code: ErrorCode; readonly message: string }
)
