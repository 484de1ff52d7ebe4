import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { HostTensor, Session } from '../models/pipeline/backend.ts'
import { deviceHere, engineHere, modelSite } from '../test/engine-here.ts'
import type { StaticServer } from '../test/static-server.ts'
import { toyFolder } from '../test/toy-folder.ts'
import type { EngineThread } from './engine-thread.ts'
import type { VideoRequest } from './events.ts'
import { snakeCase } from './names.ts'
import { routeRequest } from './router.ts'
import type { Shelf } from './shelf.ts'

/** A slow machine: its clock goes on by what is run on it, in milliseconds. */
const machine = vi.hoisted(() => ({ clock: 0, loads: 0, rows: 0, files: 0, onRow: () => {} }))

vi.mock('./backend.ts', async (original) => {
  const { webBackend } = await original<typeof import('./backend.ts')>()
  const slowed = (session: Session): Session => ({
    ...session,
    run: async (feeds, into) => {
      machine.clock += costOf(feeds)
      if ('row' in feeds) {
        machine.rows += 1
        machine.onRow()
      }
      return session.run(feeds, into)
    },
  })
  return {
    webBackend: async (...words: Parameters<typeof webBackend>) => {
      const inner = await webBackend(...words)
      const load: typeof inner.load = async (source) => {
        machine.clock += 5000
        machine.loads += 1
        return slowed(await inner.load(source))
      }
      return { ...inner, load }
    },
  }
})
/** What outlives an engine, by name. */
const shelves = new Map<string, Shelf>()
vi.mock('./shelf.ts', async (original) => {
  const shelf = await original<typeof import('./shelf.ts')>()
  const openShelf = async (name: string) => {
    const known = shelves.get(name) ?? shelf.memoryShelf()
    shelves.set(name, known)
    return known
  }
  return { ...shelf, openShelf }
})
vi.mock('./mp4.ts', () => ({
  encodeMovie: async ({ pixels }: { pixels: Uint8Array }) => {
    machine.clock += pixels.length / 100
    machine.files += 1
    return { bytes: new Uint8Array([1]), contentType: 'video/mp4' }
  },
}))

/** Of a row of the standard clip. */
const row = 10 + 512 / 50

/** A row takes a little, a text and a group of frames much more, as on a machine that lacks threads. */
function costOf(feeds: Readonly<Record<string, HostTensor>>): number {
  const cells = feeds.latents?.data.length ?? 0
  if ('row' in feeds) return 10 + cells / 50
  return cells > 0 ? cells / 5 : 40
}

let models: string
let site: StaticServer
let engine: EngineThread
const signal = new AbortController().signal

beforeAll(async () => {
  models = await mkdtemp(join(tmpdir(), 'zoetrope-rehearsal-'))
  await toyFolder(models, { guided: true })
  site = await modelSite(models, ['zt-toy'])
})

beforeEach(() => {
  shelves.clear()
  Object.assign(machine, { clock: 0, loads: 0, rows: 0, files: 0, onRow: () => {} })
  vi.spyOn(performance, 'now').mockImplementation(() => machine.clock)
  engine = engineHere(site.url)
})

afterEach(() => vi.restoreAllMocks())

afterAll(async () => {
  await site?.[Symbol.asyncDispose]()
  await rm(models, { recursive: true, force: true })
})

const usual = { prompt: 'a green fox jumps right on the grass', seed: 4 }

/** Milliseconds that a client would say. */
async function expected(request: VideoRequest): Promise<number | null> {
  const situation = { mode: 'only_on_device', models: await engine.models(signal), cloud: false } as const
  return routeRequest(request, { ...situation, device: await deviceHere() }).device.etaMs
}

/** Milliseconds that it takes. */
async function taken(request: VideoRequest): Promise<number> {
  const began = machine.clock
  for await (const _ of engine.generate({ request: snakeCase(request), seed: 1 }, signal));
  return machine.clock - began
}

describe('a rehearsal', () => {
  it('compiles all that the first run needs, and foretells how long that takes', async () => {
    expect(await expected(usual)).toBeNull()
    await engine.rehearse('zt-toy', signal)
    const { loads } = machine
    const foretold = await expected(usual)
    const time = await taken(usual)
    expect(machine.loads).toBe(loads)
    expect(foretold).toBe(Math.round(time))
    // Steps are the least of it: an estimate of them alone would not do.
    expect(time).toBeGreaterThan(2 * 4 * row)
  })

  it.each([
    ['of more steps', { numInferenceSteps: 32 }],
    ['of more frames', { numFrames: 17 }],
    ['of more pixels', { size: '64x64' }],
    ['of fewer steps', { numInferenceSteps: 1 }],
    ['of a single frame', { numFrames: 1 }],
    ['of several outputs', { n: 3 }],
  ] as const)('foretells a run %s within a factor of two', async (_, more) => {
    await engine.rehearse('zt-toy', signal)
    const [told, clip] = [await expected({ ...usual, ...more }), { ...usual, ...more }]
    // What is compiled for this size alone is not foretold.
    await taken({ ...clip, seed: 5 })
    const ratio = (told ?? 0) / (await taken(clip))
    expect(ratio).toBeGreaterThan(0.5)
    expect(ratio).toBeLessThan(2)
  })

  it('takes one row to compile and three to time them, one after a reload, and none after that', async () => {
    await engine.rehearse('zt-toy', signal)
    expect([machine.rows, machine.files]).toEqual([4, 2])
    const known = await expected(usual)
    engine = engineHere(site.url)
    await engine.rehearse('zt-toy', signal)
    expect([machine.rows, machine.files]).toEqual([5, 3])
    await engine.rehearse('zt-toy', signal)
    expect([machine.rows, machine.files]).toEqual([5, 3])
    expect(await expected(usual)).toBe(known)
  })

  it('is given up for a run, which neither waits for it nor goes on from it', async () => {
    const quiet = engineHere(site.url)
    const pixels = async (there: EngineThread) => {
      const found: string[] = []
      for await (const event of there.generate({ request: snakeCase(usual), seed: 1 }, signal))
        if (event.type === 'part' && 'pixels' in event.part) found.push(String(event.part.pixels))
      return found
    }
    const alone = await pixels(quiet)
    let beside: Promise<string[]> | undefined
    machine.onRow = () => {
      beside ??= pixels(engine)
    }
    machine.files = 0
    await engine.rehearse('zt-toy', signal)
    expect(await beside).toEqual(alone)
    expect(machine.files).toBe(1)
  })
})

describe('a run', () => {
  it('that compiles tells of its steps, and the next one of the rest', async () => {
    await taken(usual)
    const [cold] = await engine.models(signal)
    expect([cold?.msPerStep, cold?.msBesides]).toEqual([expect.closeTo(row), undefined])
    const warm = await taken(usual)
    expect(await expected(usual)).toBe(Math.round(warm))
  })

  it.each([
    ['of the usual size', {}],
    ['of several outputs', { n: 3 }],
    ['of more steps and frames', { numInferenceSteps: 12, numFrames: 17 }],
    ['of latents alone', { outputFormat: 'latents' }],
  ] as const)('%s tells at every row how much is left, within a factor of two', async (_, more) => {
    await engine.rehearse('zt-toy', signal)
    const clip = { ...usual, ...more }
    await taken(clip)
    const [told, ends]: [number[], number[]] = [[], []]
    for await (const event of engine.generate({ request: snakeCase({ ...clip, seed: 6 }), seed: 1 }, signal)) {
      if (event.type === 'progress' && event.stage === 'denoise' && event.step) {
        told.push(event.etaMs ?? Number.NaN)
        ends.push(machine.clock)
      }
    }
    expect(told.length).toBeGreaterThanOrEqual(4)
    const off = told.map((left, row) => {
      const took = machine.clock - (ends[row] as number)
      return took === 0 && left === 0 ? 1 : Math.max(left / took, took / left)
    })
    expect(Math.max(...off)).toBeLessThan(2)
  })
})
