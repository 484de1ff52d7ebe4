/**
 * A training run on disk: its checkpoint, its learning curve, and the notes that later steps need.
 */

import { GenerationError } from '../../shared/errors.ts'
import type { CurvePoint } from '../train/loop.ts'
import type { TrainingState } from '../train/trainer.ts'
import { type Checkpoint, checkpointPath, loadCheckpoint, saveCheckpoint } from './checkpoints.ts'
import { loadCard, releasedState } from './models.ts'

export interface Run {
  readonly name: string
  /** Steps done. */
  readonly step: number
  readonly state: TrainingState
  readonly curve: readonly CurvePoint[]
  /** What a run wants to remember beside its state: the network's size, for one. */
  readonly facts: Readonly<Record<string, unknown>>
  readonly save: (step: number, state: TrainingState, facts?: Readonly<Record<string, unknown>>) => Promise<void>
  /** Adds points to the curve before handing them on. */
  readonly pointed: (next: (point: CurvePoint) => void) => (point: CurvePoint) => void
}

interface Notes {
  readonly curve?: readonly CurvePoint[]
  readonly facts?: Readonly<Record<string, unknown>>
}

/** Opens a run by name: new, or where its checkpoint left it. */
export async function openRun(name: string): Promise<Run> {
  return runFrom(name, await loadCheckpoint(checkpointPath(name)))
}

/** A run from its beginning; what its checkpoint holds is lost with the first one that it writes. */
export const newRun = (name: string): Run => runFrom(name, undefined)

function runFrom(name: string, known: Checkpoint | undefined): Run {
  const path = checkpointPath(name)
  const notes: Notes = known === undefined || known.notes === '' ? {} : JSON.parse(known.notes)
  const curve: CurvePoint[] = [...(notes.curve ?? [])]
  let facts = notes.facts ?? {}
  return {
    name,
    step: known?.step ?? 0,
    state: known?.state ?? {},
    curve,
    facts,
    save: (step, state, more = {}) => {
      facts = { ...facts, ...more }
      return saveCheckpoint(path, { step, state, notes: JSON.stringify({ curve, facts }) })
    },
    pointed: (next) => (point) => {
      curve.push(point)
      next(point)
    },
  }
}

/** The averaged parameters of a state, under their own names; those that were never trained as they are. */
export function averaged(state: TrainingState): TrainingState {
  const names = Object.keys(state).filter((name) => !name.includes('@'))
  if (names.length === 0)
    throw new GenerationError('not_found', 'run: it has no checkpoint yet; train it with “zoetrope train” first')
  return Object.fromEntries(names.map((name) => [name, (state[`${name}@ema`] ?? state[name]) as Float32Array]))
}

/** A copy of the parameters of a state as they are, without slots and averages. */
export function parametersOf(state: TrainingState): TrainingState {
  return Object.fromEntries(
    Object.entries(state)
      .filter(([name]) => !name.includes('@'))
      .map(([name, data]) => [name, data.slice()]),
  )
}

/** Gives the runs that have no checkpoint yet the weights of a released model. */
export async function restoreRuns(
  id: string,
  names: { readonly encoder: string; readonly denoiser?: string },
): Promise<void> {
  const card = await loadCard(id)
  const parameters = Object.entries(await releasedState(card))
  const isEncoder = ([name]: readonly [string, Float32Array]) => name.startsWith('autoencoder.')
  const facts = { from: `${card.id}@${card.revision}` }
  const parts = [
    [names.encoder, parameters.filter(isEncoder)],
    [names.denoiser, parameters.filter((each) => !isEncoder(each))],
  ] as const
  for (const [name, state] of parts) {
    if (name === undefined) continue
    const run = await openRun(name)
    if (Object.keys(run.state).length === 0) await run.save(0, Object.fromEntries(state), facts)
  }
}
