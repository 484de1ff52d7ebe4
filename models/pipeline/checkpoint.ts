/**
 * A model of parts: a released denoiser, its text encoder and a decoder, each with its own weights, run on one backend.
 *
 * The events, the step around the network and the checks are those of our own models (generate.ts, compile.ts); what
 * differs between families stands in two tables, denoisers.ts and decoders.ts. Text is a function from prompt to
 * embeddings, so it may be encoded here, elsewhere, or have been kept. Knows no file system.
 */

import { GenerationError } from '../../shared/errors.ts'
import type { EffectiveRequest } from '../../shared/generation.ts'
import { gaussian, streams } from '../../shared/random.ts'
import {
  guidanceOf,
  predictionOf,
  type ReleasedPlan,
  type ReleasedStep,
  releasedSteps,
  startOf,
} from '../../shared/released-plans.ts'
import { type LatentShape, latentShape } from '../../shared/video.ts'
import { trace, type Value } from '../graph/graph.ts'
import { encode } from '../onnx/encode.ts'
import { lower } from '../onnx/lower.ts'
import type { PartConfigs } from '../weights/parts.ts'
import { networkNames, type PartKind } from '../weights/rename.ts'
import type { SafetensorsFile } from '../weights/safetensors.ts'
import { storedTensors } from '../weights/stored.ts'
import type { Backend, HostTensor, ModelSource } from './backend.ts'
import { rowNames, sampledStep } from './compile.ts'
import { type DecoderKind, decoders } from './decoders.ts'
import { type DenoiserKind, type Denoising, denoisers } from './denoisers.ts'
import { requireFinite } from './finite.ts'
import {
  type Embeddings,
  type FramesEvent,
  flatnessGuard,
  numbered,
  rowFeed,
  type SessionCache,
  type SplitRunner,
  sessionCache,
  type Unnumbered,
  type WatchEstimate,
} from './generate.ts'
import type { PromptEmbeddings } from './known-texts.ts'
import { resized } from './resize.ts'
import { type Latents, rangeOf, requireFit, type Split, type Start } from './split.ts'
import { doubled, upscaleGraph } from './upscale.ts'

/** Weight files of a part, by location. */
export type WeightFiles = Readonly<Record<string, SafetensorsFile>>

export interface CheckpointPart<K extends PartKind> {
  readonly kind: K
  readonly config: PartConfigs[K]
  /** Reads and checks the weights; called when a session is made, and not kept. */
  readonly load: () => Promise<WeightFiles>
}

/**
 * @param limit the most tokens that the denoiser reads.
 * @param backend where an encoder may run, if there is one here.
 */
export type TextSource = (prompt: string, limit: number, backend: Backend) => Promise<PromptEmbeddings>

export interface CheckpointModel {
  readonly id: string
  readonly denoiser: CheckpointPart<DenoiserKind>
  readonly decoder: CheckpointPart<DecoderKind>
  /** Between the passes of a plan that has more than one. */
  readonly upscaler?: CheckpointPart<'ltx-upscaler'>
  readonly text: TextSource
  readonly plan: ReleasedPlan
}

type Event = Unnumbered<FramesEvent>

export interface RunnerOptions {
  /** Bytes that a run of the decoder may hold, weights apart; pictures beyond it are decoded in tiles. */
  readonly decodeBytes?: number
}

/** A constant, not what is free just now: one seed gives one video. */
const usualDecodeBytes = 2 * 2 ** 30

/** Runs requests one after another, keeping the sessions of the last shapes for the next request. */
export function checkpointRunner(
  model: CheckpointModel,
  backend: Backend,
  { decodeBytes = usualDecodeBytes }: RunnerOptions = {},
): SplitRunner {
  const sessions = sessionCache(backend, 4)
  const context = { model, backend, sessions, decodeBytes }
  return {
    generate: (request, signal, start = {}) => numbered(run({ ...context, request, signal }, start)),
    denoise: (request, signal, split = {}, watch) => numbered(firstHalf({ ...context, request, signal }, split, watch)),
    decode: (request, latents, signal) => numbered(decode({ ...context, request, signal }, latents)),
    embed: (texts) => embed(model, backend, texts),
    [Symbol.asyncDispose]: () => sessions[Symbol.asyncDispose](),
  }
}

interface Run {
  readonly model: CheckpointModel
  readonly backend: Backend
  readonly request: EffectiveRequest
  readonly signal: AbortSignal
  readonly sessions: SessionCache
  readonly decodeBytes: number
}

async function* run(context: Run, start: Start): AsyncGenerator<Event, void> {
  const latents = yield* firstHalf(context, start)
  context.signal.throwIfAborted()
  yield* decode(context, latents)
}

async function* firstHalf(context: Run, split: Split, watch?: WatchEstimate): AsyncGenerator<Event, Latents> {
  const { model, request, backend } = context
  const texts: PromptEmbeddings[] = []
  for (const [index, words] of textsOf(model, request).entries()) {
    const text = await model.text(words, textLimitOf(model), backend)
    texts.push(text)
    if (!text.truncated) continue
    const which = index === 0 ? 'prompt' : 'negative prompt'
    const message = `the ${which} is longer than the ${text.count} tokens that the model reads; its end is left out`
    yield { type: 'warning', code: 'prompt_truncated', message }
  }
  return yield* denoise(context, texts, split, watch)
}

/** The prompt, and with guidance what to keep away from. */
function textsOf({ plan }: CheckpointModel, { prompt, negative_prompt, guidance_scale }: EffectiveRequest): string[] {
  return guidanceOf(plan) === undefined || guidance_scale === 1 ? [prompt] : [prompt, negative_prompt]
}

const textLimitOf = ({ denoiser: { kind, config } }: CheckpointModel): number =>
  denoisers[kind].textLimit(config as never)

/** Prompts side by side, each padded with zeros to the longest. */
async function embed(model: CheckpointModel, backend: Backend, texts: readonly string[]): Promise<Embeddings> {
  const each = await Promise.all(texts.map((text) => model.text(text, textLimitOf(model), backend)))
  const length = Math.max(...each.map(({ count }) => count))
  const width = each[0]?.width ?? 0
  const data = new Float32Array(texts.length * length * width)
  each.forEach((prompt, row) => {
    data.set(prompt.data, row * length * width)
  })
  const text = { dtype: 'float32', shape: [texts.length, length, width], data } as const
  return { text, tokens: each.map(({ count }) => count) }
}

/** The latents that a request ends with. @throws GenerationError invalid_parameter where the model's strides do not fit. */
export function checkpointShape(model: CheckpointModel, request: EffectiveRequest): LatentShape {
  return passesOf(model, request).at(-1)?.shape ?? askedShape(model, request)
}

/** Consecutive rows of a plan at one shape. */
interface RunPass {
  readonly shape: LatentShape
  readonly steps: readonly ReleasedStep[]
  /** Rows before it. */
  readonly first: number
}

/** The passes of a request: a plan of more than one begins small and doubles. */
function passesOf(model: CheckpointModel, request: EffectiveRequest): RunPass[] {
  const { plan } = model
  let shape = askedShape(model, request)
  if (plan.path === 'straight' && plan.passes.length > 1) {
    const scale = plan.passes[0]?.scale ?? 1
    const side = (cells: number) => Math.max(1, Math.floor(cells * scale))
    shape = { ...shape, height: side(shape.height), width: side(shape.width) }
  }
  let first = 0
  return releasedSteps(plan, request.num_inference_steps).map((steps, index) => {
    if (index > 0) shape = doubled(shape)
    first += steps.length
    return { shape, steps, first: first - steps.length }
  })
}

/** The latents of the size asked for. */
function askedShape({ denoiser }: CheckpointModel, request: EffectiveRequest): LatentShape {
  const { strides, sizeMultiple } = denoisers[denoiser.kind]
  const { height, width, num_frames: frames } = request
  const odd = [height, width].find((side) => side % sizeMultiple !== 0)
  if (odd !== undefined)
    throw new GenerationError('invalid_parameter', `size: got ${odd}, allowed are multiples of ${sizeMultiple}`)
  return latentShape({ frames, height, width }, strides, denoiser.config.channels)
}

/** The step graph of a denoiser at one shape. */
export function checkpointStep({ kind, config }: Pick<CheckpointPart<DenoiserKind>, 'kind' | 'config'>, on: Denoising) {
  return sampledStep(on.batch, on.shape, (latents, repeated) =>
    denoisers[kind].predict(config as never, latents, repeated, on),
  )
}

async function* denoise(
  context: Run,
  texts: readonly PromptEmbeddings[],
  split: Split,
  watch?: WatchEstimate,
): AsyncGenerator<Event, Latents> {
  const { model, request } = context
  const passes = passesOf(model, request)
  const steps = passes.flatMap((pass) => pass.steps)
  const { start, stop } = rangeOf(steps, split)
  // Latents that come from elsewhere have the shape of the pass that their last row was in.
  let shape = (passes.findLast(({ first }) => first < start) ?? passes[0])?.shape as LatentShape
  if (split.from !== undefined) requireFit(split.from.data, shape)
  let latents = split.from?.data ?? gaussian(request.seed, streams.initial, 0, countOf(shape))
  for (const [index, pass] of passes.entries()) {
    if (start >= pass.first + pass.steps.length || stop <= pass.first) continue
    if (index > 0 && start <= pass.first) latents = await upscaled(context, latents, shape, index)
    shape = pass.shape
    latents = yield* denoisePass(context, pass, texts, { latents, start, stop, of: steps.length, watch })
  }
  return { data: latents, shape, step: stop, steps: steps.length }
}

const countOf = ({ channels, frames, height, width }: LatentShape): number => channels * frames * height * width

const latentTensor = ({ channels, frames, height, width }: LatentShape, data: Float32Array): HostTensor => ({
  dtype: 'float32',
  shape: [1, channels, frames, height, width],
  data,
})

interface PassRange {
  readonly latents: Float32Array
  /** Rows of the whole plan. */
  readonly start: number
  readonly stop: number
  readonly of: number
  readonly watch: WatchEstimate | undefined
}

/** The rows of a pass that lie within a range. */
async function* denoisePass(
  { model: { denoiser, plan }, request, signal, sessions }: Run,
  { shape, steps, first }: RunPass,
  texts: readonly PromptEmbeddings[],
  { latents: given, start, stop, of, watch }: PassRange,
): AsyncGenerator<Event, Float32Array> {
  const family = denoisers[denoiser.kind]
  const on: Denoising = { shape, fps: request.fps, ...textShape(denoiser, texts) }
  const session = await sessions.get(`step ${JSON.stringify(on)}`, async () =>
    sourceOf(denoiser, await denoiser.load(), () => checkpointStep(denoiser, on)),
  )
  const size = countOf(shape)
  const conditions = family.conditions(texts, on)
  const silence = new Float32Array(size)
  let latents = given
  let previous: Float32Array = silence
  for (const [place, step] of steps.entries()) {
    const index = first + place
    if (index < start || index >= stop) continue
    signal.throwIfAborted()
    const noise = step.noise === 0 ? silence : gaussian(request.seed, streams.sampling, index * size, size)
    const outputs = await session.run({
      ...conditions,
      latents: latentTensor(shape, latents),
      previous: latentTensor(shape, previous),
      noise: latentTensor(shape, noise),
      row: rowFeed(predictionOf(plan), step, request.guidance_scale),
      time: family.time(denoiser.config as never, step.timestep),
    })
    latents = outputs.next?.data as Float32Array
    previous = outputs.estimate?.data as Float32Array
    requireFinite(latents, `step ${index + 1} of ${of}`)
    watch?.(previous, index + 1)
    const value = (0.9 * (index + 1)) / of
    yield { type: 'progress', value, stage: 'denoise', step: index + 1, steps: of, inferenceSource: 'on_device' }
  }
  return latents
}

/** Clean latents at twice the side, noised again for a pass to begin. */
async function upscaled(
  { model, request, signal, sessions }: Run,
  latents: Float32Array,
  shape: LatentShape,
  index: number,
): Promise<Float32Array> {
  const { upscaler, decoder, plan } = model
  const pass = plan.path === 'straight' ? plan.passes[index] : undefined
  if (upscaler === undefined || pass === undefined) {
    const message = `${model.id}: its plan upscales latents between passes; import an upscaler --as ${model.id}`
    throw new GenerationError('model_format', message)
  }
  signal.throwIfAborted()
  const session = await sessions.get(`upscale ${JSON.stringify(shape)}`, async () => {
    const held = [
      { part: upscaler, files: await upscaler.load() },
      { part: decoder, files: await decoder.load() },
    ]
    return sourceOfParts(held, () => upscaleGraph(upscaler.config, shape, startOf(pass)))
  })
  const large = doubled(shape)
  const noise = gaussian(request.seed, streams.passes, 0, countOf(large))
  const feeds = { latents: latentTensor(shape, latents), noise: latentTensor(large, noise) }
  const { latents2 } = await session.run(feeds)
  const values = latents2?.data as Float32Array
  requireFinite(values, `upscaling before pass ${index + 1}`)
  return values
}

/** Rows and batch of the graph for some texts: as many rows as the longest takes. */
export function textShape(
  { kind, config }: Pick<CheckpointPart<DenoiserKind>, 'kind' | 'config'>,
  texts: readonly Pick<PromptEmbeddings, 'count'>[],
): Pick<Denoising, 'rows' | 'batch'> {
  const longest = Math.max(...texts.map(({ count }) => count))
  return { rows: denoisers[kind].rows(config as never, longest), batch: texts.length === 2 ? 2 : 1 }
}

/** A step on the smallest clip with drawn numbers, as a device is tried with. */
export interface Probe {
  readonly source: ModelSource
  readonly feeds: Readonly<Record<string, HostTensor>>
}

export async function checkpointProbe({ denoiser }: Pick<CheckpointModel, 'denoiser'>): Promise<Probe> {
  const { kind, config } = denoiser
  const family = denoisers[kind]
  const shape = { channels: config.channels, frames: 1, height: 4, width: 4 }
  const [count, width, size] = [8, config.textWidth, config.channels * 16]
  const text = { data: gaussian(1, 101, 0, count * width), count, width, truncated: false }
  const on: Denoising = { shape, fps: family.defaultFps, ...textShape(denoiser, [text]) }
  const latents = (data: Float32Array): HostTensor => ({ dtype: 'float32', shape: [1, config.channels, 1, 4, 4], data })
  return {
    source: sourceOf(denoiser, await denoiser.load(), () => checkpointStep(denoiser, on)),
    feeds: {
      ...family.conditions([text], on),
      latents: latents(gaussian(1, 100, 0, size)),
      previous: latents(new Float32Array(size)),
      noise: latents(new Float32Array(size)),
      row: probeRow,
      time: family.time(config as never, 700),
    },
  }
}

/** Of the row only what makes `next` depend on the network. */
export const probeRow: HostTensor = {
  dtype: 'float32',
  shape: [rowNames.length],
  data: Float32Array.of(0.7, -0.7, 1, 0.5, 0.5, 0, 0),
}

/** The rows of a plan, pass after pass; how many a request may say where the plan leaves it open. */
export function stepsOf(
  plan: ReleasedPlan,
  request?: Pick<EffectiveRequest, 'num_inference_steps'>,
): readonly ReleasedStep[] {
  return releasedSteps(plan, request?.num_inference_steps).flat()
}

async function* decode(
  { model, request, signal, sessions, decodeBytes: budget }: Run,
  { data: latents, shape }: Latents,
): AsyncGenerator<Event, void> {
  const { decoder } = model
  const guard = flatnessGuard()
  const load = (name: string, build: () => Record<string, Value>) =>
    sessions.get(`decode ${name}`, async () => sourceOf(decoder, await decoder.load(), build))
  const noise = (count: number) => gaussian(request.seed, streams.decoding, 0, count)
  const pieces = decoders[decoder.kind]({ config: decoder.config as never, shape, latents, load, noise, budget })
  let [first, block] = [0, 0]
  for await (const { pixels, count, done } of pieces) {
    signal.throwIfAborted()
    guard.see(pixels)
    const shown = resized(pixels, sidesOf(pixels, count, shape), [request.height, request.width])
    yield { type: 'part', block: block++, part: { first, count, pixels: shown } } satisfies Event
    yield {
      type: 'progress',
      value: 0.9 + 0.1 * done,
      stage: 'vae_decode',
      inferenceSource: 'on_device',
    } satisfies Event
    first += count
  }
  guard.judge()
}

/** Height and width of decoded frames: those of the latents times the decoder's stride. */
function sidesOf(pixels: Uint8Array, count: number, { height, width }: LatentShape): readonly [number, number] {
  const stride = Math.round(Math.sqrt(pixels.length / (count * 3 * height * width)))
  return [height * stride, width * stride]
}

/** A graph over a part's weights, under whatever names its files have. */
export function sourceOf(
  part: Pick<CheckpointPart<PartKind>, 'kind'>,
  files: WeightFiles,
  build: () => Record<string, Value>,
): ModelSource {
  return sourceOfParts([{ part, files }], build)
}

/** The same over several parts. */
function sourceOfParts(
  held: readonly { readonly part: Pick<CheckpointPart<PartKind>, 'kind'>; readonly files: WeightFiles }[],
  build: () => Record<string, Value>,
): ModelSource {
  const files = Object.assign({}, ...held.map((each) => each.files)) as WeightFiles
  const names = new Map(
    held.flatMap(({ part: { kind }, files: own }) => [
      ...networkNames(
        kind,
        Object.values(own).flatMap(({ entries }) => [...entries.keys()]),
      ),
    ]),
  )
  const stored = storedTensors(files, (name) => names.get(name) ?? name)
  const weights = Object.fromEntries(Object.entries(files).map(([location, { bytes }]) => [location, bytes]))
  return { model: encode(lower(trace(build), { stored })), weights }
}
