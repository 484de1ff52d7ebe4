import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { evaluate } from '../models/graph/evaluate.ts'
import { nodeBackend } from '../models/node/backend.ts'
import { wasmBackend } from '../models/node/backend-wasm.ts'
import { encode } from '../models/onnx/encode.ts'
import { lower } from '../models/onnx/lower.ts'
import type { Backend } from '../models/pipeline/backend.ts'
import { goldenFiles, goldenFolder } from './golden/files.ts'
import { type GoldenCase, goldenCase, goldenError } from './golden/networks.ts'

const files = goldenFiles()
const here = files.length > 0
const cases = files
  .map((file) => [file, goldenCase(readFileSync(join(goldenFolder, file)))] as const)
  .filter((each): each is readonly [string, GoldenCase] => each[1] !== undefined)

const backends: readonly Backend[] = [nodeBackend({ threads: 1 }), wasmBackend()]

async function errorOn(backend: Backend, { graph, feeds, stored, weights, expected }: GoldenCase): Promise<number> {
  await using session = await backend.load({ model: encode(lower(graph, { stored })), weights })
  return goldenError((await session.run(feeds)).out?.data ?? [], expected)
}

function errorOfEvaluator({ graph, feeds, parameters, expected }: GoldenCase): number {
  const inputs = Object.fromEntries(Object.entries(feeds).map(([name, { data }]) => [name, data]))
  return goldenError(evaluate(graph, { inputs, parameters }).out?.data ?? [], expected)
}

describe.runIf(here)('every golden network', () => {
  it('has its file', () => {
    expect(cases.length).toBeGreaterThanOrEqual(7)
  })

  it.each(cases)('%s agrees on the evaluator', (file, each) => {
    const error = errorOfEvaluator(each)
    report(file, 'evaluator', error)
    expect(error).toBeLessThanOrEqual(2e-5)
  })

  for (const backend of backends) {
    it.each(cases)(`%s agrees on ${backend.name}`, async (file, each) => {
      const error = await errorOn(backend, each)
      report(file, backend.name, error)
      expect(error).toBeLessThanOrEqual(1e-4)
    })
  }

  it.each(cases)('%s notices a weight that is a tenth too large', (_, each) => {
    // The last parameter is near the output, so the change shows at its own size.
    const [name, data] = Object.entries(each.parameters).at(-1) as [string, Float32Array]
    const wrong = { ...each, parameters: { ...each.parameters, [name]: data.map((value) => 1.1 * value + 0.1) } }
    expect(errorOfEvaluator(wrong)).toBeGreaterThan(1e-3)
  })
})

function report(file: string, where: string, error: number): void {
  if (process.env.ZOETROPE_REPORT) process.stderr.write(`${file} ${where} ${error.toExponential(1)}\n`)
}

describe.runIf(!here)('golden networks', () => {
  it('are not tried: there is no shared folder beside the checkout', () => {
    expect(files).toEqual([])
  })
})
