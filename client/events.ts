/**
 * What a generation says in the SDK, wherever it runs: the shared union under camel-case names, with frames, rough
 * previews and files where they are made here.
 *
 * Local and remote runs are one function type, so a caller cannot tell them apart but by the receipt.
 */

import type { FramesPart } from '../models/pipeline/frames.ts'
import type { PreviewFrames } from '../models/pipeline/preview.ts'
import type { ErrorCode } from '../shared/errors.ts'
import type { GenerationEvent, PartReference } from '../shared/events.ts'
import type { Job as WireJob, Output as WireOutput } from '../shared/job.ts'
import type { Receipt } from '../shared/receipt.ts'
import type { VideoRequest as WireRequest } from '../shared/request.ts'
import type { CamelCase } from './names.ts'

/** A request; the shared schema under camel-case names, but for an envelope, which is signed as it is. */
export type VideoRequest = Omit<CamelCase<WireRequest>, 'envelope'> & Pick<WireRequest, 'envelope'>

/**
 * A finished file. Made here it has its bytes, `url` is an object URL of this page, and `poster` its middle frame as PNG.
 */
export type Output = CamelCase<WireOutput> & { readonly blob?: Blob; readonly poster?: Blob }

/** One generation as its caller sees it. */
export type JobState = Omit<CamelCase<WireJob>, 'outputs' | 'receipt'> & {
  readonly outputs: readonly Output[]
  readonly receipt: Receipt | null
}

export type { PreviewFrames }

type Progress = Extract<GenerationEvent, { type: 'progress' }>
type Preview = Extract<GenerationEvent, { type: 'preview' }>

/** Events before they are numbered. */
export type UnnumberedEvent =
  | { readonly type: 'status'; readonly job: JobState }
  | Omit<Progress, 'seq'>
  /** A rough look at the clip after a step; `frames` where it is made here. */
  | (Omit<Preview, 'seq'> & { readonly frames?: PreviewFrames })
  | { readonly type: 'part'; readonly block: number; readonly part: FramesPart | PartReference }
  | { readonly type: 'output'; readonly output: Output }
  | { readonly type: 'warning'; readonly code: string; readonly message: string }
  | { readonly type: 'error'; readonly code: ErrorCode; readonly message: string }

export type ClientEvent = { readonly seq: number } & UnnumberedEvent

/**
 * Runs a request. Ends after a terminal `status`; failures are thrown as GenerationError, an abort with code `aborted`.
 */
export type Generate = (request: VideoRequest, signal: AbortSignal) => AsyncIterable<ClientEvent>
