/**
 * What the edge asks of a GPU cloud, and the only words in which it answers.
 *
 * A provider knows nothing of tenants, money or storage. It throws nothing that matters: what a call came to is data,
 * and an outcome nobody saw is `unknown`, never a guess.
 */

import type { CatalogModel } from '../../shared/catalog.ts'
import type { EffectiveVideo, Warning } from '../../shared/effective.ts'
import type { ErrorCode } from '../../shared/errors.ts'
import type { Progress } from '../../shared/job.ts'

export interface ProviderJob {
  readonly id: string
  readonly model: CatalogModel
  readonly effective: EffectiveVideo
  /** Rows after which latents are to be kept beside the outputs. */
  readonly keepStep?: number
  /** Where each asset of the request can be fetched for a while, by asset id. */
  readonly media: Readonly<Record<string, string>>
  /** Opens the bytes of an asset, for providers that fetch from nowhere. @throws where they are gone. */
  readonly open: (asset: string) => Promise<ReadableStream<Uint8Array>>
}

/** One try, stored before anything is sent. */
export interface Attempt {
  readonly jobId: string
  readonly number: number
  readonly nonce: string
  /** null where the provider cannot reach us. */
  readonly webhookUrl: string | null
  /** Unix milliseconds. */
  readonly storedAt: number
  readonly deadline: number
}

/** Opaque to everyone but its provider; at most 2 KiB. */
export interface Operation {
  readonly provider: string
  readonly ref: string
}

export interface Refusal {
  readonly code: ErrorCode
  readonly detail: string
}

export type StartResult =
  | { readonly kind: 'accepted'; readonly operation: Operation; readonly warnings: readonly Warning[] }
  /** With `retryAfterMs` the job stays and is tried again; without, it fails. */
  | { readonly kind: 'refused'; readonly error: Refusal; readonly retryAfterMs?: number }
  | { readonly kind: 'unknown'; readonly cause: string }

/** A look at a run: a small picture. */
export interface ProviderPreview {
  readonly content_type: string
  readonly data_base64: string
  readonly frame_index: number
  readonly step: number
}

/** An output that is ready before the others, still with the provider. */
export interface ProviderPart {
  readonly index: number
  readonly url: string
  readonly envelope?: unknown
}

export interface ProviderLatents {
  readonly url: string
  readonly envelope: unknown
}

export type ProviderStatus =
  /** Not begun; `position` is how many wait before it, where the provider says so. */
  | { readonly state: 'queued'; readonly position?: number }
  | {
      readonly state: 'in_progress'
      readonly progress: Progress | null
      /** The newest look at it, and what is ready already, where the provider shows them. */
      readonly preview?: ProviderPreview
      readonly parts?: readonly ProviderPart[]
    }
  | {
      readonly state: 'succeeded'
      readonly outputs: readonly string[]
      readonly gpuMs: number
      readonly receipt: Readonly<Record<string, unknown>> | null
      /** Of each output what it is as latents, unchecked; absent where the provider says nothing of them. */
      readonly envelopes?: readonly unknown[]
      /** Latents kept on the way, where they were asked for. */
      readonly kept?: ProviderLatents
    }
  | { readonly state: 'failed'; readonly error: Refusal }
  /** Stopped; whether by us, the asker knows. */
  | { readonly state: 'canceled' }
  /** Stopped before it began, and not billed. */
  | { readonly state: 'aborted' }
  /** The provider knows no such operation. */
  | { readonly state: 'missing' }
  /** Nothing was learned this time; ask again. */
  | { readonly state: 'unreachable'; readonly cause: string }

export interface Provider {
  readonly name: string
  /** Whether an attempt of unknown outcome may simply be started again. */
  readonly repeatable: boolean
  /** Milliseconds to the next poll, by how many there were. */
  readonly pollMs: (polls: number) => number
  readonly start: (job: ProviderJob, attempt: Attempt, signal: AbortSignal) => Promise<StartResult>
  readonly status: (operation: Operation, signal: AbortSignal) => Promise<ProviderStatus>
  /** Asks for a stop; asking twice is harmless. */
  readonly cancel: (operation: Operation, signal: AbortSignal) => Promise<void>
  readonly find: (
    attempt: Attempt,
    signal: AbortSignal,
  ) => Promise<Operation | 'absent' | 'unsupported' | 'unreachable'>
  /** Fetches an output, from the provider's own hosts alone. */
  readonly fetchOutput: (url: string, signal: AbortSignal) => Promise<Response>
  /** The secret its webhooks are signed with. */
  readonly webhookSecret: (signal: AbortSignal) => Promise<string>
  /** How many runs would wait before a new one, where the provider says so. */
  readonly queue?: (signal: AbortSignal) => Promise<number | null>
  /** Prompt embeddings, where the provider makes them. */
  readonly embed?: (request: EmbeddingRequest, signal: AbortSignal) => Promise<Response>
}

export interface EmbeddingRequest {
  readonly model: string
  readonly prompt: string
  /** Embedded beside the prompt where it is there, also empty. */
  readonly negative_prompt?: string
  readonly dtype: 'f16' | 'int8'
}
