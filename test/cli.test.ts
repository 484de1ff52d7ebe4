/**
 * The command line from outside: what a person types and what comes back.
 */

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cp, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { describe, expect, it, vi } from 'vitest'
import { loadCard, loadModel, weightsFolder } from '../models/node/models.ts'
import { root } from './sources.ts'

interface Outcome {
  readonly code: number
  readonly out: string
  readonly error: string
}

function zoetrope(...words: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(root, 'bin', 'zoetrope.mjs'), ...words],
      { maxBuffer: 2 ** 26 },
      (failure, out, error) => {
        resolve({ code: typeof failure?.code === 'number' ? failure.code : 0, out, error })
      },
    )
  })
}

const folder = () => mkdtemp(join(tmpdir(), 'zoetrope-'))

describe('zoetrope generate', () => {
  it('writes an MP4 with its receipt; the same seed gives the same bytes, and zero is a seed', async () => {
    const place = await folder()
    const make = async (file: string, seed: string) => {
      const { code, out, error } = await zoetrope(
        'generate',
        'a blue bird flies left over the sea',
        '--seed',
        seed,
        '-o',
        join(place, file),
        '--json',
      )
      expect([code, error]).toEqual([0, ''])
      return { bytes: await readFile(join(place, file)), receipt: JSON.parse(out).receipt }
    }
    const [first, again, zero] = [await make('a.mp4', '7'), await make('b.mp4', '7'), await make('c.mp4', '0')]
    expect(first.bytes.subarray(4, 8).toString()).toBe('ftyp')
    expect(again.bytes.equals(first.bytes)).toBe(true)
    expect(zero.bytes.equals(first.bytes)).toBe(false)
    expect(zero.receipt.seed).toBe(0)
    expect(first.receipt.outputs_sha256).toEqual([createHash('sha256').update(first.bytes).digest('hex')])
    expect(first.receipt.effective).toMatchObject({ num_frames: 17, width: 64, height: 64 })
  })

  it('serves other sizes, lengths and formats with the same weights', async () => {
    const place = await folder()
    for (const [file, ...words] of [
      ['image.png', '--frames', '1'],
      ['wide.gif', '--size', '80x48', '--frames', '5'],
      ['long.webp', '--frames', '25'],
    ] as const) {
      const { code, error } = await zoetrope(
        'generate',
        'a red fox in the snow',
        '--seed',
        '1',
        '-o',
        join(place, file),
        ...words,
      )
      expect([file, code, error.includes('frames of')]).toEqual([file, 0, true])
    }
  })

  const refused: Readonly<Record<string, readonly [words: readonly string[], message: string]>> = {
    'an unknown flag': [['a fox', '--speed', '3'], '--speed: is not an option here, allowed are --output'],
    'an empty prompt': [['  '], 'prompt: got an empty text'],
    'no prompt': [[], 'prompt: got an empty text'],
    'a prompt without quotes': [['a', 'fox'], 'prompt: got 2 arguments, allowed is one'],
    'a prompt of 3,000 characters': [['x'.repeat(3000)], 'prompt: got 3000 characters, allowed are 1 to 2000'],
    'a size that does not fit': [['a fox', '--size', '63x64'], 'size: got 63x64, zt-nano allows multiples of 16'],
    'a size that is none': [['a fox', '--size', 'big'], 'size: got big, allowed is WIDTHxHEIGHT'],
    'no frames': [['a fox', '--frames', '0'], 'num_frames: got 0, allowed is a whole number from 1'],
    'a length that does not fit': [['a fox', '--frames', '16'], 'zt-nano allows 4n + 1 from 1 to 81; use 17'],
    'too many steps': [['a fox', '--steps', '9999'], 'num_inference_steps: got 9999, allowed is a whole number from 1'],
    'a seed that is no number': [['a fox', '--seed', 'seven'], '--seed: got “seven”, allowed is a number'],
    'a seed out of range': [
      ['a fox', '--seed', '4294967296'],
      'seed: got 4294967296, allowed is a whole number from 0 to 4294967295',
    ],
    'an unknown model': [['a fox', '--model', 'zt-huge'], 'model: got zt-huge, allowed are zt-nano'],
    'an unknown ending': [['a fox', '-o', 'fox.avi'], 'allowed endings are .mp4, .gif, .webp, .png'],
    'a folder that is not there': [['a fox', '-o', '/nowhere/at/all/fox.mp4'], 'cannot be written (ENOENT)'],
  }
  for (const [name, [words, message]] of Object.entries(refused)) {
    it(`refuses ${name} in one sentence and leaves no file`, async () => {
      const place = await folder()
      const output = words.includes('-o') ? [] : ['-o', join(place, 'out.mp4')]
      const { code, error } = await zoetrope('generate', ...words, ...output)
      expect(code).toBeGreaterThan(0)
      expect(error).toContain(message)
      expect(error.trim().split('\n')).toHaveLength(1)
      expect(await readdir(place)).toEqual([])
    })
  }

  it('begins with a picture of any size, names it by its hash, and refuses what is none', async () => {
    const place = await folder()
    const picture = join(place, 'picture.png')
    const shade = { r: 200, g: 30, b: 60 }
    await sharp({ create: { width: 90, height: 70, channels: 3, background: shade } })
      .png()
      .toFile(picture)
    const make = async (file: string, ...more: string[]) => {
      const words = [
        'generate',
        'a red ball',
        '--seed',
        '7',
        '--frames',
        '5',
        '-o',
        join(place, file),
        '--json',
        ...more,
      ]
      const { code, out, error } = await zoetrope(...words)
      expect([code, error]).toEqual([0, ''])
      const { data } = await sharp(join(place, file), { pages: 1 })
        .removeAlpha()
        .raw()
        .toBuffer({ resolveWithObject: true })
      const mean = (channel: number) => data.filter((_, at) => at % 3 === channel).reduce((sum, each) => sum + each, 0)
      return {
        effective: JSON.parse(out).receipt.effective,
        away: [shade.r, shade.g, shade.b].map((each, channel) => Math.abs(each - (3 * mean(channel)) / data.length)),
      }
    }
    const [given, free] = [await make('given.webp', '--first-frame', picture), await make('free.webp')]
    expect(Math.max(...given.away)).toBeLessThan(20)
    expect(Math.max(...free.away)).toBeGreaterThan(40)
    expect(given.effective.frame_images).toEqual([
      { image: expect.stringMatching(/^[0-9a-f]{64}$/), frame_type: 'first_frame' },
    ])
    expect(free.effective.frame_images).toBeUndefined()
    const { code, error } = await zoetrope('generate', 'a fox', '--first-frame', join(root, 'package.json'))
    expect(code).toBeGreaterThan(0)
    expect(error).toMatch(/^zoetrope: --first-frame: got .*package\.json, which is no picture that can be read/)
  })

  it('says the same as JSON when asked to', async () => {
    const { out } = await zoetrope('generate', '', '--json')
    expect(JSON.parse(out).error.code).toBe('invalid_parameter')
  })
})

describe('a run of training that is not there', () => {
  it.each([
    ['train', 'denoiser', '--judge'],
    ['train', 'denoiser', '--release'],
  ])('is said to be none by %s %s %s', async (...words) => {
    const { code, error } = await zoetrope(...words, '--run', 'no-such-run')
    expect([code, error]).toEqual([
      1,
      'zoetrope: run: it has no checkpoint yet; train it with “zoetrope train” first\n',
    ])
  })
})

describe('zoetrope distill', () => {
  it('halves a released student further where there is no run of a teacher', async () => {
    const place = await folder()
    vi.stubEnv('ZOETROPE_CACHE', place)
    const few = ['--updates', '1', '--batch', '2', '--clips', '20']
    const { code, error } = await zoetrope('distill', '--student', 'zt-nano', '--to', '4', ...few).finally(() =>
      vi.unstubAllEnvs(),
    )
    expect(code).toBe(0)
    // Guidance is in the student already.
    expect(error.match(/^(folding|halving).*/gm)).toEqual(['halving to 4 steps'])
    expect(await readdir(place)).toContain('student-4.checkpoint.safetensors')
  })

  const refused: Readonly<Record<string, readonly [words: readonly string[], message: string]>> = {
    'a released model that is no student': [
      ['--student', 'zt-nano-teacher', '--to', '4'],
      '--student: got zt-nano-teacher, allowed is a distilled model',
    ],
    'a student taken for one of other steps': [
      ['--student', 'zt-nano', '--from', '4', '--to', '2'],
      '--from: got 4, allowed is 8, the steps of zt-nano',
    ],
    'a student of as many steps as it is to have': [['--student', 'zt-nano'], '--from and --to: got 8 and 8'],
    'too few films': [['--student', 'zt-nano', '--to', '4', '--clips', '3'], '--clips: got 3, allowed is'],
    'a stage of no updates': [['--folding', '0'], '--folding: got 0, allowed is a whole number from 1'],
    'an emphasis on what there is not': [
      ['--often', 'camera=flies:2'],
      '--often: got "camera=flies:2", allowed are as',
    ],
    'a teacher’s lesson where there is no teacher': [
      ['--student', 'zt-nano', '--to', '4', '--direct', '5'],
      '--direct: got 5, allowed is 0 where no --teacher is named',
    ],
    'a teacher that was never trained': [
      ['--student', 'zt-nano', '--teacher', 'nobody', '--direct', '1'],
      'the run has no checkpoint; run “zoetrope train denoiser” first',
    ],
    'to judge by one, too': [
      ['--judge', '--student', 'zt-nano', '--teacher', 'nobody'],
      'the run has no checkpoint; run “zoetrope train denoiser” first',
    ],
  }
  for (const [name, [words, message]] of Object.entries(refused)) {
    it(`refuses ${name} in one sentence`, async () => {
      const { code, error } = await zoetrope('distill', ...words)
      expect(code).toBeGreaterThan(0)
      expect(error).toContain(message)
      expect(error.trim().split('\n')).toHaveLength(1)
    })
  }
})

describe('damaged weights', () => {
  const damage: Readonly<Record<string, readonly [(bytes: Buffer) => Buffer, RegExp]>> = {
    'cut short': [(bytes) => bytes.subarray(0, bytes.length / 2), /got \d+ bytes, allowed are \d+/],
    'with a flipped byte': [
      (bytes) => bytes.fill((bytes.at(-100) ?? 0) ^ 1, bytes.length - 100, bytes.length - 99),
      /its SHA-256 is [0-9a-f]+, allowed is/,
    ],
  }
  for (const [name, [spoil, message]] of Object.entries(damage)) {
    it(`${name} are refused before anything is run`, async () => {
      const [card, place] = [await loadCard('zt-nano'), `${await folder()}/`]
      for (const { file } of Object.values(card.weights)) await cp(`${weightsFolder}${file}`, `${place}${file}`)
      const { file } = card.weights.denoiser
      await writeFile(`${place}${file}`, spoil(await readFile(`${place}${file}`)))
      await expect(loadModel(card, place)).rejects.toMatchObject({
        code: 'weights_integrity',
        message: expect.stringMatching(message),
      })
    })
  }
})

describe('every command', () => {
  for (const name of ['generate', 'serve', 'train', 'distill', 'evaluate', 'bench', 'import', 'inspect', 'sheet']) {
    it(`explains itself: ${name} --help`, async () => {
      const { code, out } = await zoetrope(name, '--help')
      expect(code).toBe(0)
      expect(out).toContain(`zoetrope ${name}`)
      expect(out).toContain('--json')
    })
  }

  it('is named when another is asked for', async () => {
    const { code, error } = await zoetrope('paint')
    expect([code, error]).toEqual([
      2,
      'zoetrope: command: got paint, allowed are generate, serve, train, distill, evaluate, bench, import, inspect, keys, sheet\n',
    ])
  })
})
