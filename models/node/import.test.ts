import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  originalName,
  type RandomCheckpointOptions,
  type RandomParts,
  writeRandomCheckpoint,
} from '../../test/checkpoints/random.ts'
import { toyLtx, toyLtxMetadata, toyMotion, toyT5, toyTaehv, toyWan } from '../../test/checkpoints/toys.ts'
import { precisions } from '../weights/conversion.ts'
import type { PartConfigs } from '../weights/parts.ts'
import { partGraph } from '../weights/parts.ts'
import { recognise } from '../weights/recognise.ts'
import { networkNames, type PartKind } from '../weights/rename.ts'
import { readSafetensors, readTensor } from '../weights/safetensors.ts'
import { storedTensors } from '../weights/stored.ts'
import { openCheckpoints } from './checkpoint-files.ts'
import { convertTensor } from './convert.ts'
import { hashed, importPart, loadManifest, planPart } from './import.ts'
import { shardWriter } from './shards.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'import-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const signal = new AbortController().signal
const show = () => {}
let made = 0

async function written(parts: RandomParts, options: RandomCheckpointOptions = {}): Promise<string> {
  const path = join(folder, `checkpoint-${made++}.safetensors`)
  await writeRandomCheckpoint(path, parts, options)
  return path
}

async function recognised(path: string) {
  const checkpoints = await openCheckpoints(path)
  try {
    return checkpoints.map(recognise)
  } finally {
    for (const each of checkpoints) await each[Symbol.asyncDispose]()
  }
}

describe('recognising a checkpoint', () => {
  const files: readonly (readonly [string, RandomParts, RandomCheckpointOptions])[] = [
    ['Wan, original names', toyWan, { original: true, metadata: { config: '{"num_attention_heads":2}' } }],
    ['Wan, our names', toyWan, { metadata: { config: '{"num_heads":2}' } }],
    ['LTX with its decoder, original names', toyLtx, { original: true, metadata: toyLtxMetadata }],
    ['TAEHV', toyTaehv, { dtype: 'F32' }],
    ['UMT5', toyT5, {}],
    [
      'motion modules',
      toyMotion,
      { beside: { 'down_blocks.0.motion_modules.0.transformer_blocks.0.pos_embed.pe': [1, 32, 64] } },
    ],
  ]
  it.each(files)('reads kind and configuration of %s off its tensors', async (_, parts, options) => {
    const [{ parts: found = [], doubts = [] } = {}] = await recognised(await written(parts, options))
    expect(doubts).toEqual([])
    expect(Object.fromEntries(found.map(({ kind, config }) => [kind, config]))).toEqual(parts)
    for (const part of found) expect([part.missing, part.misshapen]).toEqual([[], []])
  })

  it('lists what is missing and what has another shape than its configuration implies', async () => {
    const path = await written(toyWan, {
      original: true,
      metadata: { config: '{"num_attention_heads":2}' },
      without: ['blocks.1.attn1.to_q.weight'],
      lie: (name, shape) => (name === 'blocks.0.ffn.net.2.weight' ? [...shape].reverse() : shape),
    })
    const [{ parts: [found] = [] } = {}] = await recognised(path)
    expect(found?.missing).toEqual(['blocks.1.attn1.to_q.weight'])
    expect(found?.misshapen).toEqual(['blocks.0.ffn.2.weight is [256,128], blocks.0.ffn.net.2.weight takes [128,256]'])
  })

  it('knows nothing of other files, and says why a likeness is none', async () => {
    const path = await written({ t5: toyT5.t5 as PartConfigs['t5'] }, { without: ['shared.weight'] })
    expect(await recognised(path)).toEqual([{ parts: [], doubts: ['T5 text encoder: there is no shared.weight'] }])
  })

  it('refuses pickles by content and by name', async () => {
    const zip = join(folder, 'weights.safetensors')
    await writeFile(zip, 'PK\x03\x04 and so on')
    await expect(openCheckpoints(zip)).rejects.toThrow('weights.safetensors: got a pickle')
    const named = join(folder, 'weights.pth')
    await writeFile(named, 'anything at all')
    await expect(openCheckpoints(named)).rejects.toThrow('weights.pth: got a pickle')
  })
})

describe('names', () => {
  it.each(Object.entries({ ...toyWan, ...toyLtx }) as [PartKind, never][])(
    'of every parameter of %s survive the way to the authors’ and back',
    (kind, config) => {
      const ours = partGraph(kind, config).parameters.map(({ attributes }) => attributes.name)
      const names = networkNames(
        kind,
        ours.map((name) => originalName(kind, name)),
      )
      expect([...names.keys()].sort()).toEqual([...ours].sort())
    },
  )
})

/** Imports a part and reads all its tensors back as float32. */
async function imported(parts: RandomParts, precision: (typeof precisions)[number], dtype: 'BF16' | 'F32' = 'BF16') {
  const path = await written(parts, { original: true, dtype, metadata: { config: '{"num_attention_heads":2}' } })
  const id = `model-${made++}`
  const [checkpoint] = await openCheckpoints(path)
  if (checkpoint === undefined) throw new Error('nothing was opened')
  await using source = checkpoint
  const [part] = recognise(source).parts
  if (part === undefined) throw new Error('nothing was recognised')
  const plan = planPart(part, source, precision)
  const manifest = await importPart(plan, source, { folder, id, precision, signal, show })
  return { manifest, id, plan, path }
}

describe('importing', () => {
  it.each(precisions)('at %s stores every parameter in the shape that the network wants', async (precision) => {
    const { manifest, id, plan } = await imported(toyWan, precision)
    const files = manifest.parts.denoiser?.files ?? []
    const headers = Object.fromEntries(
      await Promise.all(
        files.map(async ({ file }) => [file, readSafetensors(await readFile(join(folder, id, file)))] as const),
      ),
    )
    const stored = storedTensors(headers)
    for (const { name, shape, target } of plan.conversions) {
      const { dtype } = stored(name, shape)
      expect(dtype).toBe(target.startsWith('q') ? 'blocks' : target)
    }
    const total = files.reduce((sum, { bytes }) => sum + bytes, 0)
    expect(Math.abs(total - plan.bytes)).toBeLessThan(40_000)
  })

  it('keeps bfloat16 exactly in float16 and float32', async () => {
    const { manifest, id, path } = await imported(toyWan, 'f16')
    const [file] = manifest.parts.denoiser?.files ?? []
    const [given, kept] = [
      readSafetensors(await readFile(path)),
      readSafetensors(await readFile(join(folder, id, file?.file ?? ''))),
    ]
    expect(readTensor(kept, 'blocks.1.attn2.to_out.0.bias')).toEqual(readTensor(given, 'blocks.1.cross_attn.o.bias'))
    const [half, wide] = [readTensor(kept, 'proj_out.weight'), readTensor(given, 'head.head.weight')]
    expect(kept.entries.get('proj_out.weight')?.dtype).toBe('float16')
    wide.forEach((value, index) => {
      // Eight bits of fraction fit in eleven, but for numbers below the smallest normal half.
      expect(Math.abs((half[index] as number) - value)).toBeLessThanOrEqual(2 ** -25)
    })
  })

  it('enters hashes of files and chunks that hold', async () => {
    const { manifest, id } = await imported(toyTaehv, 'f16')
    const [entry] = manifest.parts.decoder?.files ?? []
    expect(await hashed(join(folder, id, entry?.file ?? ''))).toEqual(entry)
  })

  it('links a file whose tensors are all stored as wanted', async () => {
    const { manifest, id, path } = await imported(toyTaehv, 'f32', 'F32')
    const [entry] = manifest.parts.decoder?.files ?? []
    expect((await stat(join(folder, id, entry?.file ?? ''))).ino).toBe((await stat(path)).ino)
  })

  it('adds parts to a model, and leaves no file of a part that was replaced', async () => {
    const { id } = await imported(toyWan, 'q4')
    const [checkpoint] = await openCheckpoints(await written(toyTaehv))
    if (checkpoint === undefined) throw new Error('nothing was opened')
    await using source = checkpoint
    for (const precision of ['f16', 'f32'] as const) {
      for (const part of recognise(source).parts)
        await importPart(planPart(part, source, precision), source, { folder, id, precision, signal, show })
    }
    const manifest = await loadManifest(folder, id)
    expect(Object.keys(manifest?.parts ?? {})).toEqual(['denoiser', 'decoder'])
    expect(manifest?.parts.decoder?.precision).toBe('f32')
    await expect(stat(join(folder, id, 'taehv-decoder-f16-00001.safetensors'))).rejects.toThrow('ENOENT')
  })

  it('leaves nothing behind when it is stopped', async () => {
    const [checkpoint] = await openCheckpoints(await written(toyTaehv))
    if (checkpoint === undefined) throw new Error('nothing was opened')
    await using source = checkpoint
    const [part] = recognise(source).parts
    if (part === undefined) throw new Error('nothing was recognised')
    const stopped = AbortSignal.abort(new Error('stop'))
    const options = { folder, id: 'stopped', precision: 'f16', signal: stopped, show } as const
    await expect(importPart(planPart(part, source, 'f16'), source, options)).rejects.toThrow('stop')
    await expect(stat(join(folder, 'stopped', 'taehv-decoder-f16-00001.safetensors.partial'))).rejects.toThrow('ENOENT')
  })
})

describe('a conversion', () => {
  /** One tensor of 32-bit numbers through the converter. */
  async function converted(values: Float32Array, shape: readonly number[], target: 'q4' | 'float16', limit?: number) {
    const stem = `tensor-${made++}`
    const shards = shardWriter({ folder, stem, headerRoom: 4096, metadata: {} })
    const bytes = new Uint8Array(values.buffer)
    const read = async (_: string, offset: number, into: Uint8Array) =>
      into.set(bytes.subarray(offset, offset + into.length))
    const entry = { name: 'w', dtype: 'float32', shape, offset: 0, length: bytes.length } as const
    const kept = await convertTensor(
      { name: 'w', shape, target, source: { location: '', entry } },
      { checkpoint: { read }, shards, signal, limit },
    )
    const [file] = await shards.finish()
    return { kept, file: readSafetensors(await readFile(join(folder, file?.file ?? ''))) }
  }

  it('keeps a layer that four bits would spoil in eight', async () => {
    const values = Float32Array.from({ length: 32 * 64 }, (_, n) => (n % 32 === 0 ? 1 : 0.18))
    const { kept, file } = await converted(values, [32, 64], 'q4')
    expect(kept).toMatchObject({ name: 'w', target: 'q8' })
    expect([...file.entries.keys()]).toEqual(['w.blocks8', 'w.scales'])
  })

  it('keeps in float32 what float16 would make infinite', async () => {
    const { kept, file } = await converted(Float32Array.of(1, 70_000, 3, 4), [4], 'float16')
    expect(kept?.target).toBe('float32')
    expect(readTensor(file, 'w')).toEqual(Float32Array.of(1, 70_000, 3, 4))
  })

  it('cuts a tensor above the limit along its first axis, and nothing is lost', async () => {
    const values = Float32Array.from({ length: 7 * 6 }, (_, n) => n)
    const { file } = await converted(values, [7, 6], 'float16', 40)
    const names = [...file.entries.keys()]
    expect(names).toEqual(['w.piece.0', 'w.piece.1', 'w.piece.2'])
    expect(names.flatMap((name) => [...readTensor(file, name)])).toEqual([...values])
    expect(storedTensors({ file })('w', [7, 6])).toMatchObject({
      dtype: 'float16',
      pieces: [{ shape: [3, 6] }, {}, {}],
    })
  })
})

describe('shards', () => {
  it('begin a new file rather than pass their limit', async () => {
    const writer = shardWriter({ folder, stem: 'limited', headerRoom: 1000, metadata: {}, limit: 1000 + 2 * 400 + 100 })
    for (const name of ['a', 'b', 'c']) {
      const room = await writer.reserve([{ name, dtype: 'float32', shape: [100] }])
      await room.write(0, 0, new Uint8Array(new Float32Array(100).fill(name.charCodeAt(0)).buffer))
    }
    const files = await writer.finish()
    expect(files.map(({ file }) => file)).toEqual(['limited-00001.safetensors', 'limited-00002.safetensors'])
    const last = readSafetensors(await readFile(join(folder, 'limited-00002.safetensors')))
    expect(readTensor(last, 'c')).toEqual(new Float32Array(100).fill(99))
  })
})
