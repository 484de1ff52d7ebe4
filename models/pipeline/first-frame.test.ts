import { describe, expect, it } from 'vitest'
import { effectiveRequest } from '../../shared/generation.ts'
import { gaussian } from '../../shared/random.ts'
import { cleanLevel, noiseAngle } from '../../shared/schedule.ts'
import { toyModel } from '../../test/toy-model.ts'
import { nodeBackend } from '../node/backend.ts'
import type { Backend, HostTensor } from './backend.ts'
import { pictureAt } from './first-frame.ts'
import { runner, type SplitRunner } from './generate.ts'
import { modelOf } from './model.ts'
import type { Latents } from './split.ts'

const signal = new AbortController().signal
const side = 32
/** Not a flat one: a flat picture has latents that noise might have, too. */
const pixels = Uint8Array.from(gaussian(5, 0, 0, side * side * 3), (value) =>
  Math.max(0, Math.min(255, 128 + 60 * value)),
)

type Feeds = Readonly<Record<string, HostTensor>>

/** Node's backend; hears what every denoising step is fed. */
function listening(hear: (feeds: Feeds) => void): Backend {
  const inner = nodeBackend()
  return {
    ...inner,
    load: async (source) => {
      const session = await inner.load(source)
      return {
        ...session,
        run: (feeds, into) => {
          if ('row' in feeds) hear(feeds)
          return session.run(feeds, into)
        },
        [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
      }
    },
  }
}

async function denoised(engine: SplitRunner, request: Parameters<SplitRunner['denoise']>[0], split: object) {
  const events = engine.denoise(request, signal, split)
  for (;;) {
    const { done, value } = await events.next()
    if (done) return value as Latents
  }
}

/** Planes of a latent frame, [C, h, w]. */
const frameOf = ({ data, shape: { channels, frames, height, width } }: Latents, frame: number): number[] =>
  Array.from({ length: channels }, (_, channel) => {
    const from = (channel * frames + frame) * height * width
    return [...data.subarray(from, from + height * width)]
  }).flat()

describe.each([
  ['a student', true],
  ['a teacher, which looks back and is guided by two rows,', false],
])('%s that is given a first frame', (_who, guided) => {
  it('keeps it through every row, at no time, and draws the rest after it', async () => {
    const { card, files } = await toyModel({ guided })
    const fed: Feeds[] = []
    await using engine = runner(
      modelOf(card, files),
      listening((feeds) => fed.push(feeds)),
    )
    const request = effectiveRequest({ prompt: 'a fox jumps', seed: 3 }, card, 0)
    const given = (await engine.encode?.(pixels, side, side)) as Float32Array
    const [free, begun] = [await denoised(engine, request, {}), await denoised(engine, request, { given })]
    expect(frameOf(begun, 0)).toEqual([...given])
    expect(frameOf(free, 0)).not.toEqual(frameOf(begun, 0))
    // What comes after it looks at it.
    expect(frameOf(begun, 1)).not.toEqual(frameOf(free, 1))
    const own = fed.slice(fed.length / 2)
    expect(own).toHaveLength(4)
    for (const { time, latents } of own) {
      const width = time?.shape[2] as number
      const [first, second] = [0, 1].map((frame) => [
        ...(time as HostTensor).data.slice(frame * width, (frame + 1) * width),
      ])
      expect(first?.some(Number.isNaN)).toBe(false)
      // Sinusoids of the angle of a clean level, whatever the row's.
      expect(noiseAngle(cleanLevel)).toBe(0)
      expect(first?.filter((value) => Math.abs(value) > 1e-6 && Math.abs(value - 1) > 1e-6)).toEqual([])
      expect(second).not.toEqual(first)
      expect(frameOf({ data: latents?.data as Float32Array, shape: begun.shape, step: 0, steps: 0 }, 0)).toEqual([
        ...given,
      ])
    }
  })

  it('is cut and gone on with, to the same bits', async () => {
    const { card, files } = await toyModel({ guided })
    await using engine = runner(modelOf(card, files), nodeBackend())
    const request = effectiveRequest({ prompt: 'a fox jumps', seed: 3, scheduler: 'ddim' }, card, 0)
    const given = (await engine.encode?.(pixels, side, side)) as Float32Array
    const whole = await denoised(engine, request, { given })
    const half = await denoised(engine, request, { given, until: 2 })
    expect(await denoised(engine, request, { given, from: { data: half.data, step: 2 } })).toEqual(whole)
  })
})

describe('a picture of another size', () => {
  it('is its middle, in the proportions of the clip', () => {
    // Columns 0, 1, …, 7 of four rows.
    const wide = { width: 8, height: 4, pixels: Uint8Array.from({ length: 96 }, (_, n) => Math.floor(n / 3) % 8) }
    const square = pictureAt(wide, 4, 4)
    expect([...square.subarray(0, 12)]).toEqual([2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5])
    expect(pictureAt(wide, 2, 4)).toHaveLength(24)
    expect(pictureAt({ width: 4, height: 4, pixels: square }, 4, 4)).toEqual(square)
    expect(pictureAt({ width: 1, height: 1, pixels: Uint8Array.of(1, 2, 3) }, 2, 2)).toEqual(
      Uint8Array.of(1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3),
    )
  })
})
