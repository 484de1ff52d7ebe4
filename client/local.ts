/**
 * Generations on this device: the engine's events as a job's, and a ladder for when the device fails.
 *
 * Rungs: WebGPU, a fresh device after one was lost, wasm. Each starts a new thread and goes on from the last checkpoint,
 * so at most one step is done twice. Every fall has a reason, told as a warning; a request that is refused is refused on
 * every rung and falls nowhere.
 */

import type { ErrorCode, GenerationError } from '../shared/errors.ts'
import type { EffectiveRequest } from '../shared/generation.ts'
import type { Receipt } from '../shared/receipt.ts'
import type { ExecutionProvider } from './backend.ts'
import type { EngineEvent, EngineRequest } from './engine.ts'
import type { EngineThread } from './engine-thread.ts'
import type { ClientEvent, JobState, Output, UnnumberedEvent, VideoRequest } from './events.ts'
import { snakeCase } from './names.ts'

export interface LocalRun {
  readonly id: string
  readonly request: VideoRequest
  readonly inferenceMode: JobState['inferenceMode']
  readonly routingReason: string
  /** Embeds the prompts elsewhere. */
  readonly texts?: (signal: AbortSignal) => Promise<NonNullable<EngineRequest['texts']>>
  /** What another place has done of it already, one for each output. */
  readonly from?: EngineRequest['from']
  /** A picture that the clip begins with. */
  readonly firstFrame?: EngineRequest['firstFrame']
}

/** Where threads come from: one per execution provider, kept between runs. */
export interface Threads {
  readonly first: ExecutionProvider
  readonly get: (provider: ExecutionProvider) => EngineThread
  /** Throws the provider's thread away. */
  readonly drop: (provider: ExecutionProvider) => void
}

/** Failures that another device, or the same one anew, may not have. */
const deviceFailures: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'device_lost',
  'device_unavailable',
  'device_numerics_failed',
  'numerics_failed',
  'out_of_memory',
  'internal',
])

/** Runs a request here. Throws GenerationError; an abort has code `aborted`. */
export async function* generateLocally(
  threads: Threads,
  run: LocalRun,
  signal: AbortSignal,
): AsyncGenerator<ClientEvent> {
  let seq = 0
  const seed = crypto.getRandomValues(new Uint32Array(1))[0] as number
  // Drawn here, so that every rung goes on with the same noise.
  const state = jobKeeper(run)
  yield { seq: ++seq, type: 'status', job: state.job() }
  const texts = await run.texts?.(signal)
  const request: EngineRequest = {
    ...{ request: snakeCase(run.request), seed },
    ...(texts === undefined ? {} : { texts }),
    ...(run.from === undefined ? {} : { from: run.from }),
    ...(run.firstFrame === undefined ? {} : { firstFrame: run.firstFrame }),
  }
  for await (const event of climbed(threads, request, signal))
    for (const each of state.hear(event)) yield { seq: ++seq, ...each } as ClientEvent
}

/** Readies a model on the first rung that bears it; its weights serve them all. Says whether they stay on the device. */
export async function prefetchLocally(
  threads: Threads,
  model: string,
  signal: AbortSignal,
  onProgress: (received: number, total: number) => void,
): Promise<boolean> {
  try {
    return await threads.get(threads.first).prefetch(model, signal, onProgress)
  } catch (error) {
    const failure = error as GenerationError
    if (signal.aborted || threads.first === 'wasm' || !deviceFailures.has(failure.code)) throw error
    threads.drop(threads.first)
    return threads.get('wasm').prefetch(model, signal, onProgress)
  }
}

async function* climbed(threads: Threads, request: EngineRequest, signal: AbortSignal): AsyncGenerator<EngineEvent> {
  const rungs: ExecutionProvider[] = threads.first === 'webgpu' ? ['webgpu', 'webgpu', 'wasm'] : ['wasm', 'wasm']
  for (let at = 0; ; ) {
    const provider = rungs[at] as ExecutionProvider
    try {
      return yield* threads.get(provider).generate(request, signal)
    } catch (error) {
      signal.throwIfAborted()
      const failure = error as GenerationError
      at = nextRung(rungs, at, failure)
      if (at >= rungs.length || !deviceFailures.has(failure.code)) throw error
      threads.drop(provider)
      yield {
        type: 'warning',
        code: 'device_failed_midway',
        message: `${provider} failed (${failure.message}); going on with ${rungs[at] === provider ? `a new ${provider} device` : rungs[at]}`,
      }
    }
  }
}

/** A lost device may come back; one that computes wrong or is not there will not. */
function nextRung(rungs: readonly ExecutionProvider[], at: number, { code }: GenerationError): number {
  const again = rungs[at + 1] === rungs[at]
  return again && code !== 'device_lost' && code !== 'internal' ? at + 2 : at + 1
}

/** Keeps a job's state and turns the engine's events into a client's. */
function jobKeeper(run: LocalRun) {
  const created = new Date().toISOString()
  let job: JobState = newJob(run, created)
  const change = (changes: Partial<JobState>) => {
    job = { ...job, ...changes }
  }
  return {
    job: () => job,
    hear: (event: EngineEvent): UnnumberedEvent[] => {
      switch (event.type) {
        case 'begun':
          change(begun(event.effective, job))
          return [
            { type: 'status', job },
            ...event.warnings.map(({ code, message = code }) => ({ type: 'warning' as const, code, message })),
          ]
        case 'output': {
          const output: Output = { ...event.output, url: URL.createObjectURL(event.output.blob) }
          change({ outputs: [...job.outputs, output] })
          return [{ type: 'output', output }]
        }
        case 'finished':
          change(finished(event.receipt, created))
          return [{ type: 'status', job }]
        case 'warning':
          change({ warnings: [...job.warnings, { code: event.code, message: event.message }] })
          return [event]
        case 'progress':
          change({ progress: event })
          return [event]
        default:
          return [event]
      }
    },
  }
}

function newJob({ id, inferenceMode, routingReason, request }: LocalRun, createdAt: string): JobState {
  return {
    id,
    object: 'video',
    status: 'queued',
    model: request.model ?? '',
    createdAt,
    startedAt: null,
    completedAt: null,
    deadlineAt: createdAt,
    outputsExpireAt: null,
    queuePosition: null,
    progress: null,
    inferenceMode,
    inferenceSource: 'on_device',
    routingReason,
    seed: request.seed ?? 0,
    effective: {},
    contentKey: '',
    cache: { status: 'bypass' },
    outputs: [],
    usage: { costUsd: '0', gpuMs: 0, deviceMs: 0, cached: false },
    receipt: null,
    warnings: [],
    error: null,
    draft: null,
    parentId: null,
    metadata: {},
    urls: { self: '', events: '', cancel: '', content: '' },
  }
}

function begun(effective: EffectiveRequest, job: JobState): Partial<JobState> {
  return {
    status: 'in_progress',
    startedAt: job.startedAt ?? new Date().toISOString(),
    model: `${effective.model}@${effective.revision}`,
    seed: effective.seed,
    effective: { ...effective },
  }
}

function finished(receipt: Receipt, created: string): Partial<JobState> {
  const now = new Date()
  return {
    status: 'completed',
    completedAt: now.toISOString(),
    contentKey: receipt.content_key,
    usage: { costUsd: '0', gpuMs: 0, deviceMs: now.getTime() - Date.parse(created), cached: false },
    receipt,
  }
}
