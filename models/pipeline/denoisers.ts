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
}

interface DenoiserFamily<K extends DenoiserKind> {
  readonly strides: Strides
  /** Sides of a video in pixels are multiples of this. */
  readonly sizeMultiple: number
  readonly defaultFps: number
  readonly textLimit: (config: PartConfigs[K]) => number
  readonly textShape: (config: PartConfigs[K], text: Pick<PromptEmbeddings, 'count'>) => Pick<Denoising, 'rows'>
  /** The prediction, of the latents' shape; inputs `time`, `text` and what else `conditions` feeds. */
  readonly predict: (config: PartConfigs[K], latents: Value, on: Denoising) => Value
  readonly conditions: (text: PromptEmbeddings, on: Denoising) => Readonly<Record<string, HostTensor>>
  readonly time: (config: PartConfigs[K], timestep: number) => HostTensor
}

/** Few different graphs: text grows in steps of 16 rows. */
const bucketOf = (count: number, limit: number): number => Math.min(limit, Math.ceil(count / 16) * 16)

const timeOf = ({ featureWidth }: { readonly featureWidth: number }, timestep: number): HostTensor => ({
  dtype: 'float32',
  shape: [1, 1, featureWidth],
  data: timestepFeatures([timestep], featureWidth),
})

/** A prompt's rows, the rest of the bucket zeros. */
function textFeed({ data, width }: PromptEmbeddings, { rows }: Denoising): HostTensor {
  const padded = new Float32Array(rows * width)
  padded.set(data)
  return { dtype: 'float32', shape: [1, rows, width], data: padded }
}

export const denoisers: { readonly [K in DenoiserKind]: DenoiserFamily<K> } = {
  'wan-dit': {
    strides: { temporal: 4, spatial: 8 },
    sizeMultiple: 16,
    defaultFps: 16,
    textLimit: ({ textRows = 512 }) => textRows,
    // Rows of zeros are what this network was trained to see behind a prompt.
    textShape: ({ textRows = 512 }, { count }) => ({ rows: bucketOf(count, textRows) }),
    predict: (config, latents, { rows }) =>
      wanDit(config, {
        latents,
        time: input('time', [1, 1, config.featureWidth]),
        text: input('text', [1, rows, config.textWidth]),
      }),
    conditions: (text, on) => ({ text: textFeed(text, on) }),
    time: timeOf,
  },
  'ltx-dit': {
    strides: ltxStrides,
    sizeMultiple: ltxStrides.spatial,
    defaultFps: 25,
    textLimit: () => 128,
    textShape: (_, { count }) => ({ rows: bucketOf(count, 128) }),
    predict: (config, latents, { shape: { frames, height, width }, fps, rows }) => {
      const positions = ltxPositions({ frames, height, width, fps, causal: config.causal })
      const velocity = ltxDit(config, {
        tokens: patchify3d(latents, [1, 1, 1]),
        time: input('time', [1, 1, config.featureWidth]),
        text: input('text', [1, rows, config.textWidth]),
        textBias: input('textBias', [1, 1, 1, rows]),
        rotary: ltxRotary(positions, config.width),
      })
      return unpatchify3d(velocity, latents.shape, [1, 1, 1])
    },
    conditions: (text, on) => ({ text: textFeed(text, on), textBias: paddingBias(text, on) }),
    time: timeOf,
  },
}

/** Nothing is to look at rows behind the prompt. */
function paddingBias({ count }: PromptEmbeddings, { rows }: Denoising): HostTensor {
  const data = new Float32Array(rows).fill(-10_000, count)
  return { dtype: 'float32', shape: [1, 1, 1, rows], data }
}
