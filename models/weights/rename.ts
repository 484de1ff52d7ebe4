/**
 * From the names in a checkpoint to the names in our networks, which are those of diffusers and transformers.
 *
 * A table is an ordered list of rewrites, each applied once; a name that no part claims is left to the other parts of
 * the file. Original names overlap with renamed ones (LTX's `up_blocks.1` becomes `up_blocks.0`), so a table maps a
 * name in one pass and never looks at the result again. Knows names only: shapes are recognise.ts's affair.
 */

/** The networks that weights are known for. */
export const partKinds = [
  'ltx-dit',
  'ltx-vae-decoder',
  'ltx-upscaler',
  'wan-dit',
  'taehv-decoder',
  't5',
  'motion-module',
] as const
export type PartKind = (typeof partKinds)[number]

type Rewrite = readonly [pattern: RegExp, replacement: string | ((...groups: string[]) => string)]

interface NameTable {
  /** What stands in front of a part's names in files that hold more than one part; removed first. */
  readonly prefix: RegExp
  /** Told apart by a name only original files have; diffusers' own names pass unchanged. */
  readonly original?: RegExp
  readonly rewrites: readonly Rewrite[]
}

const attentionOutputs = { q: 'to_q', k: 'to_k', v: 'to_v', o: 'to_out.0' } as const

const tables: Readonly<Record<PartKind, NameTable>> = {
  'ltx-dit': {
    prefix: /^(model\.diffusion_model|transformer)\./,
    original: /^(patchify_proj|adaln_single)\./,
    rewrites: [
      [/^patchify_proj\./, 'proj_in.'],
      [/^adaln_single\./, 'time_embed.'],
      [/\.([qk])_norm\./, '.norm_$1.'],
    ],
  },
  'ltx-vae-decoder': {
    prefix: /^vae\./,
    original: /\.(res_blocks|last_time_embedder|last_scale_shift_table)\b|^per_channel_statistics\./,
    rewrites: [
      [/^decoder\.up_blocks\.(\d+)\./, (_, index) => ltxBlock(Number(index))],
      [/\.res_blocks\./, '.resnets.'],
      [/\.last_(time_embedder|scale_shift_table)/, '.$1'],
      [/^per_channel_statistics\.std-of-means$/, 'latents_std'],
      [/^per_channel_statistics\.mean-of-means$/, 'latents_mean'],
    ],
  },
  'ltx-upscaler': { prefix: /^latent_upsampler\./, rewrites: [] },
  'wan-dit': {
    prefix: /^(model\.diffusion_model|transformer|model)\./,
    original: /^blocks\.\d+\.self_attn\./,
    rewrites: [
      [/^(time|text)_embedding\.(0|2)\./, (_, part, index) => wanEmbedder(part as string, index as string)],
      [/^time_projection\.1\./, 'condition_embedder.time_proj.'],
      [/\.(self|cross)_attn\./, (_, kind) => (kind === 'self' ? '.attn1.' : '.attn2.')],
      [/\.(attn[12])\.([qkvo])\./, (_, name, part) => `.${name}.${attentionOutputs[part as 'q']}.`],
      [/\.ffn\.0\./, '.ffn.net.0.proj.'],
      [/\.ffn\.2\./, '.ffn.net.2.'],
      [/\.norm([23])\./, (_, index) => `.norm${index === '3' ? 2 : 3}.`],
      [/^head\.head\./, 'proj_out.'],
      [/^head\.modulation$/, 'scale_shift_table'],
      [/\.modulation$/, '.scale_shift_table'],
    ],
  },
  'taehv-decoder': { prefix: /^(vae|taehv)\./, rewrites: [] },
  t5: {
    prefix: /^(text_encoder|text_encoders\.[\w-]+\.transformer|model)\./,
    original: /^(token_embedding\.|blocks\.\d+\.attn\.[qkvo]\.)/,
    rewrites: [
      [/^token_embedding\./, 'shared.'],
      [/^norm\./, 'encoder.final_layer_norm.'],
      [/^blocks\.(\d+)\.norm1\./, 'encoder.block.$1.layer.0.layer_norm.'],
      [/^blocks\.(\d+)\.norm2\./, 'encoder.block.$1.layer.1.layer_norm.'],
      [/^blocks\.(\d+)\.attn\./, 'encoder.block.$1.layer.0.SelfAttention.'],
      [/^blocks\.(\d+)\.pos_embedding\.embedding\./, 'encoder.block.$1.layer.0.SelfAttention.relative_attention_bias.'],
      [/^blocks\.(\d+)\.ffn\.gate\.0\./, 'encoder.block.$1.layer.1.DenseReluDense.wi_0.'],
      [/^blocks\.(\d+)\.ffn\.fc1\./, 'encoder.block.$1.layer.1.DenseReluDense.wi_1.'],
      [/^blocks\.(\d+)\.ffn\.fc2\./, 'encoder.block.$1.layer.1.DenseReluDense.wo.'],
    ],
  },
  'motion-module': {
    prefix: /^(module\.)?(unet\.)?/,
    original: /(^|\.)temporal_transformer\./,
    rewrites: [
      [/(^|\.)temporal_transformer\./, '$1'],
      [/\.attention_blocks\.(\d+)\.pos_encoder\.pe$/, '.pos_embed.pe'],
      [/\.attention_blocks\.(\d+)\./, (_, index) => `.attn${Number(index) + 1}.`],
      [/\.norms\.(\d+)\./, (_, index) => `.norm${Number(index) + 1}.`],
      [/\.ff_norm\./, '.norm3.'],
    ],
  },
}

/** LTX counts the middle block and each upsampler as an up block of its own. */
function ltxBlock(index: number): string {
  if (index === 0) return 'decoder.mid_block.'
  const stage = Math.floor((index - 1) / 2)
  return index % 2 === 1 ? `decoder.up_blocks.${stage}.upsamplers.0.` : `decoder.up_blocks.${stage}.`
}

const wanEmbedder = (part: string, index: string): string =>
  `condition_embedder.${part}_embedder.linear_${index === '0' ? 1 : 2}.`

/**
 * Our name of every stored tensor that could belong to a part: ours → stored. Names of other parts come through
 * unchanged and are recognised by nobody.
 */
export function networkNames(kind: PartKind, stored: Iterable<string>): Map<string, string> {
  const { prefix, original, rewrites } = tables[kind]
  const bare = [...stored].map((name) => [name.replace(prefix, ''), name] as const)
  const renamed = original !== undefined && bare.some(([name]) => original.test(name))
  const names = new Map(bare.map(([name, whole]) => [renamed ? rewritten(name, rewrites) : name, whole]))
  return kind === 't5' ? tied(names, 'shared.weight', 'encoder.embed_tokens.weight') : names
}

function rewritten(name: string, rewrites: readonly Rewrite[]): string {
  return rewrites.reduce(
    (current, [pattern, replacement]) =>
      typeof replacement === 'string' ? current.replace(pattern, replacement) : current.replace(pattern, replacement),
    name,
  )
}

/** Two names of one tensor: whichever the file has serves both. */
function tied(names: Map<string, string>, a: string, b: string): Map<string, string> {
  const stored = names.get(a) ?? names.get(b)
  return stored === undefined ? names : new Map([...names, [a, stored], [b, stored]])
}
