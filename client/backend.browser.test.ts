import { describe, expect, it } from 'vitest'
import { runner } from '../models/pipeline/generate.ts'
import { modelOf } from '../models/pipeline/model.ts'
import { effectiveRequest } from '../shared/generation.ts'
import { toyModel } from '../test/toy-model.ts'
import { type ExecutionProvider, webBackend } from './backend.ts'
import { decibels } from './frames.ts'
import { buildFor, capabilities, loadRuntime } from './runtime.ts'

const ort = await loadRuntime(buildFor(capabilities()), new URL('/runtime/', location.href).href, 1)

async function frames(provider: ExecutionProvider, guided: boolean): Promise<Uint8Array> {
  const { card, files } = await toyModel({ guided })
  await using backend = await webBackend(ort, provider)
  await using running = runner(modelOf(card, files), backend)
  const request = effectiveRequest({ prompt: 'a blue bird flies left over the sea', seed: 7 }, card, 7)
  const parts: Uint8Array[] = []
  for await (const event of running.generate(request, new AbortController().signal))
    if (event.type === 'part') parts.push(event.part.pixels)
  return Uint8Array.from(parts.flatMap((part) => Array.from(part)))
}

describe('the browser backend', () => {
  for (const guided of [true, false])
    it(`makes the same clip on WebGPU, with no node on the CPU, and on wasm (${guided ? 'student' : 'teacher'})`, async () => {
      const [gpu, wasm] = [await frames('webgpu', guided), await frames('wasm', guided)]
      expect(gpu.length).toBe(9 * 32 * 32 * 3)
      expect(new Set(gpu).size).toBeGreaterThan(50)
      expect(decibels(gpu, wasm)).toBeGreaterThan(40)
    })
})
