/** From checkpoints of random weights to a video, through the command line alone. */

import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { main } from '../models/node/cli.ts'
import { readManifest } from '../models/weights/manifest.ts'
import { type RandomParts, writeRandomCheckpoint } from './checkpoints/random.ts'
import { toySpiece, toyTokenizer } from './checkpoints/tokenizer.ts'
import { toyLtx, toyLtxMetadata, toyT5, toyTaehv, toyUpscaler, toyWan } from './checkpoints/toys.ts'
import { printed } from './printed.ts'

let folder = ''
const before = process.env.ZOETROPE_MODELS
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'imported-'))
  process.env.ZOETROPE_MODELS = join(folder, 'models')
  await encoder('text_encoder', (to) =>
    writeFile(join(to, 'tokenizer.json'), JSON.stringify(toyTokenizer({ bytes: true }))),
  )
  await encoder('other/text_encoder', (to) => writeFile(join(to, 'spiece.model'), toySpiece({ bytes: true })))
})
afterAll(async () => {
  process.env.ZOETROPE_MODELS = before
  if (before === undefined) delete process.env.ZOETROPE_MODELS
  await rm(folder, { recursive: true, force: true })
})

/** A text encoder as diffusers lays it out: weights in one folder, the tokenizer in another. */
async function encoder(name: string, tokenizer: (folder: string) => Promise<void>): Promise<void> {
  const beside = join(folder, name, '..', 'tokenizer')
  for (const each of [join(folder, name), beside]) await mkdir(each, { recursive: true })
  await writeRandomCheckpoint(join(folder, name, 'model.safetensors'), toyT5)
  await tokenizer(beside)
}

const wan: RandomParts = toyWan
const families = [
  {
    id: 'toy-wan',
    files: [
      ['wan-dmd.safetensors', wan, { original: true, metadata: { config: '{"num_heads":2}' } }],
      ['taew2_1.safetensors', toyTaehv, { dtype: 'F32' }],
    ],
    size: '48x32',
    frames: 9,
  },
  {
    id: 'toy-ltx',
    files: [['ltxv-2b-0.9.6-distilled.safetensors', toyLtx, { original: true, metadata: toyLtxMetadata }]],
    size: '64x32',
    frames: 9,
  },
  {
    id: 'toy-twice',
    files: [
      ['ltxv-2b-0.9.8-distilled.safetensors', toyLtx, { original: true, metadata: toyLtxMetadata }],
      ['ltxv-spatial-upscaler-0.9.8.safetensors', toyUpscaler, {}],
    ],
    size: '64x64',
    frames: 9,
    rows: 10,
  },
  {
    id: 'toy-base',
    files: [
      ['wan2.1_t2v.safetensors', wan, { original: true, metadata: { config: '{"num_heads":2}' } }],
      ['taew2_1.safetensors', toyTaehv, { dtype: 'F32' }],
    ],
    size: '32x32',
    frames: 5,
    encoder: 'other/text_encoder',
    dials: ['--steps', '4', '--guidance', '3', '--negative', 'rain'],
  },
] as const

describe.each(families)('a model imported as $id', ({ id, files, size, frames, ...more }) => {
  const twice = 'rows' in more
  const [dials, encoding] = 'dials' in more ? [more.dials, more.encoder] : [[], 'text_encoder']
  const run = (...words: readonly string[]) => main(words)
  const texts = printed()

  it('becomes whole file by file', async () => {
    for (const [name, parts, options] of files) {
      await writeRandomCheckpoint(join(folder, name), parts, options)
      expect(await run('import', join(folder, name), '--as', id, '--precision', 'q8')).toBe(0)
    }
    expect(await run('import', join(folder, encoding), '--as', id, '--precision', 'f16')).toBe(0)
    const manifest = readManifest(JSON.parse(await readFile(join(folder, 'models', id, 'manifest.json'), 'utf8')))
    expect(Object.keys(manifest.parts).sort()).toEqual([
      'decoder',
      'denoiser',
      'textEncoder',
      ...(twice ? ['upscaler'] : []),
    ])
    expect(manifest.tokenizer?.file).toBe('tokenizer.json')
  })

  it('makes the same video twice of one seed, and another of another', async () => {
    const make = async (seed: string, name: string, ...last: string[]) => {
      const path = join(folder, name)
      const words = ['a red fox runs over the sea', '--model', id, '--size', size, '--frames', String(frames), ...dials]
      expect([await run('generate', ...words, '--seed', seed, '-o', path, ...last), texts.said]).toEqual([
        0,
        expect.any(String),
      ])
      return readFile(path)
    }
    expect((await make('3', 'a.mp4')).subarray(4, 8).toString()).toBe('ftyp')
    // An MP4 says when it was made, a GIF does not.
    if (twice) {
      texts.emitted = ''
      await make('3', 'a.webp', '--json')
      // A level for each row of both passes, and the clean end.
      expect(JSON.parse(texts.emitted).receipt.sigmas).toHaveLength(more.rows + 1)
    }
    const [first, again, other] = [await make('3', 'a.gif'), await make('3', 'b.gif'), await make('4', 'c.gif')]
    expect(again.equals(first)).toBe(true)
    expect(other.equals(first)).toBe(false)
  }, 240_000)

  it('is measured without its text encoder: one step, and the decoding of its latents', async () => {
    const [own, mute] = [join(folder, 'models', id), join(folder, 'models', `${id}-mute`)]
    await cp(own, mute, { recursive: true })
    const {
      parts,
      tokenizer: _,
      ...rest
    } = readManifest(JSON.parse(await readFile(join(own, 'manifest.json'), 'utf8')))
    const left = { ...rest, id: `${id}-mute`, parts: { ...parts, textEncoder: undefined } }
    await writeFile(join(mute, 'manifest.json'), JSON.stringify(left))
    const words = ['--model', `${id}-mute`, '--size', size, '--frames', String(frames), '--json']
    expect([await run('bench', ...words), texts.said]).toEqual([0, expect.any(String)])
    const figures = JSON.parse(texts.emitted) as Record<string, number>
    expect(Object.values(figures).every((value) => Number.isFinite(value) && value > 0)).toBe(true)
    expect(figures.step_ratio).toBeCloseTo((figures.step_gflops as number) / (figures.step_gemm_gflops as number), 9)
  }, 240_000)

  it('refuses weights of which one byte was changed', async () => {
    const manifest = readManifest(JSON.parse(await readFile(join(folder, 'models', id, 'manifest.json'), 'utf8')))
    const path = join(folder, 'models', id, manifest.parts.denoiser?.files[0]?.file ?? '')
    const bytes = await readFile(path)
    bytes[bytes.length - 9] = (bytes[bytes.length - 9] as number) ^ 1
    await writeFile(path, bytes)
    expect(
      await run('generate', 'a fox', '--model', id, '--size', size, '--frames', '1', '-o', join(folder, 'd.mp4')),
    ).toBe(1)
  })
})
