/**
 * The engine: a request to a finished file on this device, as events. Runs in a worker of its own (thread.ts).
 *
 * Loads the runtime and the model once, checks the adapter, runs the pipeline, keeps a checkpoint after every step and
 * goes on from one that is there. One generation at a time. Knows no page and no service.
 */

import { type Picture, pictureAt } from '../models/pipeline/first-frame.ts'
import type { SplitRunner } from '../models/pipeline/generate.ts'
import type { PromptEmbeddings } from '../models/pipeline/known-texts.ts'
import type { Latents } from '../models/pipeline/split.ts'
import { catalogModelOf, standardClip } from '../shared/catalog.ts'
import { resolveRequest, type Warning } from '../shared/effective.ts'
import { GenerationError } from '../shared/errors.ts'
import type { EffectiveRequest } from '../shared/generation.ts'
import type { ModelCard } from '../shared/manifest.ts'
import { type Receipt, receiptOf } from '../shared/receipt.ts'
import { parseRequest } from '../shared/request.ts'
import { type Checkpoint, checkpointKey } from './checkpoint.ts'
import { deviceModelOf, isOwn } from './device-model.ts'
import type { Output, UnnumberedEvent } from './events.ts'
import type { Clip } from './frames.ts'
import { encodeGif } from './gif.ts'
import { sha256 } from './hash.ts'
import { type EngineOptions, furnish, goldenVerdict, type House, lazily, type Seated, seat } from './house.ts'
import { type EncodedVideo, encodeMovie } from './mp4.ts'
import { stepTimer, trial } from './pace.ts'
import { posterOf } from './poster.ts'
import { eventQueue } from './queue.ts'
import { makerOf } from './receipt.ts'
import { isFull } from './shelf.ts'
import { encodeWebp } from './webp.ts'

/** A request and the seed to use where it names none; names are the wire's. */
export interface EngineRequest {
  readonly request: unknown
  readonly seed: number
  /** Embeddings of its prompts, where they were encoded elsewhere. */
  readonly texts?: readonly (readonly [prompt: string, text: PromptEmbeddings])[]
  /** What to go on from, one for each output; without it the run begins with noise. */
  readonly from?: readonly Handover[]
  /** A picture that the clip begins with, of any size. */
  readonly firstFrame?: Picture
}

/** Latents [1, C, F, h, w] with `step` rows behind them, checked against the request by whoever brings them. */
export interface Handover {
  readonly data: Float32Array
  readonly step: number
}

/** Object URLs do not expire while their page lives. */
const never = '9999-12-31T23:59:59Z'

/** An output before it has an address; latents have no poster. */
export type MadeOutput = Omit<Output, 'url'> & { readonly blob: Blob; readonly poster?: Blob }

export type EngineEvent =
  | { readonly type: 'begun'; readonly effective: EffectiveRequest; readonly warnings: readonly Warning[] }
  | Exclude<UnnumberedEvent, { type: 'output' | 'status' | 'error' }>
  | { readonly type: 'output'; readonly output: MadeOutput }
  | { readonly type: 'finished'; readonly receipt: Receipt }

export interface ModelState {
  readonly card: ModelCard
  /** Whether it is the one used when none is named. */
  readonly standard: boolean
  readonly cached: boolean
  readonly golden: 'pass' | 'fail' | 'untested'
  /** Milliseconds of a step of its standard clip on this device, where one was run. */
  readonly msPerStep?: number
}

export interface Engine {
  readonly generate: (request: EngineRequest, signal: AbortSignal) => AsyncIterable<EngineEvent>
  /**
   * Downloads a model, loads the runtime and checks the adapter, so that the next generation begins at once. Says whether
   * the weights stay on this device: without room for them they are in memory alone.
   */
  readonly prefetch: (
    id: string,
    signal: AbortSignal,
    onProgress: (received: number, total: number) => void,
  ) => Promise<boolean>
  /** Finds out what a step of one of our models takes, unless that is known or a run comes between. */
  readonly measure: (id: string, signal: AbortSignal) => Promise<void>
  readonly models: (signal: AbortSignal) => Promise<ModelState[]>
  readonly remove: (id: string, signal: AbortSignal) => Promise<void>
  /** Settles when the GPU is gone: this engine is of no more use. */
  readonly lost: Promise<GenerationError>
}

export function createEngine(options: EngineOptions): Engine {
  const loss = Promise.withResolvers<GenerationError>()
  const house = lazily(() => furnish(options, loss.resolve))
  return {
    lost: loss.promise,
    async *generate(request, signal) {
      yield* generation(await house(), request, signal)
    },
    prefetch: async (id, signal, onProgress) => {
      const context = await house()
      const card = await context.library.card(id, signal)
      await seat(context, card, signal, onProgress)
      return context.store.durable && context.library.cached(card)
    },
    measure: async (id, signal) => {
      const context = await house()
      const card = await context.library.card(id, signal)
      if (isOwn(card) && (await context.paces.of(card)) === undefined) await measured(context, card, signal)
    },
    models: async (signal) => {
      const { library, notes, paces } = await house()
      const standard = await library.standard(signal)
      const cards = await Promise.all((await library.ids(signal)).map((id) => library.card(id, signal)))
      return Promise.all(
        cards.map(async (card) => {
          const msPerStep = await paces.of(card)
          return {
            card,
            standard: card.id === standard,
            cached: await library.cached(card),
            golden: options.provider === 'wasm' ? 'pass' : await goldenVerdict(notes, card),
            ...(msPerStep === undefined ? {} : { msPerStep }),
          }
        }),
      )
    },
    remove: async (id, signal) => {
      const { library, store } = await house()
      const card = await library.card(id, signal)
      for (const { sha256: name } of library.files(card)) await store.remove(name)
    },
  }
}

async function measured(house: House, card: ModelCard, signal: AbortSignal): Promise<void> {
  const seated = await seat(house, card, signal, () => {})
  const release = await house.turn()
  const own = new AbortController()
  house.trial = own
  try {
    const milliseconds = await trial(seated, AbortSignal.any([signal, own.signal]))
    if (milliseconds !== undefined)
      await house.paces.note(card, standardClip(catalogModelOf(card).parameters), milliseconds)
  } finally {
    delete house.trial
    release()
  }
}

async function* generation(
  house: House,
  { request, seed, texts = [], from, firstFrame }: EngineRequest,
  signal: AbortSignal,
): AsyncGenerator<EngineEvent> {
  const parsed = parseRequest(request)
  const card = await house.library.card(parsed.model ?? (await house.library.standard(signal)), signal)
  // Refused before a byte of weights is fetched.
  const { effective: resolved, warnings } = resolveFor(card, parsed, seed)
  const picture = firstFrame === undefined ? undefined : await fittedPicture(firstFrame, resolved, card)
  const effective = picture === undefined ? resolved : { ...resolved, frame_images: picture.frame_images }
  yield { type: 'begun', effective, warnings }
  for (const [prompt, text] of texts) house.texts.keep(card.id, prompt, text)
  const seated = yield* seating(house, card, signal)
  const hashes: string[] = []
  house.trial?.abort()
  const release = await house.turn()
  try {
    const given = picture && (await seated.runner.encode?.(picture.pixels, effective.height, effective.width))
    for (let index = 0; index < effective.n; index++) {
      const one = { ...effective, n: 1, seed: (effective.seed + index) % 2 ** 32 }
      const place = { index, of: effective.n, from: from?.[index], given }
      const output = yield* made(house, seated, one, place, signal)
      hashes.push(output.sha256)
      yield { type: 'output', output }
    }
  } finally {
    release()
  }
  const split = from === undefined ? {} : { inference_source: 'hybrid' as const, split_step: from[0]?.step ?? null }
  const maker = await makerOf(seated.model, seated.backend)
  yield { type: 'finished', receipt: await receiptOf(maker, effective, hashes, split) }
}

function resolveFor(card: ModelCard, parsed: ReturnType<typeof parseRequest>, seed: number) {
  const { effective, warnings } = resolveRequest(parsed, deviceModelOf(card), { seed })
  const { num_inference_steps: steps, guidance_scale: guidance, scheduler } = effective
  if (steps === null || guidance === null || scheduler === null) {
    throw new GenerationError('model_format', `${card.id}: its card lacks steps, guidance or a sampler`)
  }
  if (effective.output_format !== 'latents' && !Object.hasOwn(encoders, effective.output_format)) {
    const available = [...Object.keys(encoders), 'latents']
    throw new GenerationError(
      'format_unavailable',
      `output_format: got ${effective.output_format}, allowed here are ${available.join(', ')}`,
      { available },
    )
  }
  return { effective: { ...effective, num_inference_steps: steps, guidance_scale: guidance, scheduler }, warnings }
}

/** A picture as the request takes it, named by its hash. @throws GenerationError unsupported_capability. */
async function fittedPicture(picture: Picture, { height, width }: EffectiveRequest, card: ModelCard) {
  if (!isOwn(card)) {
    throw new GenerationError(
      'unsupported_capability',
      `first_frame: got a picture, ${card.id} begins with none; name another model or leave it out`,
      { pointer: '/frame_images' },
    )
  }
  const pixels = pictureAt(picture, height, width)
  const frame = { image: await sha256(Uint8Array.from(pixels)), frame_type: 'first_frame' as const }
  return { pixels, frame_images: [frame] }
}

/** seat() with its downloads as events. */
async function* seating(house: House, card: ModelCard, signal: AbortSignal): AsyncGenerator<EngineEvent, Seated> {
  const heard = eventQueue<EngineEvent>()
  const finished = seat(house, card, signal, (step, steps) => {
    heard.replace({ type: 'progress', value: 0, stage: 'download', step, steps, inferenceSource: 'on_device' })
  })
  finished.then(heard.end, heard.end)
  yield* heard.events
  return finished
}

interface Place {
  readonly index: number
  readonly of: number
  readonly from: Handover | undefined
  readonly given: Float32Array | undefined
}

/** One output: latents by the pipeline, then frames, then the file; or the latents themselves. */
async function* made(
  house: House,
  seated: Seated,
  request: EffectiveRequest,
  place: Place,
  signal: AbortSignal,
): AsyncGenerator<EngineEvent, MadeOutput> {
  const scaled = (value: number) => (place.index + 0.98 * value) / place.of
  const key = await checkpointKey(seated.model, request, place.from)
  const latents = yield* denoised(house, seated, request, { ...place, key, scaled }, signal)
  const output =
    request.output_format === 'latents'
      ? await fileOf(latentBytes(latents), 'application/octet-stream', request, place.index)
      : yield* decoded(seated, request, latents, { ...place, scaled }, signal)
  await house.checkpoints.remove(key)
  return output
}

/** The rows of a run, each kept and shown; those that another has done, or that a checkpoint has, are not taken. */
async function* denoised(
  house: House,
  { steps, model, runner }: Seated,
  request: EffectiveRequest,
  { key, from, given, scaled }: Place & { readonly key: string; readonly scaled: (value: number) => number },
  signal: AbortSignal,
): AsyncGenerator<EngineEvent, Latents> {
  const { num_frames: frames, width, height, stop_step: until } = request
  const waiting: EngineEvent[] = []
  const clock = stepClock(until ?? model.rows(request).length)
  const timer = stepTimer()
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
      timer.stepped()
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
  const events = runner.denoise(request, signal, split)
  for (;;) {
    const { done, value } = await events.next()
    yield* waiting.splice(0)
    if (done) {
      const milliseconds = timer.mean()
      if (milliseconds !== undefined) await house.paces.note(model.card, request, milliseconds)
      return value
    }
    const { seq: _, ...event } = value
    if (event.type === 'progress') yield { ...event, value: scaled(event.value), ...clock(event.step) }
    else yield pipelineEvent(event)
  }
}

const unkept = 'this browser’s storage is full: the run goes on, but a reload would begin it anew'

async function* decoded(
  { runner }: Seated,
  request: EffectiveRequest,
  latents: Latents,
  { index, scaled }: Place & { readonly scaled: (value: number) => number },
  signal: AbortSignal,
): AsyncGenerator<EngineEvent, MadeOutput> {
  const { num_frames: frames, width, height, fps, output_format: format } = request
  const clip: Clip = { frames, width, height, fps, pixels: new Uint8Array(frames * height * width * 3) }
  for await (const { seq: _, ...event } of runner.decode(request, latents, signal)) {
    if (event.type === 'part') clip.pixels.set(event.part.pixels, event.part.first * height * width * 3)
    if (event.type === 'progress') yield { ...event, value: scaled(event.value) }
    else yield pipelineEvent(event)
  }
  yield { type: 'progress', value: scaled(1), stage: 'mux', inferenceSource: 'on_device' }
  const { bytes, contentType } = await (encoders[format] as Encoder)(clip, signal)
  // Worth having, not failing for.
  const poster = await posterOf(clip).catch(() => undefined)
  return { ...(await fileOf(bytes, contentType, request, index)), ...(poster === undefined ? {} : { poster }) }
}

/** As they lie in memory: every machine with a browser is little-endian. */
const latentBytes = ({ data }: Latents): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))

type PipelineEvent = ReturnType<SplitRunner['generate']> extends AsyncIterable<infer E> ? E : never
type Passed = Extract<PipelineEvent, { type: 'part' | 'warning' }>

/** The pipeline speaks of parts and warnings; the rest of the union is the edge's. */
function pipelineEvent(event: Omit<PipelineEvent, 'seq'>): EngineEvent {
  if (event.type === 'part' || event.type === 'warning') return event as Omit<Passed, 'seq'> as EngineEvent
  throw new Error(`engine: the pipeline sent ${event.type}, allowed are progress, part and warning`)
}

/** What is left, by the mean of the steps so far; the first pays for compiling and is not counted. */
function stepClock(steps: number): (step: number | undefined) => { etaMs?: number } {
  let [began, first] = [0, 0]
  return (step) => {
    if (step === undefined) return {}
    const now = performance.now()
    if (first === 0) {
      ;[began, first] = [now, step]
      return {}
    }
    return { etaMs: Math.round(((now - began) / (step - first)) * (steps - step)) }
  }
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
