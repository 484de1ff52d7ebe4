import { afterAll, describe, expect, it } from 'vitest'
import { input, trace } from '../models/graph/graph.ts'
import * as op from '../models/graph/ops.ts'
import { encode } from '../models/onnx/encode.ts'
import { lower } from '../models/onnx/lower.ts'
import { runner } from '../models/pipeline/generate.ts'
import { modelOf } from '../models/pipeline/model.ts'
import { effectiveRequest } from '../shared/generation.ts'
import { toyModel } from '../test/toy-model.ts'
import { type ExecutionProvider, webBackend } from './backend.ts'
import { decibels } from './frames.ts'
import { buildFor, capabilities, loadRuntime } from './runtime.ts'

const ort = await loadRuntime(buildFor(capabilities()), new URL('/runtime/', location.href).href, 1)

/** Kept over all tests: a software adapter takes its time to compile, and does so once. */
const backends = { webgpu: await webBackend(ort, 'webgpu'), wasm: await webBackend(ort, 'wasm') }
afterAll(() => Promise.all(Object.values(backends).map((each) => each[Symbol.asyncDispose]())))

async function frames(provider: ExecutionProvider, guided: boolean, picture?: Uint8Array): Promise<Uint8Array> {
  const { card, files } = await toyModel({ guided })
  const { signal } = new AbortController()
  await using running = runner(modelOf(card, files), backends[provider])
  const request = effectiveRequest({ prompt: 'a blue bird flies left over the sea', seed: 7 }, card, 7)
  const given = picture && (await running.encode?.(picture, 32, 32))
  const events = running.denoise(request, signal, given === undefined ? {} : { given })
  let heard = await events.next()
  while (!heard.done) heard = await events.next()
  const parts: Uint8Array[] = []
  for await (const event of running.decode(request, heard.value, signal))
    if (event.type === 'part') parts.push(event.part.pixels)
  return Uint8Array.from(parts.flatMap((part) => Array.from(part)))
}

/** A slope of colours: no two of its pixels are alike. */
const slope = Uint8Array.from({ length: 32 * 32 * 3 }, (_, at) =>
  at % 3 === 0 ? 8 * (Math.floor(at / 3) % 32) : at % 3 === 1 ? 8 * Math.floor(at / 96) : 128,
)

describe('the browser backend', () => {
  for (const guided of [true, false])
    it(`makes the same clip on WebGPU, with no node on the CPU, and on wasm (${guided ? 'student' : 'teacher'})`, async () => {
      const [gpu, wasm] = [await frames('webgpu', guided), await frames('wasm', guided)]
      expect(gpu.length).toBe(9 * 32 * 32 * 3)
      expect(new Set(gpu).size).toBeGreaterThan(50)
      expect(decibels(gpu, wasm)).toBeGreaterThan(40)
    })
  it('compiles nothing twice, though all sessions were closed in between', async () => {
    const device = GPUDevice.prototype
    const { createComputePipelineAsync: compile } = device
    let compiled = 0
    device.createComputePipelineAsync = function (...words) {
      compiled++
      return compile.apply(this, words)
    }
    try {
      await using backend = await webBackend(ort, 'webgpu')
      const once = async () => {
        await using session = await backend.load({
          model: encode(lower(trace(() => ({ y: op.tanh(input('x', [4])) })))),
        })
        await session.run({ x: { dtype: 'float32', shape: [4], data: new Float32Array(4) } })
      }
      await once()
      const first = compiled
      await once()
      expect([first > 0, compiled]).toEqual([true, first])
    } finally {
      device.createComputePipelineAsync = compile
    }
  })

  it('makes the same clip on both when it begins with a picture, and another than without', async () => {
    const [gpu, wasm] = [await frames('webgpu', true, slope), await frames('wasm', true, slope)]
    expect(decibels(gpu, wasm)).toBeGreaterThan(40)
    expect(decibels(wasm, await frames('wasm', true))).toBeLessThan(40)
  })
})
