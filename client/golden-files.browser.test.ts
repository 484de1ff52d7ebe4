/** Networks of released models in a real browser: the golden files on WebGPU, with no node on the CPU. */

import { afterAll, describe, expect, inject, it } from 'vitest'
import { encode } from '../models/onnx/encode.ts'
import { lower } from '../models/onnx/lower.ts'
import { type GoldenCase, goldenCase, goldenError } from '../test/golden/networks.ts'
import { webBackend } from './backend.ts'
import { buildFor, capabilities, loadRuntime } from './runtime.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Whether the errors are to be printed (ZOETROPE_REPORT). */
    readonly report: boolean
  }
}

const bytesOf = async (file: string) => new Uint8Array(await (await fetch(`/models/golden/${file}`)).arrayBuffer())
const files = (await (await fetch('/models/golden/index.json')).json()) as string[]
const read = await Promise.all(files.map(async (file) => [file, goldenCase(await bytesOf(file))] as const))
const cases = read.filter((each): each is readonly [string, GoldenCase] => each[1] !== undefined)

const ort = await loadRuntime(buildFor(capabilities()), new URL('/runtime/', location.href).href, 1)

const backend = await webBackend(ort, 'webgpu')
afterAll(() => backend[Symbol.asyncDispose]())

async function outputOf({ graph, feeds, stored, weights }: GoldenCase) {
  await using session = await backend.load({ model: encode(lower(graph, { stored })), weights })
  return (await session.run(feeds)).out?.data ?? []
}

describe.runIf(files.length > 0)('every golden network', () => {
  it('has its file', () => {
    expect(cases.length).toBeGreaterThanOrEqual(7)
  })

  it.each(cases)('%s agrees on WebGPU, with no node on the CPU', async (file, each) => {
    const error = goldenError(await outputOf(each), each.expected)
    if (inject('report')) console.info(`${file} ${backend.name} ${error.toExponential(1)}`)
    expect(error).toBeLessThanOrEqual(1e-4)
  })
})

describe.runIf(files.length === 0)('golden networks', () => {
  it('are not tried: there is no shared folder beside the checkout', () => {
    expect(cases).toEqual([])
  })
})
