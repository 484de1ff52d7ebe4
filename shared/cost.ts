/**
 * What a clip costs, before anything is loaded: operations, memory and time, out of a few numbers that a card holds.
 *
 * Operations are counted on the products of a graph, two to a multiply-add, and are a polynomial of the clip's size: a
 * transformer's maps grow with its tokens, its attention with pairs of them, a decoder's convolutions with its cells.
 * models/pipeline/cost.ts reads the coefficients off the networks; routing, quotes and `zoetrope inspect` all ask
 * `clipCost`. Knows no network.
 */

import * as v from 'valibot'
import type { DeviceReport } from './request.ts'

/** What a polynomial may grow with. */
export const costTerms = ['fixed', 'frames', 'area', 'tokens', 'pairs', 'text', 'textPairs', 'reads'] as const
export type CostTerm = (typeof costTerms)[number]

const count = v.pipe(v.number(), v.integer(), v.minValue(0))
const coefficient = v.optional(v.number())
const polynomialSchema = v.strictObject({
  fixed: coefficient,
  /** Of latent frames. */
  frames: coefficient,
  /** Of tokens in one frame. */
  area: coefficient,
  tokens: coefficient,
  /** Of tokens times tokens. */
  pairs: coefficient,
  /** Of text tokens. */
  text: coefficient,
  textPairs: coefficient,
  /** Of tokens times text tokens. */
  reads: coefficient,
} satisfies Record<CostTerm, typeof coefficient>)

export type CostPolynomial = v.InferOutput<typeof polynomialSchema>

export const modelCostSchema = v.strictObject({
  /** What one token stands for: frames after the first, and the side of its square of pixels. */
  token: v.strictObject({ frames: count, side: count }),
  /** Operations of a prompt, of one evaluation of the denoiser and of decoding the whole clip. */
  encode: polynomialSchema,
  step: polynomialSchema,
  decode: polynomialSchema,
  /** Bytes that live at an evaluation's worst moment, weights apart; of its largest value; of logits that are not fused. */
  activations: polynomialSchema,
  largest: polynomialSchema,
  logits: polynomialSchema,
  /** Whether guidance takes a second evaluation, or is told to the network. */
  guidance: v.picklist(['second_evaluation', 'told']),
  /** Steps at other sizes than the one asked for; left out, all steps are at it. */
  passes: v.optional(v.array(v.strictObject({ steps: count, scale: v.number() }))),
})

export type ModelCost = v.InferOutput<typeof modelCostSchema>

/** As much of a request as its cost depends on. */
export interface CostedClip {
  readonly width: number
  readonly height: number
  readonly num_frames: number
  readonly num_inference_steps: number | null
  readonly guidance_scale: number | null
}

export interface ClipCost {
  /** Operations of one step, both evaluations where guidance takes two; of the largest where steps differ. */
  readonly step: number
  readonly steps: number
  readonly encode: number
  /** Operations of all steps. */
  readonly denoise: number
  readonly decode: number
  /** Operations of the whole clip. */
  readonly flops: number
  /** Bytes at a step's worst moment, weights apart. */
  readonly activations: number
  /** Bytes of the largest single value: what a GPU must bind as one buffer. */
  readonly largest: number
  /** Bytes more where attention is not fused. */
  readonly logits: number
}

/** Text tokens that a prompt is taken to have where it is not known. */
export const usualTextTokens = 32

/** The cost of one clip. */
export function clipCost(cost: ModelCost, clip: CostedClip, textTokens = usualTextTokens): ClipCost {
  const rows = cost.guidance === 'second_evaluation' && (clip.guidance_scale ?? 1) !== 1 ? 2 : 1
  const passes = (cost.passes ?? [{ steps: clip.num_inference_steps ?? 1, scale: 1 }]).map(({ steps, scale }) => ({
    steps,
    at: extentOf(cost, clip, textTokens, scale),
  }))
  const most = (polynomial: CostPolynomial) => rows * Math.max(...passes.map(({ at }) => amountOf(polynomial, at)))
  const last = passes[passes.length - 1]?.at ?? extentOf(cost, clip, textTokens, 1)
  const encode = rows * amountOf(cost.encode, last)
  const decode = amountOf(cost.decode, last)
  const denoise = rows * passes.reduce((total, { steps, at }) => total + steps * amountOf(cost.step, at), 0)
  return {
    step: most(cost.step),
    steps: passes.reduce((total, { steps }) => total + steps, 0),
    encode,
    denoise,
    decode,
    flops: encode + denoise + decode,
    activations: most(cost.activations),
    largest: most(cost.largest),
    logits: most(cost.logits),
  }
}

/** How much there is of every term. */
export type Extent = Readonly<Record<CostTerm, number>>

/** The extent of a clip of G latent frames of S tokens each, and L text tokens. */
export function extent(frames: number, area: number, text: number): Extent {
  const tokens = frames * area
  const [pairs, textPairs, reads] = [tokens * tokens, text * text, tokens * text]
  return { fixed: 1, frames, area, tokens, pairs, text, textPairs, reads }
}

function extentOf({ token }: ModelCost, clip: CostedClip, text: number, scale: number): Extent {
  const side = (pixels: number) => Math.max(1, Math.round((pixels * scale) / token.side))
  const frames = Math.ceil((clip.num_frames - 1) / token.frames) + 1
  return extent(frames, side(clip.width) * side(clip.height), text)
}

/** A polynomial at an extent; never below zero. */
export function amountOf(polynomial: CostPolynomial, at: Extent): number {
  return Math.max(
    0,
    costTerms.reduce((total, term) => total + (polynomial[term] ?? 0) * at[term], 0),
  )
}

/** What a clip takes on some device, in milliseconds. */
export interface Pace {
  /** Of one step, the largest where steps differ. */
  readonly step: number
  /** Of all that is not a step: text, decoder, the file. */
  readonly besides?: number
}

/** The pace at one clip, from the pace at another. */
export function paceAt(cost: ModelCost, measured: CostedClip, clip: CostedClip, { step, besides }: Pace): Pace {
  const [here, there] = [clipCost(cost, clip), clipCost(cost, measured)]
  const stepHere = (step * here.step) / there.step
  if (besides === undefined) return { step: stepHere }
  // What is decoded is what is written, so one grows with the other.
  const share = there.decode === 0 ? pixelsOf(clip) / pixelsOf(measured) : here.decode / there.decode
  return { step: stepHere, besides: besides * share }
}

const pixelsOf = ({ width, height, num_frames: frames }: CostedClip) => width * height * frames

/** Milliseconds of a whole clip at its own pace; what is not known besides its steps, by operations. */
export function clipTime(cost: ModelCost, clip: CostedClip, { step, besides }: Pace): number {
  const { encode, denoise, decode, step: largest } = clipCost(cost, clip)
  const perOperation = step / largest
  return perOperation * denoise + (besides ?? perOperation * (encode + decode))
}

/** A model whose steps a device may have timed. */
export interface TimedModel {
  readonly id: string
  readonly cost: ModelCost
  /** The clip at which `ms_per_step` is told: the model's own default. */
  readonly standard: CostedClip
}

/**
 * Operations a second that a device reached on the best of some models, by its own report. Null where it has timed none
 * of them.
 */
export function deviceRate(report: DeviceReport, models: readonly TimedModel[]): number | null {
  const rates = report.models.flatMap(({ id, ms_per_step: ms }) => {
    const model = models.find((each) => each.id === id)
    return model === undefined || !ms ? [] : [(clipCost(model.cost, model.standard).step * 1000) / ms]
  })
  return rates.length === 0 ? null : Math.max(...rates)
}
