/**
 * The graphs of a generation: text, what steps are told (conditions.ts), one denoising step, one group of frames.
 *
 * A step is one graph: denoiser, prediction to clean estimate, guidance and the sampler's row, so latents need never
 * leave the device between steps. The row's numbers are inputs: one graph serves every plan.
 *
 *   B 1 or 2 (with guidance: conditional, then unconditional) · L tokens · [1, C, F, h, w] latents
 */

import type { LatentShape } from '../../shared/video.ts'
import { input, scope, trace, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { decodeGroups, decoder, encoder, temporalStride } from '../networks/autoencoder.ts'
import { type Conditions, dit } from '../networks/dit.ts'
import { textEncoder } from '../networks/text-encoder.ts'
import { encode } from '../onnx/encode.ts'
import { type LowerOptions, lower } from '../onnx/lower.ts'
import type { ModelSource } from './backend.ts'
import { conditionsGraph, toldConditions } from './conditions.ts'
import { type Model, storedIn } from './model.ts'

/** The numbers of a step, in the order of the input `row`. */
export const rowNames = [
  'predictionLatents',
  'predictionOutput',
  'conditional',
  'latents',
  'denoised',
  'previous',
  'noise',
] as const

/**
 * ids, mask [B, L] → text [B, L, D], pooled [B, D], textBias [B, 1, 1, L].
 *
 * Attention is written out: for a few words its products cost nothing, and on WebGPU the operator for few tokens is
 * compiled for longer than the text is read.
 */
export function compileText(model: Model, batch: number, length: number): ModelSource {
  const read = () => {
    const encoding = scope('text', () =>
      textEncoder(model.text, input('ids', [batch, length], 'int32'), input('mask', [batch, length])),
    )
    return { text: encoding.text, pooled: encoding.pooled, textBias: encoding.textBias }
  }
  return source(model, read, { fuse: (composite) => composite !== 'attention' })
}

/**
 * What the steps of a plan are told, for eight rows at once: text [B, L, D], pooled [B, D], time [8, 1, features] and, for
 * a guided network, guidance [1, features] → modulation [8, B, ·] and reading [B, L, ·].
 */
export function compileConditions(model: Model, batch: 1 | 2, length: number): ModelSource {
  return source(model, () => conditionsGraph(model.denoiser, batch, length))
}

/**
 * latents, previous, noise [1, C, F, h, w], row [7], textBias [B, 1, 1, L], modulation [B, ·] and reading [B, L, ·]
 * → next latents and the clean estimate. With B = 2 the second row of the text is the unconditional one.
 */
export function compileStep(model: Model, batch: 1 | 2, shape: LatentShape, length: number): ModelSource {
  return source(model, () => stepGraph(model, batch, shape, length))
}

export function stepGraph(model: Pick<Model, 'denoiser'>, batch: 1 | 2, shape: LatentShape, length: number) {
  return wholeStepGraph(model, batch, shape, length, toldConditions(model.denoiser, batch, length))
}

/** A step that works out its conditions itself, from time [1, F, features] and the text of B. */
export function compileWholeStep(model: Model, batch: 1 | 2, shape: LatentShape, length: number): ModelSource {
  return source(model, () => wholeStepGraph(model, batch, shape, length))
}

export function wholeStepGraph(
  { denoiser }: Pick<Model, 'denoiser'>,
  batch: 1 | 2,
  shape: LatentShape,
  length: number,
  conditions?: Conditions,
) {
  const time = input('time', [1, shape.frames, denoiser.featureWidth])
  return sampledStep(batch, shape, (latents, repeated) =>
    scope('dit', () =>
      dit(denoiser, {
        latents,
        time: repeated(time),
        text: input('text', [batch, length, denoiser.textWidth]),
        pooled: input('pooled', [batch, denoiser.textWidth]),
        textBias: input('textBias', [batch, 1, 1, length]),
        guidance: denoiser.guided ? repeated(input('guidance', [1, denoiser.featureWidth])) : undefined,
        conditions,
      }),
    ),
  )
}

/**
 * A step around any network: its prediction to the clean estimate, guidance, the sampler's row.
 * @param predict gets the latents of all rows of the text, and a way to repeat what is the same for each.
 */
export function sampledStep(
  batch: 1 | 2,
  { channels, frames, height, width }: LatentShape,
  predict: (latents: Value, repeated: (x: Value) => Value) => Value,
) {
  const latents = input('latents', [1, channels, frames, height, width])
  const row = rowOf(input('row', [rowNames.length]))
  const repeated = (x: Value) => (batch === 1 ? x : op.concatenate([x, x], 0))
  const prediction = predict(repeated(latents), repeated)
  const output = batch === 1 ? prediction : guided(prediction, row.conditional)
  const denoised = op.add(op.multiply(latents, row.predictionLatents), op.multiply(output, row.predictionOutput))
  const terms = [
    op.multiply(latents, row.latents),
    op.multiply(denoised, row.denoised),
    op.multiply(input('previous', latents.shape), row.previous),
    op.multiply(input('noise', latents.shape), row.noise),
  ]
  return { next: terms.reduce((total, term) => op.add(total, term)), estimate: denoised }
}

/** latents, previous [1, C, h, w]: one group and the one before it → frames [4, H, W, 3], about −1…1. */
export function compileDecoder(model: Model, { channels, height, width }: LatentShape): ModelSource {
  return source(model, () => {
    const group = (name: string) => op.transpose(input(name, [1, channels, height, width]), [0, 2, 3, 1])
    const tubes = scope('autoencoder', () => decodeGroups(model.autoencoder, group('latents'), group('previous')))
    const [, tall, wide] = tubes.shape as [number, number, number]
    return { frames: op.transpose(op.reshape(tubes, [tall, wide, temporalStride, 3]), [2, 0, 1, 3]) }
  })
}

/** frames [1, 1, H, W, 3] in −1…1 → latents [1, C, 1, h, w]: a picture as a clip's first latent frame. */
export function compilePicture(model: Model, height: number, width: number): ModelSource {
  return source(model, () => ({
    latents: scope('autoencoder', () => encoder(model.autoencoder, input('frames', [1, 1, height, width, 3]))),
  }))
}

/** frames [1, F, H, W, 3] in −1…1 → the same, encoded and decoded. */
export function compileRoundTrip(model: Model, frames: number, height: number, width: number): ModelSource {
  const config = model.autoencoder
  return source(model, () => {
    const pixels = input('frames', [1, frames, height, width, 3])
    return { restored: scope('autoencoder', () => decoder(config, encoder(config, pixels))) }
  })
}

type Row = Readonly<Record<(typeof rowNames)[number], Value>>

function rowOf(row: Value): Row {
  const entries = rowNames.map((name, index) => [name, op.slice(row, 0, index, index + 1)])
  return Object.fromEntries(entries) as Row
}

/** unconditional + g · (conditional − unconditional). */
function guided(prediction: Value, scale: Value): Value {
  const [conditional, unconditional] = op.split(prediction, 2, 0) as [Value, Value]
  return op.add(unconditional, op.multiply(op.subtract(conditional, unconditional), scale))
}

function source(model: Model, build: () => Record<string, Value>, more: LowerOptions = {}): ModelSource {
  const options: LowerOptions = { stored: storedIn(model), ...more }
  const weights = Object.fromEntries(Object.entries(model.files).map(([name, { bytes }]) => [name, bytes]))
  return { model: encode(lower(trace(build), options)), weights }
}
