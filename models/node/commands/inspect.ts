/**
 * `zoetrope inspect`: what a model would take at a size, before anything is run or fetched.
 *
 * A model is an imported one or a released size by its name. The rate of this machine is measured on one matrix product;
 * another machine's is told with --rate.
 */

import { type DistilledPlanName, distilledPlans } from '../../../shared/distilled.ts'
import { GenerationError } from '../../../shared/errors.ts'
import { ltxDitSizes } from '../../networks/ltx-dit.ts'
import { ltxVaeDecoderSizes } from '../../networks/ltx-vae-decoder.ts'
import { t5Sizes } from '../../networks/t5.ts'
import { taehvDecoderSizes } from '../../networks/taehv-decoder.ts'
import { wanDitSizes } from '../../networks/wan-dit.ts'
import type { DecoderKind } from '../../pipeline/decoders.ts'
import { type DenoiserKind, denoisers } from '../../pipeline/denoisers.ts'
import { type EstimateOptions, estimate, type PartEstimate, type SizedPart } from '../../pipeline/estimate.ts'
import type { ImportedPart } from '../../weights/manifest.ts'
import { type PartConfigs, parts } from '../../weights/parts.ts'
import type { PartKind } from '../../weights/rename.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'
import { importedFolder, loadManifest } from '../import.ts'
import { gemmRate } from '../machine-rate.ts'

type Described = Pick<EstimateOptions, 'denoiser' | 'decoder' | 'textEncoder' | 'plan'>

const wanTaehv: SizedPart<DecoderKind> = {
  kind: 'taehv-decoder',
  config: { ...taehvDecoderSizes['taew2.1'], storedGrowth: taehvDecoderSizes['taew2.1'].growth },
}

/** Released models by name. */
const released: Readonly<Record<string, Described>> = {
  'wan2.1-1.3b': {
    denoiser: { kind: 'wan-dit', config: wanDitSizes['wan2.1-1.3b'] },
    decoder: wanTaehv,
    textEncoder: { kind: 't5', config: t5Sizes['umt5-xxl'] },
    plan: distilledPlans['fastwan-dmd'],
  },
  'wan2.1-14b': {
    denoiser: { kind: 'wan-dit', config: wanDitSizes['wan2.1-14b'] },
    decoder: wanTaehv,
    textEncoder: { kind: 't5', config: t5Sizes['umt5-xxl'] },
    plan: distilledPlans['lightx2v-4'],
  },
  'ltx-2b': {
    denoiser: { kind: 'ltx-dit', config: { ...ltxDitSizes['ltx-2b'], causal: true } },
    decoder: { kind: 'ltx-vae-decoder', config: ltxVaeDecoderSizes['ltx-0.9.5'] },
    textEncoder: { kind: 't5', config: t5Sizes['t5-v1.1-xxl'] },
    plan: distilledPlans['ltx-0.9.6-distilled'],
  },
}

export const inspectCommand: Command = {
  summary: 'Say what a model would take at a size: parameters, operations, memory, bytes, time.',
  usage: 'MODEL [options]',
  options: {
    size: { kind: 'text', value: 'WxH', help: 'pixels (416x256)' },
    frames: { kind: 'number', value: 'N', help: 'number of frames (33)' },
    tokens: { kind: 'number', value: 'N', help: 'tokens of the prompt (128)' },
    rate: {
      kind: 'number',
      value: 'G',
      help: 'GFLOP/s of the machine to estimate for; this one is measured when left out',
    },
  },
  run: inspect,
}

async function inspect(given: Arguments, { say, emit }: Surroundings): Promise<void> {
  const [name, ...more] = given.positionals
  if (name === undefined || more.length > 0)
    throw new GenerationError('invalid_parameter', `inspect: got ${given.positionals.length} models, allowed is one`)
  const described = released[name] ?? (await imported(name))
  const [width, height] = sizeOf(given.text('size') ?? '416x256')
  const video = { frames: given.number('frames') ?? 33, height, width }
  const fps = denoisers[described.denoiser.kind].defaultFps
  const { parts: sized, flops } = estimate({ ...described, video, fps, tokens: given.number('tokens') ?? 128 })
  const rate = given.number('rate') ?? (await gemmRate(0.3)).best
  const seconds = flops / (rate * 1e9)
  say(`${name} at ${width}x${height}, ${video.frames} frames`)
  for (const part of sized) describe(part, say)
  const whose = given.number('rate') === undefined ? 'this machine, measured' : 'as told'
  say(`a clip: ${tera(flops)} TFLOP, ${duration(seconds)} at ${rate.toFixed(0)} GFLOP/s (${whose})`)
  emit({ model: name, video, parts: sized, flops, rate, seconds })
}

function describe({ kind, parameters, bytes, flops, runs, memory }: PartEstimate, say: (line: string) => void): void {
  const sizes = Object.entries(bytes).map(([precision, size]) => `${precision} ${mega(size)}`)
  say(`${parts[kind].title}: ${(parameters / 1e6).toFixed(1)} M parameters; MB to fetch: ${sizes.join(', ')}`)
  const often = runs === 1 ? '' : `, ${runs} times`
  const held = `${mega(memory.activations)} MB, largest ${mega(memory.largest)} MB`
  const logits = memory.logits === 0 ? '' : `, ${mega(memory.logits)} MB more where attention is not fused`
  say(`  ${tera(flops)} TFLOP a run${often}; activations at most ${held}${logits}`)
}

async function imported(id: string): Promise<Described> {
  const manifest = await loadManifest(importedFolder(), id)
  const { denoiser, decoder, textEncoder } = manifest?.parts ?? {}
  if (denoiser === undefined) {
    const known = Object.keys(released).join(', ')
    throw new GenerationError(
      'not_found',
      `model: got ${id}, allowed are ${known}, and imported models with a denoiser`,
    )
  }
  const plan = distilledPlans[manifest?.plan ?? ('fastwan-dmd' satisfies DistilledPlanName)]
  return {
    denoiser: sizedPart<DenoiserKind>(denoiser),
    ...(decoder === undefined ? {} : { decoder: sizedPart<DecoderKind>(decoder) }),
    ...(textEncoder === undefined ? {} : { textEncoder: sizedPart<'t5'>(textEncoder) }),
    plan,
  }
}

const sizedPart = <K extends PartKind>({ kind, config }: ImportedPart): SizedPart<K> => ({
  kind: kind as K,
  config: config as unknown as PartConfigs[K],
})

function sizeOf(text: string): readonly [number, number] {
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(text) ?? []
  if (width === undefined || height === undefined)
    throw new GenerationError('invalid_parameter', `--size: got ${text}, allowed is WIDTHxHEIGHT, for example 416x256`)
  return [Number(width), Number(height)]
}

const tera = (flops: number): string => (flops / 1e12).toPrecision(3)
const mega = (bytes: number): string => (bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 0)
const duration = (seconds: number): string =>
  seconds < 120 ? `${seconds.toFixed(1)} s` : `${(seconds / 60).toFixed(1)} min`
