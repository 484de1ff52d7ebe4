import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundleWorker, type EdgeProcess, edgeProcess } from './edge-process.ts'
import { testBindings } from './edge-settings.ts'

let folder: string
let edges: readonly EdgeProcess[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'zoetrope-edges-'))
}, 60_000)

afterAll(async () => {
  for (const edge of edges) edge.kill()
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
})

describe('edges of two tests', { timeout: 120_000 }, () => {
  it('that saw the same port free both live, each at its own, and come back to it', async () => {
    const script = await bundleWorker(join(folder, 'bundle'))
    const settings = (name: string) => ({
      script,
      port: 22_800,
      folder: join(folder, name),
      gateway: '127.0.0.1:9',
      bindings: testBindings,
    })
    edges = [await edgeProcess(settings('a')), await edgeProcess(settings('b'))]
    const [first, second] = edges as [EdgeProcess, EdgeProcess]
    expect(second.url).toBe(first.url)
    await Promise.all(edges.map((edge) => edge.start()))
    expect(second.url).not.toBe(first.url)
    const { url } = second
    second.kill()
    await second.start()
    expect(second.url).toBe(url)
    for (const edge of edges) expect((await fetch(`${edge.url}/health`)).status).toBeLessThan(500)
  })
})
