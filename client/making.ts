/**
 * One output of a run: latents row by row, each kept and shown, then frames, then the file.
 *
 * Takes a seated model and a request whose dials are settled; knows neither where they come from nor who waits.
 */

import type { SplitRunner } from '../models/pipeline/generate.ts'
import type { Latents } from '../models/pipeline/split.ts'
import type { EffectiveRequest } from '../shared/generation.ts'
import { type Checkpoint, checkpointKey } from './checkpoint.ts'
import type { Output, UnnumberedEvent } from './events.ts'
import type { Clip } from './frames.ts'
import { encodeGif } from './gif.ts'
import { sha256 } from './hash.ts'
import type { House, Seated } from './house.ts'
import { type EncodedVideo, encodeMovie } from './mp4.ts'
import { type Stopwatch, stopwatch } from './pace.ts'
import { posterOf } from './poster.ts'
import { isFull } from './shelf.ts'
import { encodeWebp } from './webp.ts'

/** Latents [1, C, F, h, w] with `step` rows behind them, checked against the request by whoever brings them. */
export interface Handover {
  readonly data: Float32Array
  readonly step: number
}

/** An output before it has an address; latents have no poster. */
export type MadeOutput = Omit<Output, 'url'> & { readonly blob: Blob; readonly poster?: Blob }

export type MakingEvent = Exclude<UnnumberedEvent, { type: 'output' | 'status' | 'error' }>

/** Which of a batch an output is, and what it begins from. */
export interface Place {
  readonly index: number
  readonly of: number
  readonly from?: Handover | undefined
  readonly given?: Float32Array | undefined
}

/** Object URLs do not expire while their page lives. */
const never = '9999-12-31T23:59:59Z'

/** Makes one output, and notes what it took. */
export async function* made(
  house: House,
  seated: Seated,
  request: EffectiveRequest,
  place: Place,
  signal: AbortSignal,
): AsyncGenerator<MakingEvent, MadeOutput> {
  // Latents alone are no clip.
  const bare = request.output_format === 'latents'
  const known = await house.paces.at(seated.model.card, request)
  const watch = stopwatch(bare && known ? { step: known.step } : known)
  const loads = seated.steps.loads()
  const key = await checkpointKey(seated.model, request, place.from)
  const latents = yield* denoised(house, seated, request, { ...place, key, watch }, signal)
  const output = bare
    ? await fileOf(latentBytes(latents), 'application/octet-stream', request, place.index)
    : yield* decoded(seated, request, latents, place, signal)
  // What compiles once is not what the next run takes.
  const pace = watch.pace(bare || seated.steps.loads() > loads ? 'steps' : 'clip')
  if (pace !== undefined) await house.paces.note(seated.model.card, request, pace)
  await house.checkpoints.remove(key)
  return output
}

/** How much of its batch is done when an output is done by so much; the receipt is the rest. */
const scaled = ({ index, of }: Place, value: number) => (index + 0.98 * value) / of

interface Denoising extends Place {
  readonly key: string
  /** Told each row that was taken, once it is kept. */
  readonly watch: Stopwatch
  /** Shown each row's clean estimate, which it must not keep. */
  readonly see?: (estimate: Float32Array) => void
}

/** The rows of a run, each kept and shown; those that another has done, or that a checkpoint has, are not taken. */
export async function* denoised(
  house: House,
  { steps, model, runner }: Seated,
  request: EffectiveRequest,
  { key, watch, see, ...place }: Denoising,
  signal: AbortSignal,
): AsyncGenerator<MakingEvent, Latents> {
  const { num_frames: frames, width, height, stop_step: until } = request
  const { from, given } = place
  const waiting: MakingEvent[] = []
  const rows = until ?? model.rows(request).length
  let keeping = true
  const keep = async (checkpoint: Checkpoint) => {
    if (!keeping) return
    try {
      await house.checkpoints.save(key, checkpoint)
    } catch (error) {
      if (!isFull(error)) throw error
      // A run that cannot be taken up again is still a run.
      keeping = false
      waiting.push({ type: 'warning', code: 'checkpoint_unkept', message: unkept })
    }
  }
  steps.watch({
    start: from?.step ?? 0,
    from: await house.checkpoints.load(key),
    onStep: async (checkpoint) => {
      await keep(checkpoint)
      watch.stepped()
      const preview = runner.preview?.(checkpoint.estimate, { frames, height, width })
      if (preview === undefined) return
      const shown = { frameIndex: 0, contentType: 'image/x-rgb', frames: preview }
      waiting.push({ type: 'preview', step: checkpoint.step, ...shown })
    },
  })
  const split = {
    ...(from === undefined ? {} : { from }),
    ...(until === undefined ? {} : { until }),
    ...(given === undefined ? {} : { given }),
  }
  const events = runner.denoise(request, signal, split, see)
  try {
    for (;;) {
      const { done, value } = await events.next()
      yield* waiting.splice(0)
      if (done) return value
      const { seq: _, ...event } = value
      if (event.type !== 'progress') yield pipelineEvent(event)
      else
        yield { ...event, value: scaled(place, event.value), ...timeLeft(watch, { ...place, from }, event.step, rows) }
    }
  } finally {
    // Its reader may have seen enough; at its end there is nothing left to end.
    await events.return(undefined as never)
  }
}

const unkept = 'this browser’s storage is full: the run goes on, but a reload would begin it anew'

/** Frames of latents at the end of their plan, and the file of them. */
export async function* decoded(
  { runner }: Seated,
  request: EffectiveRequest,
  latents: Latents,
  place: Place,
  signal: AbortSignal,
): AsyncGenerator<MakingEvent, MadeOutput> {
  const { num_frames: frames, width, height, fps, output_format: format } = request
  const clip: Clip = { frames, width, height, fps, pixels: new Uint8Array(frames * height * width * 3) }
  for await (const { seq: _, ...event } of runner.decode(request, latents, signal)) {
    if (event.type === 'part') clip.pixels.set(event.part.pixels, event.part.first * height * width * 3)
    if (event.type === 'progress') yield { ...event, value: scaled(place, event.value) }
    else yield pipelineEvent(event)
  }
  yield { type: 'progress', value: scaled(place, 1), stage: 'mux', inferenceSource: 'on_device' }
  const { bytes, contentType } = await (encoders[format] as Encoder)(clip, signal)
  // Worth having, not failing for.
  const poster = await posterOf(clip).catch(() => undefined)
  return { ...(await fileOf(bytes, contentType, request, place.index)), ...(poster === undefined ? {} : { poster }) }
}

/** As they lie in memory: every machine with a browser is little-endian. */
const latentBytes = ({ data }: Latents): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))

type PipelineEvent = ReturnType<SplitRunner['generate']> extends AsyncIterable<infer E> ? E : never
type Passed = Extract<PipelineEvent, { type: 'part' | 'warning' }>

/** The pipeline speaks of parts and warnings; the rest of the union is the edge's. */
function pipelineEvent(event: Omit<PipelineEvent, 'seq'>): MakingEvent {
  if (event.type === 'part' || event.type === 'warning') return event as Omit<Passed, 'seq'> as MakingEvent
  throw new Error(`engine: the pipeline sent ${event.type}, allowed are progress, part and warning`)
}

/** What is left of a batch when one of its outputs has come to a row. */
function timeLeft(
  watch: Stopwatch,
  { index, of, from }: Place,
  row: number | undefined,
  rows: number,
): { etaMs?: number } {
  const pace = watch.expected()
  if (row === undefined || pace === undefined) return {}
  const lasts = (after: number) => (rows - after) * pace.step + (pace.besides ?? 0)
  return { etaMs: Math.round(lasts(row) + (of - index - 1) * lasts(from?.step ?? 0)) }
}

async function fileOf(
  bytes: Uint8Array<ArrayBuffer>,
  contentType: string,
  { output_format: format, width, height, fps, num_frames: numFrames }: EffectiveRequest,
  index: number,
): Promise<MadeOutput> {
  return {
    index,
    variant: format === 'latents' ? 'latent' : 'video',
    format,
    contentType,
    blob: new Blob([bytes], { type: contentType }),
    bytes: bytes.length,
    sha256: await sha256(bytes),
    width,
    height,
    fps,
    numFrames,
    urlExpiresAt: never,
  }
}

type Encoder = (clip: Clip, signal: AbortSignal) => Promise<EncodedVideo>

const encoders: Readonly<Record<string, Encoder>> = {
  mp4: (clip, signal) => encodeMovie(clip, 'mp4', signal),
  webm: (clip, signal) => encodeMovie(clip, 'webm', signal),
  gif: async (clip) => ({ bytes: encodeGif(clip), contentType: 'image/gif' }),
  webp: async (clip) => ({ bytes: await encodeWebp(clip), contentType: 'image/webp' }),
}

/** Formats that this device may write. */
export const encodable: readonly string[] = [...Object.keys(encoders), 'latents']
