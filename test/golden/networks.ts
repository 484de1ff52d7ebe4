/**
 * Reads a golden file: the network that its config describes, its inputs, its weights where they lie, and what must
 * come out. Nothing is taken from a file's name or from the sizes of the files at hand. Knows no file system, so that a
 * browser can ask the same.
 */

import { type Graph, input, type Shape, trace, type Value } from '../../models/graph/graph.ts'
import * as op from '../../models/graph/ops.ts'
import { ltxDit, ltxRotary } from '../../models/networks/ltx-dit.ts'
import { ltxVaeDecoder } from '../../models/networks/ltx-vae-decoder.ts'
import { motionModule } from '../../models/networks/motion-module.ts'
import { t5Encoder } from '../../models/networks/t5.ts'
import { taehvDecoder } from '../../models/networks/taehv-decoder.ts'
import { wanDit } from '../../models/networks/wan-dit.ts'
import { timestepFeatures } from '../../models/nn/embedding.ts'
import type { Patch } from '../../models/nn/patch.ts'
import type { StoredTensor } from '../../models/onnx/store.ts'
import type { HostTensor } from '../../models/pipeline/backend.ts'
import { networkNames, type PartKind } from '../../models/weights/rename.ts'
import { readSafetensors, readTensor, type SafetensorsFile } from '../../models/weights/safetensors.ts'

type Meta = Readonly<Record<string, unknown>>

export interface GoldenCase {
  readonly graph: Graph
  readonly feeds: Readonly<Record<string, HostTensor>>
  readonly parameters: Readonly<Record<string, Float32Array>>
  readonly stored: (name: string, shape: Shape) => StoredTensor
  readonly weights: Readonly<Record<string, Uint8Array>>
  readonly expected: Float32Array
}

/** What a golden file holds, as builders ask for it. */
interface Fixture {
  readonly file: SafetensorsFile
  readonly number: (key: string, otherwise?: number) => number
  readonly numbers: (key: string) => number[]
  readonly meta: Meta
  readonly shapeOf: (name: string) => Shape
}

interface Built {
  readonly out: Value
  /** Inputs that are not the file's own tensors. */
  readonly feeds?: Readonly<Record<string, HostTensor>>
}

/** Networks by the file's `network`. */
const builders: Readonly<Record<string, { readonly kind: PartKind; readonly build: (fixture: Fixture) => Built }>> = {
  ltx_dit: { kind: 'ltx-dit', build: ltxDitOf },
  ltx_vae_dec: { kind: 'ltx-vae-decoder', build: ltxVaeOf },
  wan_dit: { kind: 'wan-dit', build: wanDitOf },
  taehv_dec: { kind: 'taehv-decoder', build: taehvOf },
  motion_module: { kind: 'motion-module', build: motionModuleOf },
  t5: { kind: 't5', build: t5Of },
  umt5: { kind: 't5', build: t5Of },
}

/** The case of a file, or undefined when it is of a network that has no builder yet. */
export function goldenCase(bytes: Uint8Array): GoldenCase | undefined {
  const file = readSafetensors(bytes)
  const meta = JSON.parse(file.metadata.meta ?? '{}') as Meta
  const known = builders[String(meta.network)]
  if (known === undefined) return undefined
  let feeds: Built['feeds']
  const graph = trace(() => {
    const built = known.build(fixtureOf(file, meta))
    feeds = built.feeds
    return { out: built.out }
  })
  const located = locate(file, known.kind, String(meta.prefix ?? ''))
  const own = graph.inputs.map(({ attributes: { name }, shape, dtype }) => [
    name,
    feeds?.[name] ?? fed(file, name, shape, dtype),
  ])
  return {
    graph,
    feeds: Object.fromEntries(own),
    parameters: Object.fromEntries(
      graph.parameters.map(({ attributes: { name } }) => [name, readTensor(file, located(name))]),
    ),
    stored: (name, shape) => storedAt(file, located(name), shape),
    weights: { golden: file.bytes },
    expected: readTensor(file, 'io.out'),
  }
}

/** The largest difference relative to the largest number wanted; not a number where the lengths differ. */
export function goldenError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (got.length !== wanted.length) return Number.NaN
  let [worst, scale] = [0, 0]
  for (let index = 0; index < wanted.length; index++) {
    const [a, b] = [got[index] as number, wanted[index] as number]
    // Math.max hands a NaN on.
    worst = Math.max(worst, Math.abs(a - b))
    scale = Math.max(scale, Math.abs(b))
  }
  return worst / scale
}

function locate(file: SafetensorsFile, kind: PartKind, prefix: string): (name: string) => string {
  const lead = `w.${prefix}`
  const own = [...file.entries.keys()].filter((name) => name.startsWith(lead))
  const bare = new Map(own.map((name) => [name.slice(lead.length), name]))
  const names = networkNames(kind, bare.keys())
  return (name) => {
    const found = bare.get(names.get(name) ?? '')
    if (found === undefined) throw new RangeError(`golden: the file has no ${name}`)
    return found
  }
}

function storedAt(file: SafetensorsFile, stored: string, shape: Shape): StoredTensor {
  const entry = file.entries.get(stored)
  if (entry?.dtype !== 'float32' || entry.shape.join() !== shape.join())
    throw new RangeError(`golden: ${stored} is ${entry?.dtype} [${entry?.shape}], the network wants [${shape}]`)
  const { offset, length } = entry
  return { dtype: 'float32', data: { kind: 'external', location: 'golden', offset, length } }
}

function fed(file: SafetensorsFile, name: string, shape: Shape, dtype: string): HostTensor {
  const data = readTensor(file, `io.${name}`)
  return dtype === 'int32' ? { dtype, shape, data: Int32Array.from(data) } : { dtype: 'float32', shape, data }
}

function fixtureOf(file: SafetensorsFile, meta: Meta): Fixture {
  const number = (key: string, otherwise?: number) => {
    const value = meta[key] ?? otherwise
    if (typeof value !== 'number') throw new TypeError(`golden: meta.${key} is ${value}, allowed is a number`)
    return value
  }
  return {
    file,
    meta,
    number,
    numbers: (key) => meta[key] as number[],
    shapeOf: (name) => file.entries.get(`io.${name}`)?.shape ?? [],
  }
}

const has = ({ file }: Fixture, name: string): boolean => file.entries.has(`io.${name}`)
const own = ({ shapeOf }: Fixture, name: string): Value => input(name, shapeOf(name))

/** Timesteps [B] or [B, T] as features [B, G, width], fed in place of the file's numbers. */
function timeFeed({ file, shapeOf }: Fixture, width: number, factor = 1): HostTensor {
  const [batch = 1, groups = 1] = shapeOf('t')
  const times = readTensor(file, 'io.t').map((t) => t * factor)
  return { dtype: 'float32', shape: [batch, groups, width], data: timestepFeatures(times, width) }
}

function ltxDitOf(fixture: Fixture): Built {
  const { number, shapeOf, file } = fixture
  const width = number('dim', number('heads') * number('head_dim'))
  const features = timeFeed(fixture, number('freq_dim', 256))
  const [batch, length, textWidth] = shapeOf('text') as [number, number, number]
  const tokens = op.at(shapeOf('x'), 1)
  // The file's t may hold one time for a batch of several clips.
  const mask = has(fixture, 'mask') ? own(fixture, 'mask') : undefined
  const textBias = mask && op.reshape(op.multiply(op.subtract(1, mask), -10_000), [op.at(mask.shape, 0), 1, 1, length])
  const out = ltxDit(
    {
      channels: number('in_channels'),
      outChannels: number('out_channels'),
      width,
      depth: number('layers'),
      heads: number('heads'),
      hidden: number('ff'),
      textWidth,
      featureWidth: op.at(features.shape, 2),
    },
    {
      tokens: own(fixture, 'x'),
      time: op.broadcast(input('time', features.shape), [batch, ...features.shape.slice(1)]),
      text: own(fixture, 'text'),
      textBias,
      // Positions are those of one clip; a file may repeat them for each of a batch.
      rotary: ltxRotary(readTensor(file, 'io.coords').subarray(0, 3 * tokens), width),
    },
  )
  return { out, feeds: { time: features } }
}

function wanDitOf(fixture: Fixture): Built {
  const { number, shapeOf, meta } = fixture
  const featureWidth = number('freq_dim')
  const features = timeFeed(fixture, featureWidth)
  const [batch] = shapeOf('x') as [number]
  const out = wanDit(
    {
      channels: number('in_channels'),
      outChannels: number('out_channels'),
      patch: meta.patch as Patch,
      width: number('dim', number('heads') * number('head_dim')),
      depth: number('layers'),
      heads: number('heads'),
      hidden: number('ffn'),
      textWidth: number('text_dim'),
      featureWidth,
      textRows: typeof meta.text_len === 'number' ? meta.text_len : undefined,
    },
    {
      latents: own(fixture, 'x'),
      time: op.broadcast(input('time', features.shape), [batch, 1, featureWidth]),
      text: own(fixture, 'text'),
    },
  )
  return { out, feeds: { time: features } }
}

function ltxVaeOf(fixture: Fixture): Built {
  const { number, numbers, shapeOf } = fixture
  const [batch] = shapeOf('z') as [number]
  const featureWidth = number('freq_dim', 256)
  const timestepScale = number('timestep_scale_multiplier')
  const { data } = timeFeed(fixture, featureWidth, timestepScale)
  const features: HostTensor = { dtype: 'float32', shape: [data.length / featureWidth, featureWidth], data }
  const config = {
    latentChannels: number('latent'),
    channels: numbers('dec'),
    residuals: numbers('resnets'),
    patch: number('patch'),
    featureWidth,
    timestepScale,
  }
  const time = op.broadcast(input('time', features.shape), [batch, featureWidth])
  return { out: ltxVaeDecoder(config, own(fixture, 'z'), time), feeds: { time: features } }
}

function taehvOf(fixture: Fixture): Built {
  const { number, numbers, file } = fixture
  const [channels, growth] = [numbers('channels'), numbers('time_factors')]
  const storedGrowth = growth.map((factor, stage) => {
    const rows = file.entries.get(`w.decoder.${7 + 6 * stage}.conv.weight`)?.shape[0]
    return rows === undefined ? factor : rows / op.at(channels, stage)
  })
  const config = {
    latentChannels: number('latent'),
    channels,
    growth,
    storedGrowth,
    patch: number('patch', 1),
    trim: number('trim'),
  }
  return { out: taehvDecoder(config, own(fixture, 'z')) }
}

function motionModuleOf(fixture: Fixture): Built {
  const { number, meta } = fixture
  const config = {
    channels: number('channels'),
    groups: number('groups'),
    heads: number('heads'),
    depth: number('layers', 1),
    maxFrames: number('max_positions'),
    normSpan: meta.norm_span === 'all_frames' ? 'clip' : 'frame',
  } as const
  return { out: motionModule(config, own(fixture, 'x'), number('frames')) }
}

function t5Of(fixture: Fixture): Built {
  const { number, meta, shapeOf } = fixture
  const config = {
    vocabulary: number('vocab'),
    width: number('d'),
    depth: number('layers'),
    heads: number('heads'),
    headWidth: number('d_kv'),
    hidden: number('ff'),
    buckets: number('buckets'),
    maxDistance: number('max_distance'),
    biasPerLayer: meta.shared_bias === false,
  }
  return { out: t5Encoder(config, input('ids', shapeOf('ids'), 'int32'), own(fixture, 'mask')) }
}
