import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { ditOf, ditSizes } from '../networks/dit.ts'
import { textEncoderSizes } from '../networks/text-encoder.ts'
import { vocabularySize } from '../text/tokenizer.ts'
import { anyOf } from '../train/choice.ts'
import type { LatentSet } from '../train/denoising.ts'
import type { TrainingState } from '../train/trainer.ts'
import { captionTokens } from '../world/captions.ts'
import { sampleAttributes } from '../world/vocabulary.ts'
import { nodeBackend } from './backend.ts'
import { openRun } from './runs.ts'
import { parametersOf, type StudentRun, trainStudent } from './train-student.ts'

const set: LatentSet = {
  count: 4,
  ...{ channels: 16, frames: 2, height: 4, width: 4 },
  latents: gaussian(1, 0, 0, 4 * 16 * 2 * 4 * 4),
  coverage: new Uint8Array(4 * 2 * 4 * 4),
  attributes: (index) => sampleAttributes(index, 'all'),
}

/** Rates so small that updates leave parameters where they are. */
const toy: Omit<StudentRun, 'teacher' | 'origin' | 'say'> = {
  config: ditOf(ditSizes.tiny, { guided: false, passes: 0 }),
  text: { ...textEncoderSizes.tiny, vocabulary: vocabularySize },
  prediction: 'sample',
  ...{ focus: 0, changes: 0, choice: anyOf(set), set, backend: nodeBackend() },
  ...{ guided: false, run: 'toy', seed: 1, from: 4, to: 2, folding: 1, updates: 1, batch: 2 },
  ...{ tokens: captionTokens.film, learningRate: 1e-12, guidance: [1, 5], facts: {} },
  signal: new AbortController().signal,
  pointOf: () => () => {},
}

let place = ''
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'zoetrope-student-'))
  vi.stubEnv('ZOETROPE_CACHE', place)
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await rm(place, { recursive: true })
})

/** What it said and the parameters that folding left. */
async function taught(by: Pick<StudentRun, 'teacher' | 'origin'> & Partial<StudentRun>) {
  const said: string[] = []
  await trainStudent({ ...toy, ...by, say: (line) => said.push(line) })
  const run = await openRun('toy-guided')
  return { said, step: run.step, parameters: parametersOf(run.state) }
}

/** By how much any parameter is off from where `by` would have moved it. */
function farthest(after: TrainingState, before: TrainingState, by: number): number {
  const offs = Object.entries(before).map(([name, data]) =>
    data.reduce((most, value, n) => Math.max(most, Math.abs((after[name]?.[n] as number) - value - by)), 0),
  )
  return Math.max(...offs)
}

const stages = ['folding guidance in', 'halving to 2 steps']

describe('a student taught again', () => {
  it('catches up with a teacher that has gone on, and begins its halvings anew only then', async () => {
    const { parameters: teacher } = await taught({ teacher: {}, origin: 'none' })
    const first = await taught({ teacher, origin: 'run 1', folding: 2 })
    expect([first.said, first.step]).toEqual([[...stages, 'toy-2 begins anew: its teacher has gone on'], 2])

    // Nor where fewer updates are asked for than are done.
    for (const folding of [2, 1]) expect((await taught({ teacher, origin: 'run 1', folding })).said).toEqual(stages)

    const later: TrainingState = Object.fromEntries(
      Object.entries(teacher).map(([name, data]) => [name, data.map((value) => value + 0.5)]),
    )
    const second = await taught({ teacher: later, origin: 'run 2', folding: 3 })
    expect([second.said, second.step]).toEqual([[...stages, 'toy-2 begins anew: its teacher has gone on'], 3])
    expect(farthest(second.parameters, first.parameters, 0.5)).toBeLessThan(1e-4)

    const halved = parametersOf((await openRun('toy-2')).state)
    expect(farthest(halved, second.parameters, 0)).toBeLessThan(1e-4)
  })
})
