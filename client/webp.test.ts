import sharp from 'sharp'
import { describe, expect, it } from 'vitest'
import { GenerationError } from '../shared/errors.ts'
import { animatedWebp } from './webp.ts'

/** Frames of an odd size whose every pixel is known, as still files of sharp's. */
async function stills(count: number, lossless: boolean): Promise<{ files: Uint8Array[]; frames: Buffer[] }> {
  const raw = { width: 6, height: 5, channels: 3 } as const
  const frames = Array.from({ length: count }, (_, frame) => Buffer.alloc(6 * 5 * 3, 20 + 40 * frame))
  const files = frames.map((frame) => sharp(frame, { raw }).webp({ lossless }).toBuffer())
  return { files: await Promise.all(files), frames }
}

describe('an animated WebP', () => {
  it('has every frame as it was, for as long as it lasts, and loops for ever', async () => {
    const { files, frames } = await stills(4, true)
    const animation = animatedWebp(files, { width: 6, height: 5, fps: 12 })
    const { pages, pageHeight, width, loop, delay, format } = await sharp(animation, { animated: true }).metadata()
    expect({ pages, pageHeight, width, loop, format }).toEqual({
      pages: 4,
      pageHeight: 5,
      width: 6,
      loop: 0,
      format: 'webp',
    })
    // 1000 / 12 is no whole number; the ends are rounded, so the sum is right.
    expect(delay).toEqual([83, 84, 83, 83])
    const pixels = await sharp(animation, { animated: true }).removeAlpha().raw().toBuffer()
    expect(pixels.equals(Buffer.concat(frames))).toBe(true)
  })

  it('takes lossy pictures and those with transparency', async () => {
    const { files } = await stills(2, false)
    const clear = await sharp({ create: { width: 6, height: 5, channels: 4, background: '#10203040' } })
      .webp()
      .toBuffer()
    expect(Buffer.from(clear).includes('ALPH')).toBe(true)
    const animation = animatedWebp([...files, clear], { width: 6, height: 5, fps: 8 })
    expect(await sharp(animation, { animated: true }).metadata()).toMatchObject({ pages: 3, delay: [125, 125, 125] })
    await sharp(animation, { animated: true }).raw().toBuffer()
  })

  it('says a length that its bytes have', async () => {
    const { files } = await stills(3, true)
    const animation = animatedWebp(files, { width: 6, height: 5, fps: 8 })
    expect(new DataView(animation.buffer).getUint32(4, true)).toBe(animation.length - 8)
    expect(animation.length % 2).toBe(0)
  })

  it('is not made of other files', () => {
    expect(() => animatedWebp([new Uint8Array(40)], { width: 6, height: 5, fps: 8 })).toThrow(GenerationError)
    expect(() => animatedWebp([Uint8Array.from(Buffer.from('RIFF'))], { width: 6, height: 5, fps: 8 })).toThrow(
      'no still WebP',
    )
  })
})
