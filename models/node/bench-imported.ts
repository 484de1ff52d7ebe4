/**
 * What an imported model takes on this machine: its sessions, one denoising step, the decoding of what comes of it.
 *
 * The pipeline itself runs, for one row of the model's plan. The text is random, so no text encoder need be there. Rates
 * are held against matrix products measured before, between and after, since others may use the machine.
 */

import { clipCost } from '../../shared/cost.ts'
import { GenerationError } from '../../shared/errors.ts'
import { effectiveRequest } from '../../shared/generation.ts'
import { gaussian } from '../../shared/random.ts'
import type { Backend } from '../pipeline/backend.ts'
import { checkpointRunner, type TextSource, textShape } from '../pipeline/checkpoint.ts'
import { checkpointGraphs, modelCost } from '../pipeline/cost.ts'
import { partFiles } from '../pipeline/imported.ts'
import type { Latents } from '../pipeline/split.ts'
import { nodeBackend } from './backend.ts'
import { type ImportedModel, importedIds, loadImported } from './imported-models.ts'
import { gemmRate, type MachineRate } from './machine-rate.ts'
import { modelIds } from './models.ts'

export interface ImportedBenchOptions {
  /** Pixels, WIDTHxHEIGHT. */
  readonly size?: string
  readonly frames?: number
  readonly signal: AbortSignal
  readonly show: (line: string) => void
}

/** Tokens of the random prompt. */
const tokens = 30
const gemmSeconds = 2

/**
 * Figures by name: seconds, GFLOP/s, bytes.
 * @throws GenerationError not_found, or model_format where the denoiser or the decoder is missing.
 */
export async function benchImported(id: string, options: ImportedBenchOptions): Promise<Record<string, number>> {
  const { signal, show, size, frames } = options
  const timed = timedBackend(nodeBackend())
  const imported = await loadImported(id, { text: async () => randomText(width) })
  if (imported === undefined) {
    const known = [...(await modelIds()), ...(await importedIds())].join(', ')
    throw new GenerationError('not_found', `model: got ${id}, allowed are ${known}`)
  }
  const { card, model } = imported
  const width = model.denoiser.config.textWidth
  const request = effectiveRequest({ prompt: '-', seed: 7, size, num_frames: frames }, card, 7)
  const cost = costOf(imported, request)
  show('matrix products')
  const before = await gemmRate(gemmSeconds)
  await using running = checkpointRunner(model, timed.backend)
  show('denoising step')
  const latents = await ended(running.denoise(request, signal, { until: 1 }))
  const step = timed.taken()
  const stepPeak = peakResident()
  const between = await gemmRate(gemmSeconds)
  show('decoding')
  for await (const _ of running.decode(request, latents, signal)) signal.throwIfAborted()
  const decoding = timed.taken()
  const after = await gemmRate(gemmSeconds)
  const { width: wide, height, num_frames } = request
  return {
    width: wide,
    height,
    frames: num_frames,
    weight_bytes: partFiles(imported.manifest).reduce((total, { bytes }) => total + bytes, 0),
    ...rates('step', step, cost.step, before, between),
    step_activation_bytes: cost.activations,
    step_peak_resident_bytes: stepPeak,
    ...rates('decode', decoding, cost.decode, between, after),
    gemm_best_gflops: Math.max(before.best, between.best, after.best),
    peak_resident_bytes: peakResident(),
  }
}

/** The most memory that this process has held so far. */
const peakResident = (): number => process.resourceUsage().maxRSS * 1024

function rates(name: string, taken: Taken, flops: number, before: MachineRate, after: MachineRate) {
  const rate = flops / taken.run / 1e9
  const gemm = (before.mean + after.mean) / 2
  return {
    [`${name}_session_s`]: taken.load,
    [`${name}_s`]: taken.run,
    [`${name}_tflop`]: flops / 1e12,
    [`${name}_gflops`]: rate,
    [`${name}_gemm_gflops`]: gemm,
    [`${name}_ratio`]: rate / gemm,
  }
}

function costOf({ model }: ImportedModel, request: ReturnType<typeof effectiveRequest>) {
  const { denoiser, decoder, plan } = model
  const { rows } = textShape(denoiser, [{ count: tokens }])
  return clipCost(modelCost(checkpointGraphs({ denoiser, decoder, plan })), request, rows)
}

const randomText = (width: number): ReturnType<TextSource> =>
  Promise.resolve({ data: gaussian(5, 0, 0, tokens * width), count: tokens, width, truncated: false })

/** What a generator returns, its events passed over. */
async function ended(events: AsyncGenerator<unknown, Latents>): Promise<Latents> {
  for (;;) {
    const { done, value } = await events.next()
    if (done) return value
  }
}

/** Seconds in the creation of sessions and in their runs. */
interface Taken {
  readonly load: number
  readonly run: number
}

/** A backend that keeps the time; `taken` tells it and starts again from 0. */
function timedBackend(backend: Backend) {
  let [load, run] = [0, 0]
  const since = (start: number) => (performance.now() - start) / 1000
  const timed: Backend = {
    name: backend.name,
    load: async (source) => {
      const start = performance.now()
      const session = await backend.load(source)
      load += since(start)
      return {
        run: async (feeds, into) => {
          const began = performance.now()
          const outputs = await session.run(feeds, into)
          run += since(began)
          return outputs
        },
        [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
      }
    },
  }
  const taken = (): Taken => {
    const result = { load, run }
    ;[load, run] = [0, 0]
    return result
  }
  return { backend: timed, taken }
}
