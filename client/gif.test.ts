import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { renderClip } from '../models/world/renderer.ts'
import type { Clip } from './frames.ts'
import { decibels } from './frames.ts'
import { encodeGif } from './gif.ts'

async function decoded(clip: Clip): Promise<{ frames: number; delay: number[]; pixels: Uint8Array }> {
  const image = sharp(encodeGif(clip), { animated: true })
  const { pages = 1, delay = [] } = await image.metadata()
  return { frames: pages, delay, pixels: new Uint8Array(await image.removeAlpha().raw().toBuffer()) }
}

describe('GIF', () => {
  it('gives back few flat colours exactly, frame by frame', async () => {
    const palette = [10, 20, 30, 200, 40, 60, 90, 250, 120, 255, 255, 255]
    const pixels = Uint8Array.from(
      { length: 5 * 24 * 32 * 3 },
      (_, at) => palette[(Math.floor(at / 3 / 7) % 4) * 3 + (at % 3)] as number,
    )
    const { frames, delay, pixels: back } = await decoded({ frames: 5, height: 24, width: 32, fps: 8, pixels })
    expect([frames, delay]).toEqual([5, [130, 130, 130, 130, 130]])
    expect(back).toEqual(pixels)
  })

  it('keeps a rendered clip above 30 dB, through every size of code and full tables', async () => {
    const scene = { puppet: 'bird', colour: 'blue', action: 'moves left', scene: 'sea', camera: 'zooms in' } as const
    const clip = { ...renderClip(scene, 1, { frames: 5, height: 128, width: 128 }), fps: 8 }
    const { pixels } = await decoded(clip)
    expect(decibels(pixels, clip.pixels)).toBeGreaterThan(30)
    const noise = Uint8Array.from({ length: 64 * 64 * 3 }, (_, at) => (Math.imul(at + 1, 2654435761) >>> 24) & 0xff)
    expect((await decoded({ frames: 1, height: 64, width: 64, fps: 8, pixels: noise })).pixels).toHaveLength(
      noise.length,
    )
  })
})
