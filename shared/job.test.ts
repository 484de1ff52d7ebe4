import { describe, expect, it } from 'vitest'
import { isTerminal, type JobStatus, jobStatuses, mayBecome } from './job.ts'

describe('a status', () => {
  it('moves along the table and nowhere else', () => {
    const ways = jobStatuses.flatMap((from) =>
      jobStatuses.filter((to) => mayBecome(from, to)).map((to) => `${from}>${to}`),
    )
    expect(ways).toEqual([
      'queued>in_progress',
      'queued>cancelling',
      'queued>completed',
      'queued>failed',
      'queued>cancelled',
      'queued>expired',
      'in_progress>cancelling',
      'in_progress>completed',
      'in_progress>failed',
      'cancelling>cancelled',
    ])
  })

  it('only advances: no way leads back, and every way ends', () => {
    const reach = (from: JobStatus): JobStatus[] =>
      jobStatuses.filter((to) => mayBecome(from, to)).flatMap((to) => [to, ...reach(to)])
    for (const status of jobStatuses) {
      expect(reach(status)).not.toContain(status)
      expect(isTerminal(status) || reach(status).some(isTerminal)).toBe(true)
    }
  })
})
