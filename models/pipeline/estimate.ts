/**
 * What a video would take before anything is loaded: operations, memory, bytes to fetch, seconds at a given rate.
 *
 * Counted over the graphs themselves at the very shape asked for, so the answer is that of the run. The router, quotes and
 * `zoetrope inspect` ask here. Knows no file and no runtime.
 */

import { type DistilledPlan, distilledSteps } from '../../shared/distilled.ts'
import type { LatentShape, VideoShape } from '../../shared/video.ts'
import { latentShape } from '../../shared/video.ts'
import { flopsOf } from '../graph/cost.ts'
import { type Graph, input, sizeOf, trace } from '../graph/graph.ts'
import { type MemoryNeed, memoryOf } from '../graph/memory.ts'
import { ltxVaeDecoder } from '../networks/ltx-vae-decoder.ts'
import { t5Encoder } from '../networks/t5.ts'
import { taehvDecoder } from '../networks/taehv-decoder.ts'
import { type Precision, partBytes, precisions } from '../weights/conversion.ts'
import { type PartConfigs, partGraph } from '../weights/parts.ts'
import type { PartKind } from '../weights/rename.ts'
import { checkpointStep } from './checkpoint.ts'
import type { DecoderKind } from './decoders.ts'
import { type DenoiserKind, denoisers } from './denoisers.ts'

/** A part as far as its size goes. */
export interface SizedPart<K extends PartKind = PartKind> {
  readonly kind: K
  readonly config: PartConfigs[K]
}

export interface EstimateOptions {
  readonly denoiser: SizedPart<DenoiserKind>
  readonly decoder?: SizedPart<DecoderKind>
  readonly textEncoder?: SizedPart<'t5'>
  readonly plan: DistilledPlan
  readonly video: VideoShape
  readonly fps: number
  /** Tokens of the prompt. */
  readonly tokens: number
}

export interface PartEstimate {
  readonly kind: PartKind
  readonly parameters: number
  /** Bytes of weights at each precision. */
  readonly bytes: Readonly<Record<Precision, number>>
  /** Of one run: a step, a prompt, a clip. */
  readonly flops: number
  readonly runs: number
  readonly memory: MemoryNeed
}

export interface Estimate {
  readonly parts: readonly PartEstimate[]
  /** Of the whole clip. */
  readonly flops: number
}

/** @throws GenerationError invalid_parameter where the video does not fit the model's strides. */
export function estimate(options: EstimateOptions): Estimate {
  const { denoiser, decoder, textEncoder, plan, video, fps, tokens } = options
  const { strides, textLimit } = denoisers[denoiser.kind]
  const shape = latentShape(video, strides, denoiser.config.channels)
  const rows = Math.min(tokens, textLimit(denoiser.config as never))
  const steps = distilledSteps(plan).flat().length
  const step = trace(() => checkpointStep(denoiser, { shape, fps, rows }))
  const parts = [
    ...(textEncoder === undefined ? [] : [sized(textEncoder, encoderGraph(textEncoder.config, rows), 1)]),
    sized(denoiser, step, steps),
    ...(decoder === undefined ? [] : [sized(decoder, decoderGraph(decoder, shape), 1)]),
  ]
  return { parts, flops: parts.reduce((total, { flops, runs }) => total + flops * runs, 0) }
}

function sized<K extends PartKind>({ kind, config }: SizedPart<K>, run: Graph, runs: number): PartEstimate {
  const whole = partGraph(kind, config)
  return {
    kind,
    parameters: whole.parameters.reduce((total, parameter) => total + sizeOf(parameter.shape), 0),
    bytes: Object.fromEntries(precisions.map((each) => [each, partBytes(whole, each)])) as Record<Precision, number>,
    flops: flopsOf(run),
    runs,
    memory: memoryOf(run),
  }
}

const encoderGraph = (config: PartConfigs['t5'], tokens: number): Graph =>
  trace(() => ({ out: t5Encoder(config, input('ids', [1, tokens], 'int32'), input('mask', [1, tokens])) }))

/** The whole clip at once; decoded in pieces it holds less. */
function decoderGraph(
  { kind, config }: SizedPart<DecoderKind>,
  { channels, frames, height, width }: LatentShape,
): Graph {
  return trace(() => {
    if (kind === 'taehv-decoder')
      return {
        out: taehvDecoder(config as PartConfigs['taehv-decoder'], input('z', [1, frames, channels, height, width])),
      }
    const vae = config as PartConfigs['ltx-vae-decoder']
    return {
      out: ltxVaeDecoder(vae, input('z', [1, channels, frames, height, width]), input('t', [1, vae.featureWidth])),
    }
  })
}
