/**
 * The training loop: rates, prefetching, reports, checkpoints, a clean stop.
 *
 * Knows neither the objective nor where checkpoints go. The next batch is made while a step runs, unless it is to be made
 * of what the step has learned. A step whose loss is not finite is dropped by the trainer; twenty in a row end the run.
 */

import type { HostTensor } from '../pipeline/backend.ts'
import { emaDecayAt, learningRateAt, type RateOptions } from './rates.ts'
import type { Trainer } from './trainer.ts'

export type Feeds = Readonly<Record<string, HostTensor>>

/** A point of the learning curve: averages since the point before. */
export interface CurvePoint {
  readonly step: number
  readonly scalars: Readonly<Record<string, number>>
  /** Milliseconds from step to step, its batch among them. */
  readonly ms: number
}

export interface LoopOptions {
  readonly learner: Trainer
  readonly begin: number
  readonly end: number
  readonly rates: RateOptions
  readonly emaDecay: number
  readonly feedsOf: (step: number) => Feeds | Promise<Feeds>
  /** Batches wait for the step before: they need what it has learned, or the cores that it is at work on. */
  readonly inTurn?: boolean
  readonly save: (step: number) => Promise<void>
  readonly saveEvery: number
  /** Steps to a point of the curve. */
  readonly pointEvery: number
  readonly point: (point: CurvePoint) => void
  readonly signal: AbortSignal
}

const patience = 20

/** Runs steps begin … end − 1, or until the signal; gives the number of the next step. */
export async function trainingLoop(options: LoopOptions): Promise<number> {
  const { learner, begin, end, rates, feedsOf, save, signal } = options
  if (begin >= end) return end
  const average = averaging(options)
  let start = performance.now()
  let next: Feeds | Promise<Feeds> | undefined
  let dropped = 0
  for (let step = begin; step < end; step++) {
    const feeds = await (next ?? feedsOf(step))
    const running = learner.step(feeds, {
      learningRate: learningRateAt(rates, step),
      emaDecay: emaDecayAt(options.emaDecay, step),
      step,
    })
    if (step + 1 < end && !options.inTurn) next = feedsOf(step + 1)
    const { scalars, applied } = await running
    dropped = applied ? 0 : dropped + 1
    if (dropped === patience)
      throw new RangeError(`training: ${patience} steps in a row were not finite; resume with a lower learning rate`)
    const now = performance.now()
    if (applied) average(step, scalars, now - start)
    start = now
    const last = step + 1 === end || signal.aborted
    if (last || (step + 1) % options.saveEvery === 0) await save(step + 1)
    if (signal.aborted) {
      // The next batch may still be at work in sessions that the caller is about to close.
      await Promise.resolve(next).catch(() => {})
      return step + 1
    }
  }
  return end
}

function averaging({ pointEvery, point }: LoopOptions) {
  let [sums, milliseconds, count] = [{} as Record<string, number>, 0, 0]
  return (step: number, scalars: Readonly<Record<string, number>>, ms: number) => {
    for (const [name, value] of Object.entries(scalars)) sums[name] = (sums[name] ?? 0) + value
    milliseconds += ms
    count++
    if ((step + 1) % pointEvery !== 0) return
    const means = Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / count]))
    point({ step: step + 1, scalars: means, ms: milliseconds / count })
    ;[sums, milliseconds, count] = [{}, 0, 0]
  }
}
