/**
 * What differs between families of released denoisers, as the pipeline sees them: their strides, how latents become what
 * the network takes, and how text and time are told.
 *
 * Latents are [1, C, F, h, w] for everybody, so that one step and one sampler serve all.
 */

import type { LatentShape, Strides } from '../../shared/video.ts'
import { input, type Value } from '../graph/graph.ts'
import { ltxDit, ltxPositions, ltxRotary, ltxStrides } from '../networks/ltx-dit.ts'
import { wanDit } from '../networks/wan-dit.ts'
import { timestepFeatures } from '../nn/embedding.ts'
import { patchify3d, unpatchify3d } from '../nn/patch.ts'
import type { PartConfigs } from '../weights/parts.ts'
import type { HostTensor } from './backend.ts'
import type { PromptEmbeddings } from './known-texts.ts'

export type DenoiserKind = 'wan-dit' | 'ltx-dit'

/** One shape of a denoising step. */
export interface Denoising {
  readonly shape: LatentShape
  readonly fps: number
  /** Rows of text that the graph takes. */
  readonly rows: number
  /** Texts side by side: one, or with guidance the prompt and what to keep away from. */
  readonly batch: 1 | 2
}

interface DenoiserFamily<K extends DenoiserKind> {
  readonly strides: Strides
  /** Sides of a video in pixels are multiples of this. */
  readonly sizeMultiple: number
  readonly defaultFps: number
  readonly textLimit: (config: PartConfigs[K]) => number
  /** Rows for a prompt of so many tokens. */
  readonly rows: (config: PartConfigs[K], tokens: number) => number
  /**
   * The prediction, of the latents' shape; inputs `time`, `text` and what else `conditions` feeds.
   * @param latents [batch, C, F, h, w]
   * @param repeated makes a batch of what is the same for each text.
   */
  readonly predict: (config: PartConfigs[K], latents: Value, repeated: (x: Value) => Value, on: Denoising) => Value
  /** Feeds for as many texts as the batch has. */
  readonly conditions: (texts: readonly PromptEmbeddings[], on: Denoising) => Readonly<Record<string, HostTensor>>
  readonly time: (config: PartConfigs[K], timestep: number) => HostTensor
}

/** Few different graphs: text grows in steps of 16 rows. */
const bucketOf = (count: number, limit: number): number => Math.min(limit, Math.ceil(count / 16) * 16)

const timeOf = ({ featureWidth }: { readonly featureWidth: number }, timestep: number): HostTensor => ({
  dtype: 'float32',
  shape: [1, 1, featureWidth],
  data: timestepFeatures([timestep], featureWidth),
})

/** The prompts' rows, the rest of the bucket zeros: [batch, rows, width]. */
function textFeed(texts: readonly PromptEmbeddings[], { rows }: Denoising): HostTensor {
  const width = texts[0]?.width ?? 0
  const padded = new Float32Array(texts.length * rows * width)
  for (const [index, { data }] of texts.entries()) padded.set(data, index * rows * width)
  return { dtype: 'float32', shape: [texts.length, rows, width], data: padded }
}

export const denoisers: { readonly [K in DenoiserKind]: DenoiserFamily<K> } = {
  'wan-dit': {
    strides: { temporal: 4, spatial: 8 },
    sizeMultiple: 16,
    defaultFps: 16,
    textLimit: ({ textRows = 512 }) => textRows,
    // Rows of zeros are what this network was trained to see behind a prompt.
    rows: ({ textRows = 512 }, tokens) => bucketOf(tokens, textRows),
    predict: (config, latents, repeated, { rows, batch }) =>
      wanDit(config, {
        latents,
        time: repeated(input('time', [1, 1, config.featureWidth])),
        text: input('text', [batch, rows, config.textWidth]),
      }),
    conditions: (texts, on) => ({ text: textFeed(texts, on) }),
    time: timeOf,
  },
  'ltx-dit': {
    strides: ltxStrides,
    sizeMultiple: ltxStrides.spatial,
    defaultFps: 25,
    textLimit: () => 128,
    rows: (_, tokens) => bucketOf(tokens, 128),
    predict: (config, latents, repeated, { shape: { frames, height, width }, fps, rows, batch }) => {
      const positions = ltxPositions({ frames, height, width, fps, causal: config.causal })
      const velocity = ltxDit(config, {
        tokens: patchify3d(latents, [1, 1, 1]),
        time: repeated(input('time', [1, 1, config.featureWidth])),
        text: input('text', [batch, rows, config.textWidth]),
        textBias: input('textBias', [batch, 1, 1, rows]),
        rotary: ltxRotary(positions, config.width),
      })
      return unpatchify3d(velocity, latents.shape, [1, 1, 1])
    },
    conditions: (texts, on) => ({ text: textFeed(texts, on), textBias: paddingBias(texts, on) }),
    time: timeOf,
  },
}

/** Nothing is to look at rows behind a prompt. */
function paddingBias(texts: readonly PromptEmbeddings[], { rows }: Denoising): HostTensor {
  const data = new Float32Array(texts.length * rows)
  for (const [index, { count }] of texts.entries()) data.fill(-10_000, index * rows + count, (index + 1) * rows)
  return { dtype: 'float32', shape: [texts.length, 1, 1, rows], data }
}
