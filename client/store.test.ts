import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sha256 } from './hash.ts'
import { memoryShelf, type Shelf } from './shelf.ts'
import { createStore, type StoreOptions, type WantedFile } from './store.ts'

const signal = new AbortController().signal
const url = 'http://models.test/weights.safetensors'

function pattern(size: number, salt = 0): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: size }, (_, index) => (index * 31 + (index >> 8) * 7 + salt) & 255)
}

const referenceOf = async (bytes: Uint8Array, file = 'weights.safetensors') => ({
  file,
  bytes: bytes.length,
  sha256: await sha256(bytes),
})

/** The file with a hash for every chunk of `size` bytes. */
async function chunkedOf(bytes: Uint8Array, size: number): Promise<WantedFile> {
  const starts = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => index * size)
  const chunks = await Promise.all(starts.map((start) => sha256(bytes.subarray(start, start + size))))
  return { ...(await referenceOf(bytes)), chunk_bytes: size, chunks }
}

/** Bytes that no two chunks share, made fast. */
function noise(size: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(size / 4))
  for (let index = 0, word = 1; index < words.length; index++) {
    word ^= word << 13
    word ^= word >>> 17
    word ^= word << 5
    words[index] = word
  }
  return new Uint8Array(words.buffer, 0, size)
}

/** One holder per name, as over all tabs of an origin. */
function tabLocks(): NonNullable<StoreOptions['lock']> {
  const last = new Map<string, Promise<unknown>>()
  return (name, body) => {
    const turn = (last.get(name) ?? Promise.resolve()).then(body)
    last.set(
      name,
      turn.catch(() => {}),
    )
    return turn
  }
}

/** A server that ends its answers after the given lengths, in turn, and tells what it sent. */
function server(
  bytes: Uint8Array,
  cuts: readonly number[],
  { ranges = true, etag = '"one"' as string | undefined, greedy = false, piece = 97 } = {},
) {
  const sent: number[] = []
  let [asked, pulled] = [0, 0]
  const fetch = async (_url: unknown, init: RequestInit = {}) => {
    const range = /^bytes=(\d+)-(\d*)$/.exec(new Headers(init.headers).get('Range') ?? '')
    const start = ranges && range !== null ? Number(range[1]) : 0
    const end = ranges && range?.[2] ? Math.min(bytes.length, Number(range[2]) + 1) : bytes.length
    const length = cuts[asked++] ?? Number.POSITIVE_INFINITY
    const body = bytes.subarray(start, Math.min(end, start + length))
    sent.push(body.length)
    let at = 0
    // Piece by piece: an error drops what is queued.
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        if (at < body.length && !(greedy && start + body.length < end)) {
          controller.enqueue(body.slice(at, at + piece))
          pulled += Math.min(piece, body.length - at)
          at += piece
        } else if (start + body.length < end) controller.error(new TypeError('cut'))
        else controller.close()
      },
    })
    const headers = new Headers({ 'Content-Range': `bytes ${start}-${end - 1}/${bytes.length}` })
    if (etag !== undefined) headers.set('ETag', etag)
    return new Response(stream, { status: start > 0 || end < bytes.length ? 206 : 200, headers })
  }
  return {
    fetch: fetch as typeof globalThis.fetch,
    sent,
    total: () => sent.reduce((sum, each) => sum + each, 0),
    pulled: () => pulled,
  }
}

const storeOn = (shelf: Shelf, fetch: typeof globalThis.fetch, more: Partial<StoreOptions> = {}) =>
  createStore({ shelf, fetch, lock: (_name, body) => body(), pause: async () => {}, chunk: 500, ...more })

describe('the model store', () => {
  it('ends with the right bytes whatever the cuts, sending at most a chunk twice per cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 30 }), async (cuts) => {
        const bytes = pattern(20_000)
        const { fetch, total, sent } = server(bytes, cuts)
        const store = storeOn(memoryShelf(), fetch)
        expect(await store.read(await referenceOf(bytes), url, signal)).toEqual(bytes)
        expect(total()).toBeLessThanOrEqual(bytes.length + sent.length * 500)
      }),
      { seed: 3, numRuns: 60 },
    )
  })

  it('asks for less at once where a cut answer brings nothing, and then for more again', async () => {
    const bytes = pattern(1_500_000)
    const { fetch, sent } = server(bytes, new Array(40).fill(300_000), { greedy: true, piece: 2 ** 16 })
    expect(await storeOn(memoryShelf(), fetch).read(await referenceOf(bytes), url, signal)).toEqual(bytes)
    expect(sent.slice(0, 4)).toEqual([300_000, 2 ** 18, 300_000, 2 ** 18])
  })

  it('goes on after its process was ended, from what was flushed', async () => {
    const [bytes, shelf] = [pattern(10_000), memoryShelf()]
    const dead = server(bytes, [4000, 0, 0, 0, 0, 0, 0, 0])
    const reference = await referenceOf(bytes)
    await expect(storeOn(shelf, dead.fetch).read(reference, url, signal)).rejects.toMatchObject({ code: 'offline' })
    const back = server(bytes, [])
    expect(await storeOn(shelf, back.fetch).read(reference, url, signal)).toEqual(bytes)
    expect(back.total()).toBe(6000)
  })

  it('asks nobody for a file that is here', async () => {
    const [bytes, shelf] = [pattern(3000), memoryShelf()]
    const reference = await referenceOf(bytes)
    await storeOn(shelf, server(bytes, []).fetch).read(reference, url, signal)
    const unreachable = (() => Promise.reject(new TypeError('offline'))) as typeof globalThis.fetch
    expect(await storeOn(shelf, unreachable).read(reference, url, signal)).toEqual(bytes)
  })

  it('refuses a flipped byte anywhere and keeps nothing ready', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(2999), fc.integer({ min: 1, max: 255 }), async (place, mask) => {
        const bytes = pattern(3000)
        const spoilt = bytes.with(place, (bytes[place] as number) ^ mask)
        const store = storeOn(memoryShelf(), server(spoilt, [1700]).fetch)
        await expect(store.read(await referenceOf(bytes), url, signal)).rejects.toMatchObject({
          code: 'weights_integrity',
        })
        expect((await store.list()).filter(({ state }) => state === 'ready')).toEqual([])
      }),
      { seed: 4, numRuns: 60 },
    )
  })

  it('finds a file that was damaged on its shelf, and fetches it again', async () => {
    const [bytes, shelf] = [pattern(3000), memoryShelf()]
    const reference = await referenceOf(bytes)
    const { fetch, total } = server(bytes, [])
    await storeOn(shelf, fetch).read(reference, url, signal)
    using drawer = await shelf.open(reference.sha256)
    drawer.write(Uint8Array.of(255, 254, 253), 100)
    expect(await storeOn(shelf, fetch).read(reference, url, signal)).toEqual(bytes)
    expect(total()).toBe(6000)
  })

  it('starts over when the server has no ranges, and survives any torn journal', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 80 }), fc.nat(2000), async (journal, size) => {
        const [bytes, shelf] = [pattern(2000), memoryShelf()]
        const reference = await referenceOf(bytes)
        using torn = await shelf.open(`${reference.sha256}.journal`)
        torn.write(journal, 0)
        using part = await shelf.open(reference.sha256)
        part.write(pattern(size, 9), 0)
        const store = storeOn(shelf, server(bytes, [300], { ranges: false, etag: undefined }).fetch)
        expect(await store.read(reference, url, signal)).toEqual(bytes)
      }),
      { seed: 5, numRuns: 60 },
    )
  })

  it('lets the least recently used go when there is no room, then says so', async () => {
    const shelf = memoryShelf(7000)
    let clock = 0
    const files = await Promise.all([1, 2, 3].map(async (salt) => ({ bytes: pattern(2500, salt), salt })))
    const read = async ({ bytes }: { bytes: Uint8Array }) =>
      storeOn(shelf, server(bytes, []).fetch, { now: () => ++clock }).read(await referenceOf(bytes), url, signal)
    const [first, second, third] = files as [(typeof files)[0], (typeof files)[0], (typeof files)[0]]
    await read(first)
    await read(second)
    await read(first)
    await read(third)
    const ready = (await storeOn(shelf, fetch).list()).filter(({ state }) => state === 'ready')
    expect(ready.map(({ sha256: name }) => name).sort()).toEqual(
      (await Promise.all([first, third].map(({ bytes }) => sha256(bytes)))).sort(),
    )
    await expect(read({ bytes: pattern(9000) })).rejects.toMatchObject({ code: 'storage_full' })
  })
})

describe('a file whose chunks are listed', () => {
  it('comes through a hundred cuts in 50 MB with the right hash, and at most a chunk twice per cut', async () => {
    const [bytes, chunk] = [noise(50_000_000), 2 ** 22]
    const file = await chunkedOf(bytes, chunk)
    const drawn = fc.sample(fc.integer({ min: 1, max: 900_000 }), { seed: 17, numRuns: 100 })
    const { fetch, total, sent } = server(bytes, drawn, { piece: 2 ** 16 })
    const got = await storeOn(memoryShelf(), fetch, { chunk: 2 ** 21 }).read(file, url, signal)
    expect(await sha256(got)).toBe(file.sha256)
    expect(sent.length).toBe(101)
    expect(total()).toBeLessThanOrEqual(bytes.length + 100 * chunk)
  })

  it('is refused at the chunk of a flipped byte: nothing behind it is kept, and hardly anything asked for', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(19_999), fc.integer({ min: 1, max: 255 }), async (place, mask) => {
        const bytes = noise(20_000)
        const file = await chunkedOf(bytes, 1000)
        const [shelf, parsed] = [memoryShelf(), [] as number[]]
        const { fetch, pulled } = server(bytes.with(place, (bytes[place] as number) ^ mask), [])
        const read = storeOn(shelf, fetch).read(file, url, signal)
        await read.then(
          ({ length }) => parsed.push(length),
          (error) => expect(error).toMatchObject({ code: 'weights_integrity' }),
        )
        expect(parsed).toEqual([])
        using drawer = await shelf.open(file.sha256)
        const chunk = Math.floor(place / 1000)
        expect(drawer.size()).toBe(1000 * chunk)
        expect(drawer.read(0, 20_000)).toEqual(bytes.subarray(0, 1000 * chunk))
        // A piece that ends behind the chunk, and one that waits in the stream.
        expect(pulled()).toBeLessThanOrEqual(1000 * (chunk + 1) + 2 * 97)
      }),
      { seed: 8, numRuns: 300 },
    )
  })

  it('builds on nothing of an earlier visit that does not hash', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(9_999), fc.nat(7_999), fc.nat(255), async (cut, place, mask) => {
        const [bytes, shelf] = [noise(10_000), memoryShelf()]
        const file = await chunkedOf(bytes, 1000)
        const dead = server(bytes, [cut, 0, 0, 0, 0, 0])
        await storeOn(shelf, dead.fetch)
          .read(file, url, signal)
          .catch(() => {})
        {
          using drawer = await shelf.open(file.sha256)
          if (place < drawer.size()) drawer.write(Uint8Array.of((bytes[place] as number) ^ mask), place)
        }
        const back = server(bytes, [])
        expect(await storeOn(shelf, back.fetch).read(file, url, signal)).toEqual(bytes)
      }),
      { seed: 9, numRuns: 200 },
    )
  })

  it('is fetched once by three tabs at a time', async () => {
    const [bytes, shelf, lock] = [noise(300_000), memoryShelf(), tabLocks()]
    const file = await chunkedOf(bytes, 2 ** 16)
    const { fetch, total } = server(bytes, [100_000], { piece: 4096 })
    const tabs = [0, 1, 2].map(() => storeOn(shelf, fetch, { lock, chunk: 2 ** 14 }).read(file, url, signal))
    for (const got of await Promise.all(tabs)) expect(got).toEqual(bytes)
    expect(total()).toBeLessThanOrEqual(bytes.length * 1.05)
  })

  it('leaves nothing marked ready that is not whole, whatever the quota', async () => {
    const bytes = noise(10_000)
    const file = await chunkedOf(bytes, 1000)
    let refused = 0
    for (let quota = 500; quota < 12_000; quota += 250) {
      const shelf = memoryShelf(quota)
      const store = storeOn(shelf, server(bytes, [3000]).fetch)
      const outcome = await store.read(file, url, signal).catch((error: { code: string }) => error.code)
      const ready = (await store.list()).filter(({ state }) => state === 'ready')
      if (outcome === 'storage_full') {
        refused += 1
        expect(ready).toEqual([])
      } else {
        expect(outcome).toEqual(bytes)
        expect(ready).toHaveLength(1)
      }
    }
    expect(refused).toBeGreaterThan(20)
  })
})
