/**
 * How long the tasks of a page's main thread take, by the browser's own trace.
 */

import type { Page } from 'playwright'

interface TraceEvent {
  readonly name: string
  readonly ph: string
  readonly pid: number
  readonly tid: number
  /** Microseconds. */
  readonly dur?: number
  readonly args?: {
    readonly name?: string
    readonly data?: { readonly frames?: readonly { readonly processId?: number }[] }
  }
}

/** Milliseconds of every task of the page's main thread while something is done. */
export async function mainThreadTasks(page: Page, work: () => Promise<void>): Promise<number[]> {
  const session = await page.context().newCDPSession(page)
  const events: TraceEvent[] = []
  session.on('Tracing.dataCollected', ({ value }) => events.push(...(value as unknown as TraceEvent[])))
  const categories = ['toplevel', 'disabled-by-default-devtools.timeline', 'devtools.timeline']
  await session.send('Tracing.start', {
    transferMode: 'ReportEvents',
    traceConfig: { includedCategories: categories, excludedCategories: ['*'] },
  })
  await work()
  const complete = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve))
  await session.send('Tracing.end')
  await complete
  await session.detach()
  return tasksIn(events)
}

/** Of the renderers the busiest is the page's: the others have nothing to do. */
function tasksIn(events: readonly TraceEvent[]): number[] {
  const isMain = events.filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain')
  const tasks = isMain.map(({ pid, tid }) =>
    events.flatMap(({ name, ph, dur, ...event }) =>
      ph === 'X' && /RunTask$/.test(name) && event.pid === pid && event.tid === tid ? [(dur ?? 0) / 1000] : [],
    ),
  )
  return tasks.sort((a, b) => b.length - a.length)[0] ?? []
}

/** The value that a share of the numbers do not exceed. */
export function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}
