/**
 * Training checkpoints: the whole state of a run as one safetensors file, replaced atomically.
 *
 * They live outside the work tree, in ~/.cache/zoetrope unless ZOETROPE_CACHE says otherwise.
 */

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TrainingState } from '../train/trainer.ts'
import { readNamed, readTensor, writeSafetensors } from '../weights/safetensors.ts'

export interface Checkpoint {
  readonly step: number
  readonly state: TrainingState
  /** Loss curve and whatever else a run wants to keep. */
  readonly notes: string
}

export const cacheFolder = (): string => process.env.ZOETROPE_CACHE ?? join(homedir(), '.cache', 'zoetrope')

export const checkpointPath = (run: string): string => join(cacheFolder(), `${run}.checkpoint.safetensors`)

/** Writes beside the old file, then takes its place, so an interruption leaves one of the two whole. */
export async function saveCheckpoint(path: string, { step, state, notes }: Checkpoint): Promise<void> {
  const tensors = Object.fromEntries(
    Object.entries(state).map(([name, data]) => [name, { shape: [data.length], data }]),
  )
  await writeAtomically(path, writeSafetensors(tensors, 'float32', { step: String(step), notes }))
}

/**
 * The last checkpoint, or undefined where the run is new.
 * @throws GenerationError weights_integrity where the file is damaged; it is left as it is.
 */
export async function loadCheckpoint(path: string): Promise<Checkpoint | undefined> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (bytes === undefined) return undefined
  const file = readNamed(path, bytes, 'move it away to begin the run anew')
  const state = Object.fromEntries([...file.entries.keys()].map((name) => [name, readTensor(file, name)]))
  return { step: Number(file.metadata.step), state, notes: file.metadata.notes ?? '' }
}

/** A reader sees the old bytes or the new ones, never a part. */
export async function writeAtomically(path: string, bytes: Uint8Array | string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const beside = `${path}.${process.pid}.part`
  await writeFile(beside, bytes)
  await rename(beside, path)
}
