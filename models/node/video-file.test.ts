import { describe, expect, it, vi } from 'vitest'
import { h264 } from './h264.ts'
import { encodeVideo } from './video-file.ts'

const frames = () => ({
  frames: 5,
  height: 32,
  width: 32,
  fps: 8,
  pixels: Uint8Array.from({ length: 5 * 32 * 32 * 3 }, (_, index) => (index * 7) % 251),
})

describe('an MP4', () => {
  it('is the same bytes whenever it is made', async () => {
    const first = await encodeVideo(frames(), '.mp4')
    const later = vi.spyOn(Date, 'now').mockReturnValue(Date.UTC(2040, 0, 1))
    expect(Buffer.compare(await encodeVideo(frames(), '.mp4'), first)).toBe(0)
    later.mockRestore()
    for (const box of ['mvhd', 'tkhd', 'mdhd']) {
      const at = Buffer.from(first).indexOf(box)
      expect([box, at > 0, [...first.subarray(at + 8, at + 16)]]).toEqual([box, true, [0, 0, 0, 0, 0, 0, 0, 0]])
    }
  })
})

describe('the H.264 encoder', () => {
  it('leaves the process without listeners of its own', () => {
    h264()
    const sources = ['uncaughtException', 'unhandledRejection'].flatMap((event) =>
      process.listeners(event as 'uncaughtException').map(String),
    )
    expect(sources.filter((source) => /throw |RuntimeError/.test(source))).toEqual([])
  })
})
