/**
 * What a generation says while it runs: one union for local and remote runs.
 *
 * In a process a part holds frames, on the wire it is a reference to bytes, never bytes. How events travel as
 * server-sent events is sse.ts's business.
 */

import type { Warning } from './effective.ts'
import type { ErrorCode } from './errors.ts'
import { type inferenceSources, type Job, type Output, stageNames } from './job.ts'
import type { JobError } from './problem.ts'

export const stages = stageNames
export type Stage = (typeof stages)[number]

export type InferenceSource = (typeof inferenceSources)[number]

/** A block of video as a reference. */
export interface PartReference {
  readonly kind: 'latents' | 'segment'
  readonly url: string
  readonly bytes: number
  readonly sha256: string
}

export type GenerationEvent<Part = PartReference> = { readonly seq: number } & (
  | { readonly type: 'status'; readonly job: Job }
  | {
      readonly type: 'progress'
      /** 0…1 of the whole generation. */
      readonly value: number
      readonly stage: Stage
      readonly step?: number
      readonly steps?: number
      readonly block?: number
      readonly etaMs?: number
      readonly inferenceSource: InferenceSource
    }
  | {
      readonly type: 'preview'
      readonly contentType: string
      readonly url?: string
      readonly dataBase64?: string
      readonly frameIndex: number
      readonly step: number
    }
  | { readonly type: 'part'; readonly block: number; readonly part: Part }
  | { readonly type: 'output'; readonly output: Output }
  | { readonly type: 'warning'; readonly code: string; readonly message: string }
  | { readonly type: 'error'; readonly code: ErrorCode; readonly message: string }
)

/** The same on the wire. */
export type WireEvent =
  | { readonly type: 'status'; readonly job: Job }
  | {
      readonly type: 'progress'
      readonly value: number
      readonly stage: Stage
      readonly step?: number
      readonly steps?: number
      readonly block?: number
      readonly eta_ms?: number
      readonly inference_source: InferenceSource
    }
  | {
      readonly type: 'preview'
      readonly content_type: string
      readonly url?: string
      readonly data_base64?: string
      readonly frame_index: number
      readonly step: number
    }
  | { readonly type: 'part'; readonly block: number; readonly part: PartReference }
  | { readonly type: 'output'; readonly output: Output }
  | { readonly type: 'warning'; readonly warning: Warning }
  | { readonly type: 'error'; readonly error: JobError }

/** Of these only the newest is worth replaying. */
export const isTransient = (type: WireEvent['type']): boolean => type === 'progress' || type === 'preview'
