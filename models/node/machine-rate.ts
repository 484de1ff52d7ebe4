/**
 * What this machine does at best: products of two matrices on onnxruntime-node, the measure that rates are held against.
 */

import { gaussian } from '../../shared/random.ts'
import { input, trace } from '../graph/graph.ts'
import { matmul } from '../graph/ops.ts'
import { encode } from '../onnx/encode.ts'
import { lower } from '../onnx/lower.ts'
import type { HostTensor } from '../pipeline/backend.ts'
import { nodeBackend } from './backend.ts'

export interface MachineRate {
  /** GFLOP/s of the fastest product. */
  readonly best: number
  /** GFLOP/s over all products: less where others use the machine. */
  readonly mean: number
}

/**
 * Products of 1024² matrices in float32, one after another for some seconds, after one that is not counted.
 * @param threads all cores when left out; with one the time is the processor's, see `timed`.
 */
export async function gemmRate(seconds: number, threads = 0): Promise<MachineRate> {
  const side = 1024
  const graph = trace(() => ({ out: matmul(input('a', [side, side]), input('b', [side, side])) }))
  await using session = await nodeBackend({ threads }).load({ model: encode(lower(graph)) })
  const square = (stream: number): HostTensor => ({
    dtype: 'float32',
    shape: [side, side],
    data: gaussian(1, stream, 0, side * side),
  })
  const feeds = { a: square(0), b: square(1) }
  const { best, mean } = await timed(seconds, () => session.run(feeds), threads)
  const rate = (ms: number) => (2 * side ** 3) / ms / 1e6
  return { best: rate(best), mean: rate(mean) }
}

/** Milliseconds of one run. */
export interface Timing {
  readonly best: number
  readonly mean: number
}

/**
 * Runs something over and over for some seconds, after one run that is not counted.
 * @param threads of the work: with one, its time is what the processor spent on this process, whoever else had the machine.
 */
export async function timed(seconds: number, run: () => Promise<unknown>, threads = 0): Promise<Timing> {
  const clock = threads === 1 ? processorTime : () => performance.now()
  await run()
  const [began, first] = [performance.now(), clock()]
  let [runs, best] = [0, Number.POSITIVE_INFINITY]
  while (runs === 0 || performance.now() - began < 1000 * seconds) {
    const start = clock()
    await run()
    best = Math.min(best, clock() - start)
    runs++
  }
  return { best, mean: (clock() - first) / runs }
}

/** Milliseconds that the processor has spent on this process. */
function processorTime(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
