/**
 * A benchmark, run when it is asked for: `ZOETROPE_REPORT=1 npx vitest run --project browser client/capture.browser.test.ts`.
 *
 * A denoising step of nano's size with its commands recorded anew for each run, and with those of its first run replayed
 * (graph capture, which takes inputs in buffers that stay). docs/decisions.md says what follows from it.
 */

import { expect, inject, it } from 'vitest'
import { type Graph, sizeOf, trace } from '../models/graph/graph.ts'
import { ditOf, ditSizes, usualPasses } from '../models/networks/dit.ts'
import { encode } from '../models/onnx/encode.ts'
import { lower } from '../models/onnx/lower.ts'
import { stepGraph } from '../models/pipeline/compile.ts'
import { gaussian } from '../shared/random.ts'
import { openDevice } from './device.ts'
import { buildFor, capabilities, loadRuntime } from './runtime.ts'

const runs = 5
/** A buffer's uses: storage, read and written by copies. */
const usage = 0x80 | 0x04 | 0x08
/** Mapped for reading, written by copies. */
const readable = 0x01 | 0x08

it.skipIf(!inject('report'))('a captured step is the step, recorded once', { timeout: 600_000 }, async () => {
  const ort = await loadRuntime(buildFor(capabilities()), new URL('/runtime/', location.href).href, 1)
  const denoiser = ditOf(ditSizes.nano, { guided: true, passes: usualPasses })
  const clip = { channels: denoiser.channels, frames: 5, height: 8, width: 8 }
  const graph = trace(() => stepGraph({ denoiser }, 1, clip, 16))
  const [weights, model] = withWeights(graph)
  const { device } = await openDevice()
  const place = (shape: readonly number[], data?: Float32Array) => {
    // Buffers of the runtime are a multiple of sixteen bytes.
    const buffer = device.createBuffer({ size: 16 * Math.ceil(sizeOf(shape) / 4), usage })
    if (data !== undefined) device.queue.writeBuffer(buffer, 0, data)
    return ort.Tensor.fromGpuBuffer(buffer, { dataType: 'float32', dims: shape })
  }

  async function read(buffer: GPUBuffer): Promise<Float32Array> {
    const copy = device.createBuffer({ size: buffer.size, usage: readable })
    const commands = device.createCommandEncoder()
    commands.copyBufferToBuffer(buffer, 0, copy, 0, buffer.size)
    device.queue.submit([commands.finish()])
    await copy.mapAsync(1)
    return new Float32Array(copy.getMappedRange())
  }

  async function stepped(enableGraphCapture: boolean): Promise<Float32Array> {
    const session = await ort.InferenceSession.create(model, {
      executionProviders: [{ name: 'webgpu', device }],
      preferredOutputLocation: 'gpu-buffer',
      enableGraphCapture,
      externalData: [{ path: 'weights', data: weights }],
    })
    const inputs = graph.inputs.map(({ attributes, shape }, index) => [
      attributes.name,
      place(shape, gaussian(1, index, 0, sizeOf(shape))),
    ])
    const feeds = Object.fromEntries(inputs)
    let made: Readonly<Record<string, { readonly gpuBuffer: GPUBuffer; dispose(): void }>> = {}
    const said: string[] = []
    for (let run = 0; run <= runs; run++) {
      const began = performance.now()
      for (const each of Object.values(made)) each.dispose()
      made = await session.run(feeds)
      const recorded = performance.now() - began
      await device.queue.onSubmittedWorkDone()
      // The first compiles.
      if (run > 0) said.push(`${recorded.toFixed(1)} of ${(performance.now() - began).toFixed(0)}`)
    }
    console.info(`${enableGraphCapture ? 'captured' : 'recorded anew'}, milliseconds of a step: ${said.join(', ')}`)
    const next = await read(made.next?.gpuBuffer as GPUBuffer)
    await session.release()
    return next
  }

  const [anew, captured] = [await stepped(false), await stepped(true)]
  expect(anew.every(Number.isFinite)).toBe(true)
  expect(Math.max(...anew.map((value, at) => Math.abs(value - (captured[at] as number))))).toBeLessThan(1e-5)
})

/** A model whose parameters all read the same small numbers, and those. */
function withWeights(graph: Graph): readonly [Uint8Array, Uint8Array] {
  const most = Math.max(...graph.parameters.map(({ shape }) => sizeOf(shape)))
  const weights = new Uint8Array(gaussian(2, 0, 0, most).map((value) => 0.02 * value).buffer)
  const stored = (_name: string, shape: readonly number[]) => ({
    dtype: 'float32' as const,
    data: { kind: 'external' as const, location: 'weights', offset: 0, length: 4 * sizeOf(shape) },
  })
  return [weights, encode(lower(graph, { stored }))]
}
