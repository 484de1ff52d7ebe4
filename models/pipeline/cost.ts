/**
 * Reads what a model costs off its networks: the coefficients that shared/cost.ts evaluates.
 *
 * A network is traced at a few small sizes and its products are counted (graph/cost.ts); operations are a polynomial of
 * the size, so as many sizes as terms fix it exactly. Memory grows piece by piece; two large sizes give the piece that
 * counts. Knows no file and no runtime.
 */

import { type CostPolynomial, type CostTerm, type Extent, extent, type ModelCost } from '../../shared/cost.ts'
import { type ReleasedPlan, releasedSteps } from '../../shared/released-plans.ts'
import { flopsOf } from '../graph/cost.ts'
import { type Graph, input, scope, sizeOf, trace } from '../graph/graph.ts'
import { type MemoryNeed, memoryOf } from '../graph/memory.ts'
import { decodeGroups, spatialStride, temporalStride } from '../networks/autoencoder.ts'
import { ltxVaeDecoder } from '../networks/ltx-vae-decoder.ts'
import { t5Encoder } from '../networks/t5.ts'
import { taehvDecoder } from '../networks/taehv-decoder.ts'
import { textEncoder } from '../networks/text-encoder.ts'
import { type Precision, partBytes, precisions } from '../weights/conversion.ts'
import { type PartConfigs, partGraph } from '../weights/parts.ts'
import type { PartKind } from '../weights/rename.ts'
import { checkpointStep } from './checkpoint.ts'
import { wholeStepGraph } from './compile.ts'
import type { DecoderKind } from './decoders.ts'
import { type DenoiserKind, denoisers } from './denoisers.ts'
import type { Model } from './model.ts'

/** G latent frames of h × w tokens, and L tokens of text. */
export interface TokenGrid {
  readonly frames: number
  readonly height: number
  readonly width: number
  readonly text: number
}

/** The graphs of a model by size; a part that is missing costs nothing. */
export interface CostedGraphs {
  readonly token: ModelCost['token']
  readonly guidance: ModelCost['guidance']
  readonly passes?: ModelCost['passes']
  readonly encode?: (grid: TokenGrid) => Graph
  readonly step: (grid: TokenGrid) => Graph
  /** Decodes the whole clip, or with `each` one latent frame. */
  readonly decode?: (grid: TokenGrid) => Graph
  readonly decodes?: 'clip' | 'frame'
}

/** What the clips of a model cost. */
export function modelCost({ token, guidance, passes, encode, step, decode, decodes }: CostedGraphs): ModelCost {
  const perFrame = decodes === 'frame' ? ({ frames }: TokenGrid) => frames : () => 1
  const memory = new Map(largeGrids.map((grid) => [grid, memoryOf(step(grid))]))
  const line = (of: keyof MemoryNeed, term: CostTerm) =>
    fitted(['fixed', term], largeGrids, (grid) => memory.get(grid)?.[of] ?? 0)
  return {
    token,
    encode: encode ? fitted(['fixed', 'text', 'textPairs'], textGrids, (grid) => flopsOf(encode(grid))) : {},
    step: fitted(['fixed', 'frames', 'tokens', 'pairs', 'text', 'reads'], stepGrids, (grid) => flopsOf(step(grid))),
    decode: decode ? fitted(['area', 'tokens'], clipGrids, (grid) => perFrame(grid) * flopsOf(decode(grid))) : {},
    activations: line('activations', 'tokens'),
    largest: line('largest', 'tokens'),
    logits: line('logits', 'pairs'),
    guidance,
    ...(passes === undefined ? {} : { passes }),
  }
}

const gridOf = (frames: number, width: number, text: number): TokenGrid => ({ frames, height: 2, width, text })

/** Sizes at which the terms fitted over them are independent; as small as that allows, prompts may be short. */
const clipGrids = [gridOf(1, 1, 1), gridOf(2, 1, 1)]
const textGrids = [gridOf(1, 1, 1), gridOf(1, 1, 2), gridOf(1, 1, 3)]
const stepGrids = [...clipGrids, gridOf(2, 2, 1), gridOf(3, 2, 1), gridOf(2, 1, 2), gridOf(2, 3, 3)]
const largeGrids = [gridOf(8, 16, 3), gridOf(16, 16, 3)]

/**
 * The polynomial of some terms through a count at some sizes, by least squares; coefficients of operations and bytes are
 * whole numbers.
 */
export function fitted(
  terms: readonly CostTerm[],
  sizes: readonly TokenGrid[],
  count: (grid: TokenGrid) => number,
): CostPolynomial {
  const rows = sizes.map((grid) => extentOf(grid))
  const values = sizes.map(count)
  // Columns are brought to about one, or squares of tokens would drown the rest.
  const scales = terms.map((term) => Math.max(...rows.map((row) => row[term])))
  const columns = terms.map((term, index) => rows.map((row) => row[term] / (scales[index] as number)))
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * (b[i] as number), 0)
  const solution = solved(
    columns.map((a) => columns.map((b) => dot(a, b))),
    columns.map((a) => dot(a, values)),
  )
  const entries = terms.map((term, index) => [
    term,
    Math.round((solution[index] as number) / (scales[index] as number)),
  ])
  return Object.fromEntries(entries.filter(([, value]) => value !== 0))
}

const extentOf = ({ frames, height, width, text }: TokenGrid): Extent => extent(frames, height * width, text)

/** Gauss's elimination with pivots. */
function solved(matrix: readonly (readonly number[])[], right: readonly number[]): number[] {
  const rows = matrix.map((row, index) => [...row, right[index] as number])
  const size = rows.length
  for (let column = 0; column < size; column++) {
    const rest = rows.slice(column).map((row) => Math.abs(row[column] as number))
    const pivot = column + rest.indexOf(Math.max(...rest))
    ;[rows[column], rows[pivot]] = [rows[pivot] as number[], rows[column] as number[]]
    const lead = rows[column] as number[]
    for (const [index, row] of rows.entries()) {
      if (index === column) continue
      const factor = (row[column] as number) / (lead[column] as number)
      for (let k = column; k <= size; k++) row[k] = (row[k] as number) - factor * (lead[k] as number)
    }
  }
  return rows.map((row, index) => (row[size] as number) / (row[index] as number))
}

/** What a part weighs. */
export interface PartSize {
  readonly kind: PartKind
  readonly parameters: number
  /** Bytes of weights at each precision. */
  readonly bytes: Readonly<Record<Precision, number>>
}

export function partSize<K extends PartKind>({ kind, config }: SizedPart<K>): PartSize {
  const whole = partGraph(kind, config)
  return {
    kind,
    parameters: whole.parameters.reduce((total, { shape }) => total + sizeOf(shape), 0),
    bytes: Object.fromEntries(precisions.map((each) => [each, partBytes(whole, each)])) as Record<Precision, number>,
  }
}

/** A part as far as its size goes. */
export interface SizedPart<K extends PartKind = PartKind> {
  readonly kind: K
  readonly config: PartConfigs[K]
}

export interface SizedModel {
  readonly denoiser: SizedPart<DenoiserKind>
  readonly decoder?: SizedPart<DecoderKind>
  readonly textEncoder?: SizedPart<'t5'>
  readonly plan: ReleasedPlan
}

/** The graphs of a model of released parts. */
export function checkpointGraphs({ denoiser, decoder, textEncoder, plan }: SizedModel): CostedGraphs {
  const { strides, sizeMultiple, defaultFps } = denoisers[denoiser.kind]
  const cells = sizeMultiple / strides.spatial
  const passes = plan.path === 'straight' && plan.passes.length > 1 ? plan.passes : undefined
  return {
    token: { frames: strides.temporal, side: sizeMultiple },
    guidance: 'second_evaluation',
    passes: passes?.map(({ scale }, index) => ({ steps: releasedSteps(plan)[index]?.length ?? 0, scale })),
    encode: textEncoder && (({ text }) => encoderGraph(textEncoder.config, text)),
    step: ({ frames, height, width, text }) =>
      trace(() =>
        checkpointStep(denoiser, {
          shape: { channels: denoiser.config.channels, frames, height: height * cells, width: width * cells },
          fps: defaultFps,
          rows: text,
          batch: 1,
        }),
      ),
    decode:
      decoder &&
      (({ frames, height, width }) => decoderGraph(decoder, [frames, height * cells, width * cells] as const)),
    decodes: 'clip',
  }
}

const encoderGraph = (config: PartConfigs['t5'], tokens: number): Graph =>
  trace(() => ({ out: t5Encoder(config, input('ids', [1, tokens], 'int32'), input('mask', [1, tokens])) }))

/** The whole clip at once; decoded in pieces it holds less. */
function decoderGraph(
  { kind, config }: SizedPart<DecoderKind>,
  [frames, height, width]: readonly [number, number, number],
): Graph {
  return trace(() => {
    if (kind === 'taehv-decoder') {
      const taehv = config as PartConfigs['taehv-decoder']
      return { out: taehvDecoder(taehv, input('z', [1, frames, taehv.latentChannels, height, width])) }
    }
    const vae = config as PartConfigs['ltx-vae-decoder']
    const latents = input('z', [1, vae.latentChannels, frames, height, width])
    return { out: ltxVaeDecoder(vae, latents, input('t', [1, vae.featureWidth])) }
  })
}

/** The graphs of one of our own models. */
export function ownGraphs({
  denoiser,
  text,
  autoencoder,
}: Pick<Model, 'denoiser' | 'text' | 'autoencoder'>): CostedGraphs {
  const { channels, patch } = denoiser
  return {
    token: { frames: temporalStride, side: spatialStride * patch },
    guidance: denoiser.guided ? 'told' : 'second_evaluation',
    encode: ({ text: tokens }) =>
      trace(() => ({
        out: scope('text', () => textEncoder(text, input('ids', [1, tokens], 'int32'), input('mask', [1, tokens])))
          .text,
      })),
    step: ({ frames, height, width, text: tokens }) =>
      trace(() =>
        wholeStepGraph({ denoiser }, 1, { channels, frames, height: height * patch, width: width * patch }, tokens),
      ),
    decode: ({ height, width }) =>
      trace(() => {
        const group = (name: string) => input(name, [1, height * patch, width * patch, channels])
        return { out: scope('autoencoder', () => decodeGroups(autoencoder, group('latents'), group('previous'))) }
      }),
    decodes: 'frame',
  }
}
