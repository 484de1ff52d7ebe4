/**
 * The networks that weights are known for: how each one's configuration is read off its tensors, and its smallest
 * graph, which says what parameters it has and what they are used for.
 *
 * Shapes decide all sizes; what shapes cannot show (how many heads a width divides into) comes from the file's own
 * config where it has one, and else is what every release of that network has. Knows no files and no names but ours.
 */

import { type Graph, input, type Shape, scope, trace } from '../graph/graph.ts'
import { at } from '../graph/ops.ts'
import { type LtxDitConfig, ltxDit, ltxRotary } from '../networks/ltx-dit.ts'
import { type LtxUpscalerConfig, ltxUpscaler } from '../networks/ltx-upscaler.ts'
import { denormalised, type LtxVaeDecoderConfig, ltxVaeDecoder } from '../networks/ltx-vae-decoder.ts'
import { type MotionModuleConfig, motionModule } from '../networks/motion-module.ts'
import { type T5Config, t5Encoder } from '../networks/t5.ts'
import { type TaehvDecoderConfig, taehvDecoder } from '../networks/taehv-decoder.ts'
import { type WanDitConfig, wanDit } from '../networks/wan-dit.ts'
import type { Patch } from '../nn/patch.ts'
import type { PartKind } from './rename.ts'

/** Motion modules come as a set, each under a prefix of its own. */
export interface MotionModulesConfig {
  readonly modules: Readonly<Record<string, MotionModuleConfig>>
}

/** A network, and how its tokens are placed in time. */
export interface LtxPartConfig extends LtxDitConfig {
  readonly causal: boolean
}

export interface PartConfigs {
  'ltx-dit': LtxPartConfig
  'ltx-vae-decoder': LtxVaeDecoderConfig
  'ltx-upscaler': LtxUpscalerConfig
  'wan-dit': WanDitConfig
  'taehv-decoder': TaehvDecoderConfig
  t5: T5Config
  'motion-module': MotionModulesConfig
}

/** What a reader of configurations may ask a file. */
export interface Tensors {
  /** Our names of all its tensors. */
  readonly names: readonly string[]
  /** @throws RangeError when there is none of that name. */
  readonly shape: (name: string) => Shape
  /** A number of the file's own config (a truth value is 0 or 1), or of a tensor of one element. */
  readonly number: (key: string) => number | undefined
}

/** What a part does in a pipeline. */
export type Slot = 'denoiser' | 'textEncoder' | 'decoder' | 'upscaler' | 'motion'

interface PartDescription<K extends PartKind> {
  readonly slot: Slot
  /** What people call it. */
  readonly title: string
  /** A file with a tensor of this name holds such a part. */
  readonly signature: RegExp
  readonly config: (tensors: Tensors) => PartConfigs[K]
  /** All parameters, at the smallest shapes. */
  readonly graph: (config: PartConfigs[K]) => Graph
}

/** How many of a numbered list there are: `blocks.0.…`, `blocks.1.…` are two. Never more than there are names. */
function countOf({ names }: Tensors, prefix: string): number {
  const indices = new Set(
    names.filter((name) => name.startsWith(`${prefix}.`)).map((name) => name.slice(prefix.length + 1).split('.')[0]),
  )
  let count = 0
  while (indices.has(String(count))) count++
  return count
}

const rowsOf = ({ shape }: Tensors, name: string): number => at(shape(`${name}.weight`), 0)
const columnsOf = ({ shape }: Tensors, name: string): number => at(shape(`${name}.weight`), 1)

export const parts: { readonly [K in PartKind]: PartDescription<K> } = {
  'ltx-dit': {
    slot: 'denoiser',
    title: 'LTX-Video denoiser',
    signature: /^time_embed\.emb\.timestep_embedder\.linear_1\.weight$/,
    config: (tensors) => ({
      channels: columnsOf(tensors, 'proj_in'),
      outChannels: rowsOf(tensors, 'proj_out'),
      width: rowsOf(tensors, 'proj_in'),
      depth: countOf(tensors, 'transformer_blocks'),
      heads: tensors.number('num_attention_heads') ?? 32,
      hidden: rowsOf(tensors, 'transformer_blocks.0.ff.net.0.proj'),
      textWidth: columnsOf(tensors, 'caption_projection.linear_1'),
      featureWidth: columnsOf(tensors, 'time_embed.emb.timestep_embedder.linear_1'),
      // Versions from 0.9.5 on place tokens so; older files say that they do not.
      causal: tensors.number('causal_temporal_positioning') !== 0,
    }),
    graph: (config) =>
      trace(() => ({
        out: ltxDit(config, {
          tokens: input('tokens', [1, 1, config.channels]),
          time: input('time', [1, 1, config.featureWidth]),
          text: input('text', [1, 1, config.textWidth]),
          rotary: ltxRotary([0, 0, 0], config.width),
        }),
      })),
  },
  'ltx-vae-decoder': {
    slot: 'decoder',
    title: 'LTX-Video decoder',
    signature: /^decoder\.mid_block\.resnets\.0\.scale_shift_table$/,
    config: (tensors) => {
      const stages = Array.from({ length: countOf(tensors, 'decoder.up_blocks') }, (_, k) => `decoder.up_blocks.${k}`)
      const blocks = ['decoder.mid_block', ...stages]
      return {
        latentChannels: columnsOf(tensors, 'decoder.conv_in.conv'),
        channels: blocks.map((block) => rowsOf(tensors, `${block}.resnets.0.conv1.conv`)),
        residuals: blocks.map((block) => countOf(tensors, `${block}.resnets`)),
        patch: Math.sqrt(rowsOf(tensors, 'decoder.conv_out.conv') / 3),
        featureWidth: columnsOf(tensors, 'decoder.time_embedder.timestep_embedder.linear_1'),
        timestepScale: tensors.number('decoder.timestep_scale_multiplier') ?? 1000,
      }
    },
    graph: (config) =>
      trace(() => ({
        out: ltxVaeDecoder(
          config,
          denormalised(input('latents', [1, config.latentChannels, 1, 1, 1])),
          input('time', [1, config.featureWidth]),
        ),
      })),
  },
  'ltx-upscaler': {
    slot: 'upscaler',
    title: 'LTX-Video latent upscaler',
    signature: /^post_upsample_res_blocks\.0\.conv1\.weight$/,
    config: (tensors) => ({
      channels: columnsOf(tensors, 'initial_conv'),
      width: rowsOf(tensors, 'initial_conv'),
      blocks: countOf(tensors, 'res_blocks'),
      groups: 32,
    }),
    graph: (config) => trace(() => ({ out: ltxUpscaler(config, input('latents', [1, config.channels, 1, 1, 1])) })),
  },
  'wan-dit': {
    slot: 'denoiser',
    title: 'Wan denoiser',
    signature: /^condition_embedder\.time_proj\.weight$/,
    config: (tensors) => {
      const [width, channels, ...patch] = tensors.shape('patch_embedding.weight') as [number, number, ...number[]]
      return {
        channels,
        outChannels: rowsOf(tensors, 'proj_out') / patch.reduce((product, side) => product * side, 1),
        patch: patch as unknown as Patch,
        width,
        depth: countOf(tensors, 'blocks'),
        heads: tensors.number('num_attention_heads') ?? tensors.number('num_heads') ?? width / 128,
        hidden: rowsOf(tensors, 'blocks.0.ffn.net.0.proj'),
        textWidth: columnsOf(tensors, 'condition_embedder.text_embedder.linear_1'),
        featureWidth: columnsOf(tensors, 'condition_embedder.time_embedder.linear_1'),
        textRows: tensors.number('text_len') ?? 512,
      }
    },
    graph: (config) =>
      trace(() => ({
        out: wanDit(config, {
          latents: input('latents', [1, config.channels, ...config.patch]),
          time: input('time', [1, 1, config.featureWidth]),
          text: input('text', [1, 1, config.textWidth]),
        }),
      })),
  },
  'taehv-decoder': {
    slot: 'decoder',
    title: 'TAEHV decoder',
    signature: /^decoder\.3\.conv\.0\.weight$/,
    config: (tensors) => {
      const stages = tensors.names.filter((name) => /^decoder\.\d+\.conv\.weight$/.test(name)).length
      const place = (offset: number) => Array.from({ length: stages }, (_, stage) => `decoder.${offset + 6 * stage}`)
      const channels = ['decoder.1', ...place(8)].map((name) => rowsOf(tensors, name))
      const storedGrowth = place(7).map((name) => rowsOf(tensors, `${name}.conv`) / columnsOf(tensors, `${name}.conv`))
      // Releases keep the frame rate in the first stage and double it in the others.
      const growth = storedGrowth.map((stored, stage) => Math.min(stored, stage === 0 ? 1 : 2))
      return {
        latentChannels: columnsOf(tensors, 'decoder.1'),
        channels,
        growth,
        storedGrowth,
        patch: Math.sqrt(rowsOf(tensors, `decoder.${4 + 6 * stages}`) / 3),
        trim: growth.reduce((product, factor) => product * factor, 1) - 1,
      }
    },
    graph: (config) =>
      trace(() => ({ out: taehvDecoder(config, input('latents', [1, 1, config.latentChannels, 1, 1])) })),
  },
  t5: {
    slot: 'textEncoder',
    title: 'T5 text encoder',
    signature: /^encoder\.block\.0\.layer\.0\.SelfAttention\.q\.weight$/,
    config: (tensors) => {
      const [vocabulary, width] = tensors.shape('shared.weight') as [number, number]
      const attention = (index: number) => `encoder.block.${index}.layer.0.SelfAttention`
      const [buckets, heads] = tensors.shape(`${attention(0)}.relative_attention_bias.weight`) as [number, number]
      return {
        vocabulary,
        width,
        depth: countOf(tensors, 'encoder.block'),
        heads,
        headWidth: rowsOf(tensors, `${attention(0)}.q`) / heads,
        hidden: rowsOf(tensors, 'encoder.block.0.layer.1.DenseReluDense.wi_0'),
        buckets,
        maxDistance: tensors.number('relative_attention_max_distance') ?? 128,
        biasPerLayer: tensors.names.includes(`${attention(1)}.relative_attention_bias.weight`),
      }
    },
    graph: (config) => trace(() => ({ out: t5Encoder(config, input('ids', [1, 1], 'int32'), input('mask', [1, 1])) })),
  },
  'motion-module': {
    slot: 'motion',
    title: 'AnimateDiff motion modules',
    signature: /(^|\.)transformer_blocks\.0\.pos_embed\.pe$/,
    config: (tensors) => ({
      modules: Object.fromEntries(
        tensors.names
          .filter((name) => name.endsWith('transformer_blocks.0.pos_embed.pe'))
          .map((name) => name.slice(0, -'transformer_blocks.0.pos_embed.pe'.length))
          .map((prefix) => [prefix.replace(/\.$/, ''), motionModuleConfig(tensors, prefix)]),
      ),
    }),
    graph: ({ modules }) =>
      trace(() =>
        Object.fromEntries(
          Object.entries(modules).map(([prefix, config], index) => {
            const build = () => motionModule(config, input(`x${index}`, [1, config.channels, 1, 1]), 1)
            return [`out${index}`, prefix === '' ? build() : scope(prefix, build)]
          }),
        ),
      ),
  },
}

function motionModuleConfig(tensors: Tensors, prefix: string): MotionModuleConfig {
  return {
    channels: at(tensors.shape(`${prefix}norm.weight`), 0),
    groups: tensors.number('norm_num_groups') ?? 32,
    heads: tensors.number('motion_num_attention_heads') ?? 8,
    depth: countOf(tensors, `${prefix}transformer_blocks`),
    maxFrames: at(tensors.shape(`${prefix}transformer_blocks.0.pos_embed.pe`), 1),
    normSpan: 'clip',
  }
}

/** The smallest graph of a part. */
export function partGraph<K extends PartKind>(kind: K, config: PartConfigs[K]): Graph {
  return parts[kind].graph(config)
}
