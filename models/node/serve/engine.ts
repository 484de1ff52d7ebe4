/**
 * Running a prediction's job with the pipeline: a runner per slot and model, outputs as files of the node.
 *
 * A slot runs one job at a time, so its runners share their sessions with nobody; weights are read once for all slots.
 */

import type { EffectiveRequest } from '../../../shared/generation.ts'
import { type Receipt, receiptOf } from '../../../shared/receipt.ts'
import type { Backend } from '../../pipeline/backend.ts'
import type { Embeddings, SplitRunner } from '../../pipeline/generate.ts'
import type { Latents, Split } from '../../pipeline/split.ts'
import { makerOf } from '../receipts.ts'
import type { PixelVideo } from '../video-file.ts'
import type { ServedModel } from './catalog.ts'
import { type Clock, timestamp } from './clock.ts'
import { type Encoder, encoder } from './encoder.ts'
import { type FileStore, fileIdOf, hour, type StoredFile } from './files.ts'
import type { Job } from './inputs.ts'
import { envelopeOf, latentBytes } from './latent-file.ts'
import { contentTypes, type MadeFormat, requireFormat } from './outputs.ts'
import type { OutputFacts } from './prediction.ts'
import type { Execute, Report } from './predictions.ts'
import { previewer } from './previews.ts'

export interface EngineOptions {
  readonly backend: Backend
  readonly files: FileStore
  readonly clock: Clock
}

export interface Engine extends AsyncDisposable {
  readonly execute: Execute
  /** Embeddings of prompts, in a slot. */
  readonly embed: (model: ServedModel, slot: number, texts: readonly string[]) => Promise<Embeddings>
}

export function engine(options: EngineOptions): Engine {
  const runners = new Map<string, SplitRunner>()
  const encoding = encoder()
  const runnerOf = async (model: ServedModel, slot: number): Promise<SplitRunner> => {
    const key = `${slot} ${model.card.id}`
    const known = runners.get(key)
    if (known !== undefined) return known
    const fresh = await model.open(options.backend)
    runners.set(key, fresh)
    return fresh
  }
  return {
    execute: async ({ order: { job, origin } }, slot, signal, report) => {
      report.line(`seed ${job.request.seed}`)
      const running = await runnerOf(job.model, slot)
      const made: Made[] = []
      const facts: OutputFacts[] = []
      const { files, clock } = options
      const published = (each: Made, index: number) => publish(each, index, job, origin, options)
      try {
        for (const request of requestsOf(job.request)) {
          const each = await make({ running, encoding, job, request, signal, report, clock, before: made.length })
          made.push(each)
          facts.push(published(each, facts.length))
          if (made.length < job.request.n) report.part(facts.at(-1) as OutputFacts)
        }
      } catch (error) {
        // Nothing stays of a prediction that has not come to its end.
        for (const { url } of facts) files.remove(fileIdOf(url) ?? '')
        throw error
      }
      const kept = made.flatMap((each, index) => {
        const latents = keptOf(each, job)
        return latents === undefined ? [] : [published(latents, index)]
      })
      return { outputs: [...facts, ...kept], receipt: await receipt(job, options.backend, facts) }
    },
    embed: async (model, slot, texts) => (await runnerOf(model, slot)).embed(texts),
    [Symbol.asyncDispose]: async () => {
      for (const each of runners.values()) await each[Symbol.asyncDispose]()
      runners.clear()
      await encoding[Symbol.asyncDispose]()
    },
  }
}

/** One request per output; output i has the seed + i. */
function requestsOf(request: EffectiveRequest): EffectiveRequest[] {
  return Array.from({ length: request.n }, (_, index) => ({ ...request, n: 1, seed: (request.seed + index) >>> 0 }))
}

interface Made {
  readonly request: EffectiveRequest
  readonly format: MadeFormat
  readonly bytes: Uint8Array
  /** Of latents, what they are. */
  readonly latents?: Latents
  /** What was kept on the way. */
  readonly kept?: Latents
}

interface Making {
  readonly running: SplitRunner
  readonly encoding: Encoder
  readonly job: Job
  readonly request: EffectiveRequest
  readonly signal: AbortSignal
  readonly report: Report
  readonly clock: Clock
  /** Outputs made before this one, for the progress of all. */
  readonly before: number
}

async function make(making: Making): Promise<Made> {
  const { running, encoding, job, request, signal } = making
  const format = request.output_format
  requireFormat(format)
  const { latents, ...kept } = await denoise(making)
  if (format === 'latents')
    return { request, format, latents, bytes: latentBytes(latents.data, job.latentDType), ...kept }
  const video = blank(request)
  for await (const event of running.decode(request, latents, signal)) {
    if (event.type === 'part') video.pixels.set(event.part.pixels, event.part.first * video.height * video.width * 3)
  }
  return { request, format, bytes: await encoding.encode(video, format, signal), ...kept }
}

/** The run, in two parts where latents are to be kept between them; together they do what the whole does. */
async function denoise(making: Making): Promise<{ latents: Latents; kept?: Latents }> {
  const { split, keepStep } = making.job
  if (keepStep === undefined) return { latents: await denoisePart(making, split) }
  const kept = await denoisePart(making, { ...split, until: keepStep })
  if (keepStep === (split.until ?? kept.steps)) return { latents: kept, kept }
  const rest = { ...split, from: { data: kept.data, step: kept.step } }
  return { latents: await denoisePart(making, rest), kept }
}

async function denoisePart(making: Making, part: Split): Promise<Latents> {
  const { running, job, request, signal, report, before, clock } = making
  const [start, perOutput] = [job.split.from?.step ?? 0, stepsOf(job.split, request)]
  const begins = part.from?.step ?? 0
  const [done, all] = [before * perOutput - start, job.request.n * perOutput]
  if (all > 0 && begins === start) report.step(done + begins, all)
  const { preview } = running
  const watch = preview === undefined ? undefined : previewer({ request, preview, clock }, report.preview)
  const events = running.denoise(request, signal, part, watch)
  for (;;) {
    const { done: ended, value } = await events.next()
    if (ended) return value
    if (value.type === 'warning' && before === 0 && begins === start) report.line(`warning: ${value.message}`)
    if (value.type === 'progress' && value.step !== undefined) report.step(done + value.step, all)
  }
}

/** Rows that a run of this split does. */
const stepsOf = ({ from, until }: Split, request: EffectiveRequest): number =>
  (until ?? request.num_inference_steps) - (from?.step ?? 0)

function blank({ num_frames: frames, height, width, fps }: EffectiveRequest): PixelVideo {
  return { frames, height, width, fps, pixels: new Uint8Array(frames * height * width * 3) }
}

/** Stores an output as a file and tells what it is. */
function publish(made: Made, index: number, job: Job, origin: string, { files, clock }: EngineOptions): OutputFacts {
  const { request, format, bytes } = made
  const name = `${request.model}-${request.seed}.${extensions[format]}`
  const file = files.add({ name, contentType: contentTypes[format], bytes, lifetime: hour })
  return factsOf(made, index, job, file, files.downloadUrl(origin, file), clock.now())
}

/** The latents kept on the way as an output of their own. */
function keptOf({ request, kept }: Made, { latentDType: dtype }: Job): Made | undefined {
  if (kept === undefined) return undefined
  return { request, format: 'latents', latents: kept, bytes: latentBytes(kept.data, dtype) }
}

const extensions: Readonly<Record<MadeFormat, string>> = {
  mp4: 'mp4',
  gif: 'gif',
  webp: 'webp',
  png: 'png',
  frames: 'zip',
  latents: 'bin',
}

const variants: Partial<Readonly<Record<MadeFormat, OutputFacts['variant']>>> = { frames: 'frames', latents: 'latent' }

function factsOf(
  { request, format, bytes, latents }: Made,
  index: number,
  { model, latentDType: dtype }: Job,
  file: StoredFile,
  url: string,
  now: number,
): OutputFacts {
  return {
    index,
    variant: variants[format] ?? 'video',
    format,
    content_type: file.contentType,
    url,
    bytes: bytes.length,
    sha256: file.sha256,
    width: request.width,
    height: request.height,
    fps: request.fps,
    num_frames: request.num_frames,
    expires_at: timestamp(file.expiresAt),
    envelope:
      latents === undefined
        ? null
        : envelopeOf(model, request, latents, { bytes, dtype, now, expiresAt: file.expiresAt }),
  }
}

/** The receipt of all outputs; a split run says where its plan was cut. */
async function receipt(job: Job, backend: Backend, outputs: readonly OutputFacts[]): Promise<Receipt> {
  const { model, request, split } = job
  const hashes = outputs.map(({ sha256 }) => sha256)
  return receiptOf(await makerOf(model, backend), request, hashes, {
    inference_source: split.from === undefined ? 'in_cloud' : 'hybrid',
    split_step: split.from?.step ?? split.until ?? null,
  })
}
