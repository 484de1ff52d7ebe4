/**
 * `zoetrope inspect`: what a model would take at a size, before anything is run or fetched.
 *
 * A model is one of ours, an imported one, or a published size by its name. The rate of this machine is measured on matrix
 * products; another's is told with --rate, or judged by the report that its browser gives (`--device`), as the router
 * judges it.
 */

import { readFile } from 'node:fs/promises'
import * as v from 'valibot'
import { standardClip } from '../../../shared/catalog.ts'
import { type ClipCost, type CostedClip, clipCost, type ModelCost, type TimedModel } from '../../../shared/cost.ts'
import { GenerationError } from '../../../shared/errors.ts'
import type { ModelCard } from '../../../shared/manifest.ts'
import { guidanceOf, releasedPlans, releasedSteps } from '../../../shared/released-plans.ts'
import { type DeviceReport, deviceReportSchema } from '../../../shared/request.ts'
import { type AssessedModel, assessDevice, type DeviceAssessment } from '../../../shared/routing.ts'
import { latentShape } from '../../../shared/video.ts'
import { sizeOf as countOf } from '../../graph/graph.ts'
import { ltxDitSizes } from '../../networks/ltx-dit.ts'
import { ltxVaeDecoderSizes } from '../../networks/ltx-vae-decoder.ts'
import { t5Sizes } from '../../networks/t5.ts'
import { taehvDecoderSizes } from '../../networks/taehv-decoder.ts'
import { wanDitSizes } from '../../networks/wan-dit.ts'
import {
  checkpointGraphs,
  modelCost,
  ownGraphs,
  partSize,
  type SizedModel,
  type SizedPart,
} from '../../pipeline/cost.ts'
import type { DecoderKind } from '../../pipeline/decoders.ts'
import { type DenoiserKind, denoisers } from '../../pipeline/denoisers.ts'
import { planTaken } from '../../pipeline/imported.ts'
import { configurationsOf } from '../../pipeline/model.ts'
import type { Precision } from '../../weights/conversion.ts'
import type { ImportedPart } from '../../weights/manifest.ts'
import { type PartConfigs, parts } from '../../weights/parts.ts'
import type { PartKind } from '../../weights/rename.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'
import { importedFolder, loadManifest } from '../import.ts'
import { importedIds } from '../imported-models.ts'
import { gemmRate } from '../machine-rate.ts'
import { loadCard, modelIds } from '../models.ts'

/** What is said of a model. */
interface Subject {
  readonly parts: readonly SubjectPart[]
  readonly cost: ModelCost
  readonly strides: { readonly temporal: number; readonly spatial: number }
  /** Steps and guidance of a clip, and what it is by default. */
  readonly standard: CostedClip
  readonly revision: string
  /** Bytes that a device fetches. */
  readonly download: number
}

interface SubjectPart {
  readonly title: string
  readonly parameters: number
  /** By precision. */
  readonly bytes: Readonly<Record<string, number>>
}

export const inspectCommand: Command = {
  summary: 'Say what a model would take at a size: parameters, operations, memory, bytes, time.',
  usage: 'MODEL [options]',
  options: {
    size: { kind: 'text', value: 'WxH', help: "pixels (the model's own default)" },
    frames: { kind: 'number', value: 'N', help: "number of frames (the model's own default)" },
    tokens: { kind: 'number', value: 'N', help: 'tokens of the prompt (32)' },
    guidance: { kind: 'number', value: 'G', help: 'guidance scale; a second evaluation where it is not 1' },
    rate: { kind: 'number', value: 'G', help: 'GFLOP/s of the machine to estimate for; this one is measured else' },
    device: { kind: 'text', value: 'FILE', help: "a device report as JSON, as a browser's probe gives it" },
  },
  run: inspect,
}

async function inspect(given: Arguments, { say, emit }: Surroundings): Promise<void> {
  const [name, ...more] = given.positionals
  if (name === undefined || more.length > 0)
    throw new GenerationError('invalid_parameter', `inspect: got ${given.positionals.length} models, allowed is one`)
  const report = given.text('device')
  if (report !== undefined && given.number('rate') !== undefined)
    throw new GenerationError('invalid_parameter', 'inspect: got --rate and --device, allowed is one of them')
  const device = report === undefined ? undefined : await readReport(report)
  const subject = await subjectOf(name)
  const clip = clipOf(given, subject)
  const cost = clipCost(subject.cost, clip, given.number('tokens'))
  say(`${name} at ${clip.width}x${clip.height}, ${clip.num_frames} frames`)
  for (const part of subject.parts) say(partLine(part))
  for (const line of costLines(cost)) say(line)
  const time =
    device === undefined
      ? await ownTime(cost, given.number('rate'), say)
      : deviceTime(await assess(name, subject, clip, device), device, say)
  emit({ model: name, clip, parts: subject.parts, cost, ...time })
}

function partLine({ title, parameters, bytes }: SubjectPart): string {
  const sizes = Object.entries(bytes).map(([precision, size]) => `${precision} ${mega(size)}`)
  return `${title}: ${(parameters / 1e6).toFixed(1)} M parameters; MB to fetch: ${sizes.join(', ')}`
}

function costLines({ step, steps, encode, decode, flops, activations, largest, logits }: ClipCost): string[] {
  const unfused = logits === 0 ? '' : `, ${mega(logits)} MB more where attention is not fused`
  return [
    `a step: ${tera(step)} TFLOP; activations at most ${mega(activations)} MB, the largest ${mega(largest)} MB${unfused}`,
    `a clip: ${tera(flops)} TFLOP: text ${tera(encode)}, ${steps} steps, decoding ${tera(decode)}`,
  ]
}

async function ownTime({ flops }: ClipCost, told: number | undefined, say: (line: string) => void) {
  const rate = told ?? (await gemmRate(0.3)).best
  const seconds = flops / (rate * 1e9)
  const whose = told === undefined ? 'this machine, measured' : 'as told'
  say(`time: ${duration(seconds)} at ${rate.toFixed(0)} GFLOP/s (${whose})`)
  return { rate, seconds }
}

function deviceTime(assessment: DeviceAssessment, { adapter_class }: DeviceReport, say: (line: string) => void) {
  const { etaMs, memoryBytes, reasons } = assessment
  say(`on ${adapter_class}: ${mega(memoryBytes ?? 0)} MB of memory, weights included`)
  say(
    etaMs === null
      ? '  time: not known; the report times no step of a known model'
      : `  time: ${duration(etaMs / 1000)}`,
  )
  say(reasons.length === 0 ? '  nothing speaks against it' : `  against it: ${reasons.join(', ')}`)
  return { device: assessment, ...(etaMs === null ? {} : { seconds: etaMs / 1000 }) }
}

/** The router's own judgement of a device. */
async function assess(id: string, subject: Subject, clip: CostedClip, device: DeviceReport): Promise<DeviceAssessment> {
  const { standard, cost, download } = subject
  const model: AssessedModel = {
    id,
    inference_sources: ['on_device'],
    parameters: {
      size: { default: `${standard.width}x${standard.height}` },
      num_frames: { min: 1, max: 1, stride: 1, offset: 1, default: standard.num_frames },
      num_inference_steps: { min: 1, max: 1, default: standard.num_inference_steps ?? 1 },
      guidance_scale: { min: 1, max: 1, default: standard.guidance_scale ?? 1 },
    },
    device: { download_bytes: download, memory_bytes: 0, features: [], dtypes: [], manifest_url: '', cost },
  }
  const cards = await Promise.all((await modelIds()).map((each) => loadCard(each)))
  const timed = cards.flatMap(({ id: own, cost: known, parameters }): TimedModel[] =>
    known === undefined ? [] : [{ id: own, cost: known, standard: standardClip(parameters) }],
  )
  return assessDevice({ model, effective: { ...clip, revision: subject.revision, n: 1 }, device, timed })
}

/** @throws GenerationError not_found, or invalid_parameter naming the first field that is wrong. */
async function readReport(path: string): Promise<DeviceReport> {
  const text = await readFile(path, 'utf8').catch(() => {
    throw new GenerationError('not_found', `--device: there is no file ${path}`)
  })
  const result = v.safeParse(deviceReportSchema, parsed(text))
  if (result.success) return result.output
  const [issue] = result.issues
  throw new GenerationError('invalid_parameter', `--device: ${v.getDotPath(issue) ?? 'the report'}: ${issue.message}`)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new GenerationError('invalid_parameter', '--device: the file is no JSON, allowed is a device report')
  }
}

/** @throws GenerationError invalid_parameter for a size that the model's strides do not fit. */
function clipOf(given: Arguments, { standard, strides, cost }: Subject): CostedClip {
  const [width, height] = pixelsOf(given.text('size')) ?? [standard.width, standard.height]
  const frames = given.number('frames') ?? standard.num_frames
  latentShape({ frames, height, width }, strides, 1)
  const odd = [width, height].find((side) => side % cost.token.side !== 0)
  if (odd !== undefined)
    throw new GenerationError('invalid_parameter', `--size: got ${odd}, allowed are multiples of ${cost.token.side}`)
  const guidance = given.number('guidance') ?? standard.guidance_scale
  return { ...standard, width, height, num_frames: frames, guidance_scale: guidance }
}

async function subjectOf(name: string): Promise<Subject> {
  if ((await modelIds()).includes(name)) return ownSubject(await loadCard(name))
  const model = Object.hasOwn(published, name) ? published[name] : undefined
  const described = model ?? (await imported(name))
  if (described !== undefined) return checkpointSubject(described)
  const known = [...(await modelIds()), ...Object.keys(published), ...(await importedIds())]
  throw new GenerationError('not_found', `model: got ${name}, allowed are ${known.join(', ')}`)
}

function ownSubject(card: ModelCard): Subject {
  const graphs = ownGraphs(configurationsOf(card))
  const smallest = { frames: 1, height: 1, width: 1, text: 1 }
  const parameters = (...of: readonly ('encode' | 'step' | 'decode')[]) =>
    of.flatMap((each) => graphs[each]?.(smallest).parameters ?? []).reduce((sum, { shape }) => sum + countOf(shape), 0)
  const { denoiser, autoencoder } = card.weights
  const cost = card.cost ?? modelCost(graphs)
  return {
    parts: [
      { title: 'Denoiser, text encoder', parameters: parameters('encode', 'step'), bytes: { f16: denoiser.bytes } },
      { title: 'Decoder', parameters: parameters('decode'), bytes: { f16: autoencoder.bytes } },
    ],
    cost,
    strides: { temporal: cost.token.frames, spatial: cost.token.side },
    standard: standardClip(card.parameters),
    revision: card.revision,
    download: denoiser.bytes + autoencoder.bytes,
  }
}

/** An imported model knows its files. */
interface Described extends SizedModel {
  readonly download?: number
  readonly revision?: string
}

function checkpointSubject(described: Described): Subject {
  const { denoiser, decoder, textEncoder, plan, revision = '' } = described
  const { strides } = denoisers[denoiser.kind]
  const sized = [textEncoder, denoiser, decoder].filter((part) => part !== undefined).map(partSize)
  return {
    parts: sized.map(({ kind, ...rest }) => ({ title: parts[kind].title, ...rest })),
    cost: modelCost(checkpointGraphs(described)),
    strides,
    standard: {
      width: 416,
      height: 256,
      num_frames: 8 * strides.temporal + 1,
      num_inference_steps: releasedSteps(plan).flat().length,
      guidance_scale: guidanceOf(plan) ?? 1,
    },
    revision,
    download: described.download ?? fetched(denoiser, 'q4') + (decoder === undefined ? 0 : fetched(decoder, 'f16')),
  }
}

const fetched = (part: SizedPart, precision: Precision): number => partSize(part).bytes[precision]

/** An imported model, whole or not; undefined where there is none of this name, or none with a denoiser. */
async function imported(id: string): Promise<Described | undefined> {
  const manifest = /^[a-z0-9-]+$/.test(id) ? await loadManifest(importedFolder(), id) : undefined
  const { denoiser, decoder, textEncoder, upscaler } = manifest?.parts ?? {}
  if (denoiser === undefined) return undefined
  const files = [denoiser, decoder, upscaler].flatMap((part) => part?.files ?? [])
  return {
    denoiser: sizedPart<DenoiserKind>(denoiser),
    ...(decoder === undefined ? {} : { decoder: sizedPart<DecoderKind>(decoder) }),
    ...(textEncoder === undefined ? {} : { textEncoder: sizedPart<'t5'>(textEncoder) }),
    plan: planTaken(manifest?.plan ?? 'fastwan-dmd', upscaler),
    revision: denoiser.files[0]?.sha256.slice(0, 12) ?? '',
    download: files.reduce((total, { bytes }) => total + bytes, 0),
  }
}

const sizedPart = <K extends PartKind>({ kind, config }: ImportedPart): SizedPart<K> => ({
  kind: kind as K,
  config: config as unknown as PartConfigs[K],
})

const wanTaehv: SizedPart<DecoderKind> = {
  kind: 'taehv-decoder',
  config: { ...taehvDecoderSizes['taew2.1'], storedGrowth: taehvDecoderSizes['taew2.1'].growth },
}

/** Published models by name, fetched as import makes them by `--precision q4`. */
const published: Readonly<Record<string, SizedModel>> = {
  'wan2.1-1.3b': {
    denoiser: { kind: 'wan-dit', config: wanDitSizes['wan2.1-1.3b'] },
    decoder: wanTaehv,
    textEncoder: { kind: 't5', config: t5Sizes['umt5-xxl'] },
    plan: releasedPlans['fastwan-dmd'],
  },
  'wan2.1-14b': {
    denoiser: { kind: 'wan-dit', config: wanDitSizes['wan2.1-14b'] },
    decoder: wanTaehv,
    textEncoder: { kind: 't5', config: t5Sizes['umt5-xxl'] },
    plan: releasedPlans['lightx2v-4'],
  },
  'ltx-2b': {
    denoiser: { kind: 'ltx-dit', config: { ...ltxDitSizes['ltx-2b'], causal: true } },
    decoder: { kind: 'ltx-vae-decoder', config: ltxVaeDecoderSizes['ltx-0.9.5'] },
    textEncoder: { kind: 't5', config: t5Sizes['t5-v1.1-xxl'] },
    plan: releasedPlans['ltx-0.9.6-distilled'],
  },
}

function pixelsOf(text: string | undefined): readonly [number, number] | undefined {
  if (text === undefined) return undefined
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(text) ?? []
  if (width === undefined || height === undefined)
    throw new GenerationError('invalid_parameter', `--size: got ${text}, allowed is WIDTHxHEIGHT, for example 416x256`)
  return [Number(width), Number(height)]
}

const tera = (flops: number): string => (flops / 1e12).toPrecision(3)
const mega = (bytes: number): string => (bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 0)
const duration = (seconds: number): string =>
  seconds < 120 ? `${seconds.toFixed(1)} s` : `${(seconds / 60).toFixed(1)} min`
