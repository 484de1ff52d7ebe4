/**
 * What happens to predictions, a line each, for whoever runs the node. Says no prompt and no address.
 */

import { type Prediction, terminal } from './prediction.ts'

/** Says when a prediction begins and how it ends: `attempt-1  zt-nano  canceled after step 3/8  (1.2 s)`. */
export function keepJournal(prediction: Prediction, say: (line: string) => void): void {
  const { id, job, createdAt } = prediction.order
  const about = `${id}  ${job.model.card.id}  `
  const watcher = (what: string) => {
    const { status, logs, failure, startedAt, completedAt } = prediction.state
    if (what === 'start') say(`${about}started`)
    if (!terminal(prediction)) return
    prediction.watchers.delete(watcher)
    const step = [...logs.matchAll(/\| (\d+\/\d+) \[/g)].at(-1)?.[1]
    const where = startedAt === undefined ? ' before it started' : step === undefined ? '' : ` after step ${step}`
    const why = failure === undefined ? '' : `: ${failure.code}`
    const seconds = ((completedAt ?? createdAt) - (startedAt ?? createdAt)) / 1000
    say(`${about}${status}${status === 'succeeded' ? '' : where}${why}  (${seconds.toFixed(1)} s)`)
  }
  prediction.watchers.add(watcher)
}
