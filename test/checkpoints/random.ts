/**
 * Checkpoints of random weights, written as released files are: under original names, in bfloat16, with the metadata
 * that a config is read from. No number comes from a real checkpoint.
 *
 *   node test/checkpoints/random.ts wan2.1-1.3b FILE      writes one at full size, a few megabytes at a time
 */

import { open } from 'node:fs/promises'
import { type Graph, type ParameterDescription, sizeOf } from '../../models/graph/graph.ts'
import { ltxDitSizes } from '../../models/networks/ltx-dit.ts'
import { ltxVaeDecoderSizes } from '../../models/networks/ltx-vae-decoder.ts'
import { t5Sizes } from '../../models/networks/t5.ts'
import { taehvDecoderSizes } from '../../models/networks/taehv-decoder.ts'
import { wanDitSizes } from '../../models/networks/wan-dit.ts'
import { type PartConfigs, partGraph } from '../../models/weights/parts.ts'
import type { PartKind } from '../../models/weights/rename.ts'
import { gaussian } from '../../shared/random.ts'

type Wire = 'BF16' | 'F32' | 'F16'

export interface RandomCheckpointOptions {
  readonly dtype?: 'BF16' | 'F32'
  /** Names as the network's authors store them; ours when left out. */
  readonly original?: boolean
  readonly metadata?: Readonly<Record<string, string>>
  /** Our names of tensors to leave out. */
  readonly without?: readonly string[]
  /** Tensors that files have and our networks compute. */
  readonly beside?: Readonly<Record<string, readonly number[]>>
  /** Changes a description before it is written, to make files that lie. */
  readonly lie?: (name: string, shape: readonly number[]) => readonly number[]
}

/** Several parts in one file. */
export type RandomParts = { readonly [K in PartKind]?: PartConfigs[K] }

/** Writes the file; gives its size in bytes. */
export async function writeRandomCheckpoint(
  path: string,
  parts: RandomParts,
  {
    dtype = 'BF16',
    original = false,
    metadata = {},
    without = [],
    beside = {},
    lie = (_, shape) => shape,
  }: RandomCheckpointOptions = {},
): Promise<number> {
  const tensors = (Object.entries(parts) as [PartKind, never][]).flatMap(([kind, config]) =>
    partGraph(kind, config)
      .parameters.map(({ attributes }) => attributes)
      .filter(({ name }) => !without.includes(name))
      .map((description) => ({
        description,
        stored: original ? originalName(kind, description.name) : description.name,
      })),
  )
  for (const [name, shape] of Object.entries(beside)) {
    tensors.push({ description: { name, shape, initializer: { kind: 'zeros' } }, stored: name })
  }
  let cursor = 0
  const header: Record<string, unknown> = { __metadata__: metadata }
  for (const { description, stored } of tensors) {
    const length = sizeOf(description.shape) * (dtype === 'BF16' ? 2 : 4)
    const shape = lie(description.name, description.shape)
    header[stored] = { dtype, shape, data_offsets: [cursor, cursor + length] }
    cursor += length
  }
  const text = new TextEncoder().encode(JSON.stringify(header))
  const start = new Uint8Array(8 + text.length)
  new DataView(start.buffer).setBigUint64(0, BigInt(text.length), true)
  start.set(text, 8)
  const file = await open(path, 'w')
  await file.write(start)
  for (const { description } of tensors) for (const bytes of numbers(description, dtype)) await file.write(bytes)
  await file.close()
  return start.length + cursor
}

/** The same numbers, in memory. */
export function drawnParameters({ parameters }: Graph): Record<string, Float32Array> {
  return Object.fromEntries(
    parameters.map(({ attributes }) => {
      const pieces = [...numbers(attributes, 'F32')]
      const bytes = new Uint8Array(pieces.reduce((total, each) => total + each.length, 0))
      pieces.reduce((offset, each) => {
        bytes.set(each, offset)
        return offset + each.length
      }, 0)
      return [attributes.name, new Float32Array(bytes.buffer)]
    }),
  )
}

const table = gaussian(11, 0, 0, 2 ** 20)

/** A tensor's numbers, at most a million at a time; scaled so that signals keep their size. Millions repeat. */
function* numbers({ name, shape }: ParameterDescription, dtype: Wire): Generator<Uint8Array> {
  const [middle, spread] = place(name, shape)
  const size = sizeOf(shape)
  const seed = [...name].reduce((hash, letter) => (hash * 31 + letter.charCodeAt(0)) % table.length, 7)
  const values = new Float32Array(Math.min(table.length, size))
  for (let index = 0; index < values.length; index++)
    values[index] = middle + spread * (table[(index + seed) % table.length] as number)
  const bytes = new Uint8Array(dtype === 'F32' ? values.buffer : bfloat16(values).buffer)
  const each = bytes.length / values.length
  for (let done = 0; done < size; done += values.length) yield bytes.subarray(0, each * (size - done))
}

function place(name: string, shape: readonly number[]): readonly [middle: number, spread: number] {
  if (/norm[^.]*\.weight$|^norm\.weight$|latents_std$/.test(name)) return [1, 0.1]
  if (/timestep_scale_multiplier$/.test(name)) return [1000, 0]
  if (shape.length === 1) return [0, 0.02]
  if (/scale_shift_table$/.test(name)) return [0, 0.2]
  if (/shared\.weight$/.test(name)) return [0, 1]
  // T5 does not divide its logits by √d; its queries are drawn smaller instead.
  if (/SelfAttention\.q\.weight$/.test(name)) return [0, 0.15 / Math.sqrt(sizeOf(shape.slice(1)))]
  return [0, 1 / Math.sqrt(sizeOf(shape.slice(1)))]
}

function bfloat16(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer)
  const halves = new Uint16Array(words.length)
  for (let index = 0; index < words.length; index++) {
    const word = words[index] as number
    halves[index] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16
  }
  return halves
}

/** The authors' name of one of our parameters: the other direction of weights/rename.ts, written independently. */
export function originalName(kind: PartKind, name: string): string {
  switch (kind) {
    case 'ltx-dit':
      return `model.diffusion_model.${name
        .replace(/^proj_in\./, 'patchify_proj.')
        .replace(/^time_embed\./, 'adaln_single.')
        .replace('norm_q', 'q_norm')
        .replace('norm_k', 'k_norm')}`
    case 'ltx-vae-decoder':
      return `vae.${ltxVaeName(name)}`
    case 'wan-dit':
      return wanName(name)
    default:
      return name
  }
}

function ltxVaeName(name: string): string {
  if (name === 'latents_std') return 'per_channel_statistics.std-of-means'
  if (name === 'latents_mean') return 'per_channel_statistics.mean-of-means'
  if (/^decoder\.(time_embedder|scale_shift_table)/.test(name)) return name.replace('decoder.', 'decoder.last_')
  const [, stage, upsampler, rest] = /^decoder\.(mid_block|up_blocks\.\d+)\.(upsamplers\.0\.)?(.*)$/.exec(name) ?? []
  if (stage === undefined) return name
  const index = stage === 'mid_block' ? 0 : 2 * Number(stage.split('.')[1]) + (upsampler === undefined ? 2 : 1)
  return `decoder.up_blocks.${index}.${rest?.replace('resnets.', 'res_blocks.')}`
}

function wanName(name: string): string {
  const outputs: Readonly<Record<string, string>> = { to_q: 'q', to_k: 'k', to_v: 'v', 'to_out.0': 'o' }
  return name
    .replace(
      /^condition_embedder\.(time|text)_embedder\.linear_(\d)\./,
      (_, part, n) => `${part}_embedding.${2 * n - 2}.`,
    )
    .replace(/^condition_embedder\.time_proj\./, 'time_projection.1.')
    .replace(/\.attn1\./, '.self_attn.')
    .replace(/\.attn2\./, '.cross_attn.')
    .replace(/\.(to_q|to_k|to_v|to_out\.0)\./, (_, part) => `.${outputs[part]}.`)
    .replace(/\.norm2\./, '.norm3.')
    .replace(/\.ffn\.net\.0\.proj\./, '.ffn.0.')
    .replace(/\.ffn\.net\.2\./, '.ffn.2.')
    .replace(/^proj_out\./, 'head.head.')
    .replace(/^scale_shift_table$/, 'head.modulation')
    .replace(/\.scale_shift_table$/, '.modulation')
}

const fullSizes: Readonly<Record<string, RandomParts>> = {
  'wan2.1-1.3b': { 'wan-dit': wanDitSizes['wan2.1-1.3b'] },
  'ltx-2b': {
    'ltx-dit': { ...ltxDitSizes['ltx-2b'], causal: true },
    'ltx-vae-decoder': ltxVaeDecoderSizes['ltx-0.9.5'],
  },
  'taew2.1': { 'taehv-decoder': taehvDecoderSizes['taew2.1'] },
  'umt5-xxl': { t5: t5Sizes['umt5-xxl'] },
  't5-v1.1-xxl': { t5: t5Sizes['t5-v1.1-xxl'] },
}

if (import.meta.main) {
  const [name = '', path] = process.argv.slice(2)
  const parts = fullSizes[name]
  if (parts === undefined || path === undefined) {
    process.stderr.write(`random: got “${name}”, allowed are ${Object.keys(fullSizes).join(', ')}, then a file\n`)
    process.exitCode = 2
  } else {
    const bytes = await writeRandomCheckpoint(path, parts, { original: true })
    process.stdout.write(`${path}: ${bytes} bytes\n`)
  }
}
