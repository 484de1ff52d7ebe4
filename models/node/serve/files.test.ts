import { describe, expect, it } from 'vitest'
import { manualClock } from '../../../test/manual-clock.ts'
import { fileIdOf, fileStore, hour } from './files.ts'

const origin = 'http://127.0.0.1:1'
const fresh = (size = 4) => ({ name: 'a', contentType: 'video/mp4', bytes: new Uint8Array(size), lifetime: hour })

function parts(url: string): [id: string, expires: string, signature: string] {
  const { searchParams } = new URL(url)
  return [fileIdOf(url) ?? '', searchParams.get('expires') ?? '', searchParams.get('signature') ?? '']
}

describe('a download address', () => {
  it('gives the file until it expires, then says so', async () => {
    const clock = manualClock()
    const store = fileStore({ clock })
    const file = store.add(fresh())
    const [id, expires, signature] = parts(store.downloadUrl(origin, file))
    await clock.advance(hour - 1)
    expect(store.open(id, expires, signature)).toBe(file)
    await clock.advance(1)
    expect(() => store.open(id, expires, signature)).toThrow('is no longer kept')
    expect(store.list()).toEqual([])
  })

  it('with anything changed opens nothing', () => {
    const store = fileStore({ clock: manualClock() })
    const [id, expires, signature] = parts(store.downloadUrl(origin, store.add(fresh())))
    const other = parts(store.downloadUrl(origin, store.add(fresh())))
    const flipped = (text: string) => `${text.slice(0, -2)}${text.endsWith('AA') ? 'BB' : 'AA'}`
    for (const attempt of [
      [other[0], expires, signature],
      [id, String(Number(expires) + 1), signature],
      [id, expires, flipped(signature)],
      [id, expires, ''],
      [id, '', signature],
      ['', '', ''],
    ] as [string, string, string][]) {
      expect(() => store.open(...attempt)).toThrow('there is no')
    }
  })

  it('of another process opens nothing', () => {
    const [one, two] = [fileStore({ clock: manualClock() }), fileStore({ clock: manualClock() })]
    expect(() => two.open(...parts(one.downloadUrl(origin, one.add(fresh()))))).toThrow('there is no')
  })
})

describe('the store', () => {
  it('never holds more than its limit: the oldest make room', () => {
    const store = fileStore({ clock: manualClock(), limit: 100 })
    const made = Array.from({ length: 20 }, () => store.add(fresh(30)))
    expect(store.list().map(({ id }) => id)).toEqual(
      made
        .slice(-3)
        .reverse()
        .map(({ id }) => id),
    )
    store.remove(made[19]?.id ?? '')
    store.add(fresh(40))
    expect(store.list()).toHaveLength(3)
  })

  it('knows its own addresses from others', () => {
    const store = fileStore({ clock: manualClock() })
    const file = store.add(fresh())
    expect(fileIdOf(`${origin}/v1/files/${file.id}`)).toBe(file.id)
    expect(fileIdOf(store.downloadUrl(origin, file))).toBe(file.id)
    for (const address of ['', 'file:///v1/files/a', `${origin}/v1/files/`, `${origin}/v2/files/a`, `${origin}/x`]) {
      expect(fileIdOf(address)).toBeUndefined()
    }
  })
})
