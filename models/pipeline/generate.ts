/**
 * A generation on one backend: text, denoising, decoding, as a stream of events.
 *
 * Loops live here and nowhere in graphs, so progress, cancellation and hand-off do too. Noise is drawn by the seed
 * alone; numbers that are not finite, and pictures that are flat, end the run as errors, never as results.
 */

import { GenerationError } from '../../shared/errors.ts'
import type { GenerationEvent } from '../../shared/events.ts'
import type { EffectiveRequest } from '../../shared/generation.ts'
import { planOf } from '../../shared/plan.ts'
import { denoisedFrom, type Prediction } from '../../shared/prediction.ts'
import { gaussian, streams } from '../../shared/random.ts'
import type { SamplerStep } from '../../shared/sampler.ts'
import { cleanLevel, noiseAngle } from '../../shared/schedule.ts'
import { type LatentShape, latentShape } from '../../shared/video.ts'
import { latentStrides, temporalStride } from '../networks/autoencoder.ts'
import { paddingBias } from '../networks/text-encoder.ts'
import { sinusoids } from '../nn/embedding.ts'
import { encodeText, tokenize, unknownWords } from '../text/tokenizer.ts'
import type { Backend, HostTensor, ModelSource, Session } from './backend.ts'
import {
  compileConditions,
  compileDecoder,
  compilePicture,
  compileStep,
  compileText,
  compileWholeStep,
  rowNames,
} from './compile.ts'
import { rowsAtOnce } from './conditions.ts'
import { requireFinite } from './finite.ts'
import { withFirst } from './first-frame.ts'
import { type FramesPart, pixelsOf, valuesOf } from './frames.ts'
import type { KnownTexts, PromptEmbeddings } from './known-texts.ts'
import type { Model } from './model.ts'
import { type Preview, previewOf } from './preview.ts'
import { type Latents, rangeOf, requireFit, type Split, type Start } from './split.ts'

export type FramesEvent = GenerationEvent<FramesPart>
type Event = FramesEvent
// Distributes over the union, so that each event keeps its own fields.
export type Unnumbered<T> = T extends unknown ? Omit<T, 'seq'> : never

/** What running a request needs besides the model: a place to run, and the sessions loaded so far. */
export interface Runner extends AsyncDisposable {
  readonly generate: (request: EffectiveRequest, signal: AbortSignal, start?: Start) => AsyncIterable<Event>
}

/** Sees the clean estimate [1, C, F, h, w] that each row made, and how many rows are done. It must not keep it. */
export type WatchEstimate = (estimate: Float32Array, step: number) => void

/** A runner whose run can be cut in two, its halves in different places. */
export interface SplitRunner extends Runner {
  /** The first half of `generate`, or a part of it: events, then the latents. */
  readonly denoise: (
    request: EffectiveRequest,
    signal: AbortSignal,
    split?: Split,
    watch?: WatchEstimate,
  ) => AsyncGenerator<Event, Latents>
  /** The second half: latents at the end of their plan to frames. */
  readonly decode: (request: EffectiveRequest, latents: Latents, signal: AbortSignal) => AsyncIterable<Event>
  /** Embeddings [B, L, D] of some prompts, and how many of the L tokens of each are its own. */
  readonly embed: (texts: readonly string[]) => Promise<Embeddings>
  /** Where a clean estimate can be shown without the decoder. */
  readonly preview?: Preview
  /** Where a clip can begin with a picture: its pixels [height, width, 3] as `Split.given`. */
  readonly encode?: (pixels: Uint8Array, height: number, width: number) => Promise<Float32Array>
}

export interface Embeddings {
  readonly text: HostTensor
  readonly tokens: readonly number[]
}

/**
 * Runs requests one after another, keeping the sessions of the last shapes for the next request.
 * @param known prompts that need no text encoder here.
 */
export function runner(model: Model, backend: Backend, known: KnownTexts = () => undefined): SplitRunner {
  const sessions = sessionCache(backend)
  const context = (request: EffectiveRequest, signal: AbortSignal) => ({ model, request, signal, sessions, known })
  return {
    generate: (request, signal, start = {}) => numbered(run(context(request, signal), start)),
    denoise: (request, signal, split = {}, watch) => numbered(firstHalf(context(request, signal), split, watch)),
    decode: (request, latents, signal) => numbered(decode(context(request, signal), latents)),
    embed: (texts) => embed(model, sessions, texts),
    preview: previewOf(model),
    encode: (pixels, height, width) => encodePicture(model, sessions, pixels, height, width),
    [Symbol.asyncDispose]: () => sessions[Symbol.asyncDispose](),
  }
}

interface Run {
  readonly model: Model
  readonly request: EffectiveRequest
  readonly signal: AbortSignal
  readonly sessions: SessionCache
  readonly known: KnownTexts
}

export async function* numbered<Result>(
  events: AsyncGenerator<Unnumbered<Event>, Result>,
): AsyncGenerator<Event, Result, undefined> {
  try {
    for (let seq = 0; ; seq++) {
      const event = await events.next()
      if (event.done) return event.value
      yield { ...event.value, seq } as Event
    }
  } finally {
    await events.return(undefined as never)
  }
}

async function* run(context: Run, start: Start): AsyncGenerator<Unnumbered<Event>, void> {
  const latents = yield* firstHalf(context, start)
  context.signal.throwIfAborted()
  yield* decode(context, latents)
}

async function* firstHalf(
  context: Run,
  split: Split,
  watch?: WatchEstimate,
): AsyncGenerator<Unnumbered<Event>, Latents> {
  const { model, request } = context
  const shape = latentShape(
    { frames: request.num_frames, height: request.height, width: request.width },
    latentStrides,
    model.autoencoder.channels,
  )
  yield* promptWarnings(request, model)
  const conditions = await encodePrompts(context)
  return yield* denoise(context, shape, conditions, split, watch)
}

function* promptWarnings({ prompt, negative_prompt }: EffectiveRequest, { text }: Model): Generator<Unnumbered<Event>> {
  for (const { word, suggestion } of unknownWords(`${prompt} ${negative_prompt}`)) {
    const hint = suggestion === undefined ? 'it will not show' : `did you mean ${suggestion}?`
    yield { type: 'warning', code: 'unknown_word', message: `the model has no word “${word}”; ${hint}` }
  }
  const length = tokenize(prompt).length
  if (length > text.maxTokens) {
    yield {
      type: 'warning',
      code: 'prompt_truncated',
      message: `the prompt has ${length} tokens, the model reads ${text.maxTokens}`,
    }
  }
}

/** Text conditioning as feeds of the step. Two rows where guidance needs the unconditional one. */
async function encodePrompts({ model, request, sessions, known }: Run): Promise<Readonly<Record<string, HostTensor>>> {
  const texts = rowsOf(model, request) === 2 ? [request.prompt, request.negative_prompt] : [request.prompt]
  const embedded = texts.map(known).filter((each) => each !== undefined)
  return embedded.length === texts.length ? conditionsOf(embedded) : encodeTexts(model, sessions, texts)
}

/** What the text encoder would have given, from each text's own tokens: the rest is masked, the mean is over the own. */
function conditionsOf(texts: readonly PromptEmbeddings[]): Readonly<Record<string, HostTensor>> {
  const [batch, width] = [texts.length, texts[0]?.width ?? 0]
  const length = paddedLength(Math.max(...texts.map(({ count }) => count)))
  const text = new Float32Array(batch * length * width)
  const pooled = new Float32Array(batch * width)
  const textBias = new Float32Array(batch * length)
  for (const [row, { data, count }] of texts.entries()) {
    text.set(data.subarray(0, count * width), row * length * width)
    textBias.fill(paddingBias, row * length + count, (row + 1) * length)
    for (let at = 0; at < count * width; at++)
      pooled[row * width + (at % width)] = (pooled[row * width + (at % width)] as number) + (data[at] as number) / count
  }
  const tensor = (shape: number[], data: Float32Array): HostTensor => ({ dtype: 'float32', shape, data })
  return {
    text: tensor([batch, length, width], text),
    pooled: tensor([batch, width], pooled),
    textBias: tensor([batch, 1, 1, length], textBias),
  }
}

async function embed(model: Model, sessions: SessionCache, texts: readonly string[]): Promise<Embeddings> {
  const { text } = await encodeTexts(model, sessions, texts)
  const tokens = texts.map((each) => Math.min(tokenize(each).length, model.text.maxTokens))
  return { text: text as HostTensor, tokens }
}

async function encodePicture(
  model: Model,
  sessions: SessionCache,
  pixels: Uint8Array,
  height: number,
  width: number,
): Promise<Float32Array> {
  const session = await sessions.get(`picture ${height} ${width}`, () => compilePicture(model, height, width))
  const data = valuesOf(pixels)
  const { latents } = await session.run({ frames: { dtype: 'float32', shape: [1, 1, height, width, 3], data } })
  return latents?.data as Float32Array
}

async function encodeTexts(
  model: Model,
  sessions: SessionCache,
  texts: readonly string[],
): Promise<Readonly<Record<string, HostTensor>>> {
  const length = tokensOf(model, texts)
  const session = await sessions.get(`text ${texts.length} ${length}`, () => compileText(model, texts.length, length))
  const [ids, mask] = [new Int32Array(texts.length * length), new Float32Array(texts.length * length)]
  texts.forEach((text, row) => {
    const encoded = encodeText(text, length)
    ids.set(encoded.ids, row * length)
    mask.set(encoded.mask, row * length)
  })
  const shape = [texts.length, length]
  return session.run({ ids: { dtype: 'int32', shape, data: ids }, mask: { dtype: 'float32', shape, data: mask } })
}

/** A guided network is told the scale and runs once; another runs on both rows unless guidance is off. */
const rowsOf = ({ denoiser }: Model, { guidance_scale: scale }: EffectiveRequest): 1 | 2 =>
  denoiser.guided || scale === 1 ? 1 : 2

/** Token count of the longest text, rounded up so that few different graphs are built. */
function tokensOf({ text }: Model, texts: readonly string[]): number {
  const longest = Math.max(...texts.map((each) => tokenize(each).length))
  return Math.min(text.maxTokens, paddedLength(longest))
}

const paddedLength = (tokens: number): number => Math.ceil(tokens / 8) * 8

async function* denoise(
  { model, request, signal, sessions }: Run,
  shape: LatentShape,
  conditions: Readonly<Record<string, HostTensor>>,
  split: Split,
  watch?: WatchEstimate,
): AsyncGenerator<Unnumbered<Event>, Latents> {
  const rows = rowsOf(model, request)
  const size = shape.channels * shape.frames * shape.height * shape.width
  const tensor = (data: Float32Array): HostTensor => ({
    dtype: 'float32',
    shape: [1, shape.channels, shape.frames, shape.height, shape.width],
    data,
  })
  const steps = planOf(request)
  const { start, stop } = rangeOf(steps, split)
  if (split.from !== undefined) requireFit(split.from.data, shape)
  const { given } = split
  const { session, told } = await stepper(model, sessions, { rows, shape, conditions, steps, request, given })
  // Into a copy: a backend may still have on its device what it gave, and would not see that it was changed.
  const held = (data: Float32Array) => (given === undefined ? data : withFirst(data, given, shape))
  let latents = held(split.from?.data ?? gaussian(request.seed, streams.initial, 0, size))
  let previous: Float32Array = new Float32Array(size)
  const silence = new Float32Array(size)
  for (const [index, step] of steps.entries()) {
    if (index < start || index >= stop) continue
    signal.throwIfAborted()
    const outputs = await session.run({
      ...(await told(index)),
      latents: tensor(latents),
      previous: tensor(previous),
      noise: tensor(step.noise === 0 ? silence : gaussian(request.seed, streams.sampling, index * size, size)),
      row: rowFeed(model.card.prediction, step, request.guidance_scale),
    })
    latents = held(outputs.next?.data as Float32Array)
    previous = held(outputs.estimate?.data as Float32Array)
    requireFinite(latents, `step ${index + 1} of ${steps.length}`)
    watch?.(previous, index + 1)
    yield {
      type: 'progress',
      value: (0.9 * (index + 1)) / steps.length,
      stage: 'denoise',
      step: index + 1,
      steps: steps.length,
      inferenceSource: 'on_device',
    }
  }
  return { data: latents, shape, step: stop, steps: steps.length }
}

interface Stepping {
  readonly rows: 1 | 2
  readonly shape: LatentShape
  /** text, pooled and textBias. */
  readonly conditions: Readonly<Record<string, HostTensor>>
  readonly steps: readonly SamplerStep[]
  readonly request: EffectiveRequest
  readonly given: Split['given']
}

interface Stepper {
  readonly session: Session
  /** The feeds of a row that do not depend on latents. */
  readonly told: (row: number) => Promise<Readonly<Record<string, HostTensor>>>
}

/** A step and what it is told. Where a first frame is given, frames have times of their own and nothing is worked out ahead. */
async function stepper(model: Model, sessions: SessionCache, stepping: Stepping): Promise<Stepper> {
  const { rows, shape, conditions, steps, request, given } = stepping
  const { featureWidth, guided } = model.denoiser
  const length = conditions.text?.shape[1] as number
  const key = `${rows} ${shape.frames} ${shape.height} ${shape.width} ${length}`
  if (given === undefined) {
    const telling = await sessions.get(`told ${rows} ${length}`, () => compileConditions(model, rows, length))
    const session = await sessions.get(`step ${key}`, () => compileStep(model, rows, shape, length))
    return { session, told: conditionsByRow(telling, model.denoiser, conditions, steps, request.guidance_scale) }
  }
  const session = await sessions.get(`whole step ${key}`, () => compileWholeStep(model, rows, shape, length))
  const scale: Record<string, HostTensor> = guided
    ? { guidance: guidanceFeed([request.guidance_scale], featureWidth) }
    : {}
  const told = async (row: number) => {
    return { ...conditions, ...scale, time: timeFeed(steps[row] as SamplerStep, shape.frames, featureWidth) }
  }
  return { session, told }
}

/** Sinusoids of guidance scales, brought to about 0…1: a row for each. */
export function guidanceFeed(scales: readonly number[], width: number): HostTensor {
  const small = scales.map((scale) => scale / 10)
  return { dtype: 'float32', shape: [scales.length, width], data: sinusoids(small, width) }
}

export function rowFeed(prediction: Prediction, step: SamplerStep, scale: number): HostTensor {
  const { latents, output } = denoisedFrom(prediction, step.level)
  const row = { predictionLatents: latents, predictionOutput: output, conditional: scale, ...step }
  return { dtype: 'float32', shape: [rowNames.length], data: Float32Array.from(rowNames, (name) => row[name]) }
}

/**
 * The feeds of a step that do not depend on latents, row by row; worked out for the eight rows around the one asked for,
 * always the same eight, so that a run in parts gives the same bits.
 */
function conditionsByRow(
  session: Session,
  { featureWidth, guided }: Model['denoiser'],
  { text, pooled, textBias }: Readonly<Record<string, HostTensor>>,
  steps: readonly SamplerStep[],
  scale: number,
): (row: number) => Promise<Record<string, HostTensor>> {
  let known: { readonly from: number; readonly told: Promise<Readonly<Record<string, HostTensor>>> } | undefined
  const workOut = (from: number) => {
    const last = steps.length - 1
    const angles = Array.from({ length: rowsAtOnce }, (_, n) =>
      noiseAngle((steps[Math.min(from + n, last)] as SamplerStep).level),
    )
    const time: HostTensor = {
      dtype: 'float32',
      shape: [rowsAtOnce, 1, featureWidth],
      data: sinusoids(angles, featureWidth),
    }
    const guidance: Record<string, HostTensor> = guided ? { guidance: guidanceFeed([scale], featureWidth) } : {}
    return session.run({ text: text as HostTensor, pooled: pooled as HostTensor, time, ...guidance })
  }
  return async (row) => {
    const from = row - (row % rowsAtOnce)
    if (known?.from !== from) known = { from, told: workOut(from) }
    const { modulation, reading } = (await known.told) as Record<'modulation' | 'reading', HostTensor>
    const [, ...shape] = modulation.shape
    const size = modulation.data.length / rowsAtOnce
    const data = modulation.data.subarray((row - from) * size, (row - from + 1) * size)
    return { modulation: { dtype: 'float32', shape, data }, reading, textBias: textBias as HostTensor }
  }
}

/** The time of each frame: the row's, and none for the first, which is given. */
function timeFeed({ level }: SamplerStep, frames: number, width: number): HostTensor {
  const angles = new Array<number>(frames).fill(noiseAngle(level))
  angles[0] = noiseAngle(cleanLevel)
  return { dtype: 'float32', shape: [1, frames, width], data: sinusoids(angles, width) }
}

/** Group by group, as a stream would: the state is the latents of the group before. */
async function* decode(
  { model, signal, sessions }: Run,
  { data: latents, shape }: Latents,
): AsyncGenerator<Unnumbered<Event>, void> {
  const { channels, frames: groups, height, width } = shape
  const session = await sessions.get(`decode ${height} ${width}`, () => compileDecoder(model, shape))
  const group = (index: number): HostTensor => ({
    dtype: 'float32',
    shape: [1, channels, height, width],
    data: planes(latents, shape, index),
  })
  const flatness = flatnessGuard()
  let first = 0
  for (let index = 0; index < groups; index++) {
    signal.throwIfAborted()
    const { frames } = await session.run({ latents: group(index), previous: group(index - 1) })
    const values = frames?.data as Float32Array
    requireFinite(values, `decoding group ${index + 1} of ${groups}`)
    const skipped = index === 0 ? temporalStride - 1 : 0
    const pixels = pixelsOf(values.subarray((values.length / temporalStride) * skipped))
    flatness.see(pixels)
    const part = { first, count: temporalStride - skipped, pixels }
    first += part.count
    yield { type: 'part', block: index, part }
    yield {
      type: 'progress',
      value: 0.9 + (0.1 * (index + 1)) / groups,
      stage: 'vae_decode',
      inferenceSource: 'on_device',
    }
  }
  flatness.judge()
}

/** One latent frame of [C, F, h, w] as [C, h, w]; zeros before the first. */
export function planes(
  latents: Float32Array,
  { channels, frames, height, width }: LatentShape,
  index: number,
): Float32Array {
  const area = height * width
  const out = new Float32Array(channels * area)
  if (index < 0) return out
  for (let channel = 0; channel < channels; channel++) {
    const from = (channel * frames + index) * area
    out.set(latents.subarray(from, from + area), channel * area)
  }
  return out
}

/** A video of one single tone is a failure, whatever the tone. */
export function flatnessGuard() {
  let [low, high] = [255, 0]
  return {
    see: (pixels: Uint8Array) => {
      for (const pixel of pixels) {
        if (pixel < low) low = pixel
        if (pixel > high) high = pixel
      }
    },
    judge: () => {
      if (high - low < 4)
        throw new GenerationError(
          'numerics_failed',
          `decoding: all pixels lie between ${low} and ${high}; the result is flat`,
        )
    },
  }
}

export interface SessionCache extends AsyncDisposable {
  readonly get: (key: string, build: () => ModelSource | Promise<ModelSource>) => Promise<Session>
}

/** Sessions by shape; the oldest go first. */
export function sessionCache(backend: Backend, limit = 8): SessionCache {
  const sessions = new Map<string, Session>()
  return {
    get: async (key, build) => {
      const known = sessions.get(key)
      if (known !== undefined) return known
      const fresh = await backend.load(await build())
      sessions.set(key, fresh)
      const [oldest] = sessions.keys()
      if (sessions.size > limit && oldest !== undefined) {
        await sessions.get(oldest)?.[Symbol.asyncDispose]()
        sessions.delete(oldest)
      }
      return fresh
    },
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions.values()) await session[Symbol.asyncDispose]()
      sessions.clear()
    },
  }
}
