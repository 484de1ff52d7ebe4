import { describe, expect, it } from 'vitest'
import { gaussian } from '../../shared/random.ts'
import { cosine } from '../../shared/schedule.ts'
import { ownCache } from '../../test/own-cache.ts'
import { ditOf, ditSizes } from '../networks/dit.ts'
import { textEncoderSizes } from '../networks/text-encoder.ts'
import { guidanceFeed } from '../pipeline/generate.ts'
import { vocabularySize } from '../text/tokenizer.ts'
import { anyOf } from '../train/choice.ts'
import { draw, type LatentSet, textFeeds } from '../train/denoising.ts'
import { distance } from '../train/matching.ts'
import type { TrainingState } from '../train/trainer.ts'
import { captionTokens } from '../world/captions.ts'
import { sampleAttributes } from '../world/vocabulary.ts'
import { nodeBackend } from './backend.ts'
import { denoiserSession } from './denoiser-session.ts'
import { foldingErrors } from './folding-error.ts'
import { openRun, parametersOf } from './runs.ts'
import { foldedName, lastStudent, type StudentRun, trainStudent } from './train-student.ts'

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
  ...{ guided: false, run: 'toy', seed: 1, from: 4, to: 2, folding: 1, updates: 1, direct: 0, matching: 0, batch: 2 },
  ...{ tokens: captionTokens.film, learningRate: 1e-12, guidance: [1, 5], facts: {} },
  signal: new AbortController().signal,
  pointOf: () => () => {},
}

ownCache()

type Given = Pick<StudentRun, 'teacher' | 'origin'> & Partial<StudentRun>

/** What it said. */
async function trained(by: Given): Promise<string[]> {
  const said: string[] = []
  await trainStudent({ ...toy, ...by, say: (line) => said.push(line) })
  return said
}

/** What it said and the parameters that folding left. */
async function taught(by: Given) {
  const said = await trained(by)
  const run = await openRun(foldedName(by.run ?? toy.run))
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
const lesson = 'its teacher itself teaches the student of 2 steps'
const last = async () => (await lastStudent('toy', 2)).name

describe('a student taught again', () => {
  it('catches up with a teacher that has gone on, and begins its halvings anew only then', async () => {
    const { parameters: teacher } = await taught({ teacher: {}, origin: 'none' })
    const first = await taught({ teacher, origin: 'run 1', folding: 2 })
    expect([first.said, first.step]).toEqual([[...stages, 'toy-2 begins anew: its teacher has gone on'], 2])

    // Nor where fewer updates are asked for than are done.
    for (const folding of [2, 1]) expect((await taught({ teacher, origin: 'run 1', folding })).said).toEqual(stages)
    expect(await last()).toBe('toy-2')
    expect((await taught({ teacher, origin: 'run 1', folding: 1, direct: 1 })).said).toEqual([...stages, lesson])
    expect(await last()).toBe('toy-2-direct')

    const later: TrainingState = Object.fromEntries(
      Object.entries(teacher).map(([name, data]) => [name, data.map((value) => value + 0.5)]),
    )
    const second = await taught({ teacher: later, origin: 'run 2', folding: 3 })
    expect([second.said, second.step]).toEqual([[...stages, 'toy-2 begins anew: its teacher has gone on'], 3])
    expect(farthest(second.parameters, first.parameters, 0.5)).toBeLessThan(1e-4)

    // What the teacher of before taught it directly is of no use any more.
    expect(await last()).toBe('toy-2')
    const halved = parametersOf((await openRun('toy-2')).state)
    expect(farthest(halved, second.parameters, 0)).toBeLessThan(1e-4)
  })
})

/** Of what guidance changes in steps of the teacher, how much a student of two steps lacks at scale four. */
async function lack(teacher: TrainingState, student: TrainingState): Promise<number> {
  const [name, tokens] = ['video', captionTokens.film]
  const drawn = draw({ ...{ set, name, tokens, batch: 4, frames: 2 }, ...{ seed: 9, step: 0, dropout: 0, given: 0 } })
  const sessionOf = (guided: boolean, parameters: TrainingState) =>
    denoiserSession({ ...toy, name, parameters, shape: drawn.shape, config: { ...toy.config, guided } })
  await using two = await sessionOf(false, teacher)
  await using one = await sessionOf(true, student)
  const { featureWidth } = toy.config
  const errors = await foldingErrors(drawn, { teacher: two, student: one, tokens, featureWidth }, 2)
  expect(errors.map(({ time }) => time)).toEqual([0.5, 0.5, 1, 1])
  const four = errors.filter(({ scale }) => scale === 4)
  return four.reduce((sum, { error }) => sum + error, 0) / four.reduce((sum, { effect }) => sum + effect, 0)
}

/** A network that was never trained says zero whatever it is told; a teacher's words change what it says. */
const shaken = (state: TrainingState): TrainingState =>
  Object.fromEntries(
    Object.entries(state).map(([name, data], at) => {
      const noise = gaussian(7, at, 0, data.length)
      return [name, data.map((value, n) => value + 0.1 * (noise[n] as number))]
    }),
  )

describe('a student whom the teacher itself teaches at last', () => {
  it('comes nearer to guided steps of it; where it is a released one, nothing else is done to it', async () => {
    const { parameters: student } = await taught({ teacher: {}, origin: 'none', run: 'fresh' })
    const teacher = shaken(student)
    const given = { teacher, student, origin: 'run 1 of it', run: 'released' }
    expect(await trained({ ...given, direct: 80, learningRate: 0.005 })).toEqual([lesson])
    const direct = await lastStudent('released', 2)
    expect([direct.name, direct.step]).toEqual(['released-2-direct', 80])
    const [before, after] = [await lack(teacher, student), await lack(teacher, direct.state)]
    expect(before).toBeGreaterThan(0.8)
    expect(after).toBeLessThan(0.8 * before)
  })
})

/** How far a student's estimates are from films of one value a channel, from noise and from the middle of its way. */
async function distanceFrom(film: Float32Array, student: TrainingState): Promise<number> {
  const shape = [1, 16, 2, 4, 4] as const
  const config = { ...toy.config, guided: true }
  await using one = await denoiserSession({ ...toy, name: 'video', parameters: student, shape, config })
  const said = one.under({
    ...textFeeds('video', ['a blue bird'], toy.tokens),
    'video.guidance': guidanceFeed([4], config.featureWidth),
  })
  const off = async (t: number, seed: number) => {
    const estimate = await said(gaussian(seed, 0, 0, 16 * 2 * 4 * 4), [cosine()(t)])
    return distance(
      estimate,
      estimate.map((_, n) => film[Math.floor(n / 32)] as number),
    )
  }
  return ((await off(1, 1)) + (await off(0.5, 2))) / 2
}

describe('a student that learns from its own clips', () => {
  it('comes to make the clips of its teacher, and goes on where it was stopped', async () => {
    const { parameters: student } = await taught({ teacher: {}, origin: 'none', run: 'another' })
    // A teacher of one film: whatever it is shown, it says what each channel is.
    const film = gaussian(8, 0, 0, 16)
    const bias = 'dit.end.out.bias'
    expect(student[bias]?.length).toBe(16)
    const latents = Float32Array.from({ length: 4 * 16 * 32 }, (_, n) => film[Math.floor(n / 32) % 16] as number)
    const given = { set: { ...set, latents }, teacher: { ...student, [bias]: film }, student, origin: 'it', run: 'own' }
    const said = await trained({ ...given, matching: 16, learningRate: 0.004 })
    expect(said).toEqual([
      'the student of 2 steps learns from its own clips',
      'a companion and a critic get to know it first, 16 rounds',
    ])
    const half = await lastStudent('own', 2)
    await trained({ ...given, matching: 32, learningRate: 0.004 })
    const whole = await lastStudent('own', 2)
    expect([half.name, half.step, whole.step]).toEqual(['own-2-matched', 16, 32])
    const off = [student, half.state, whole.state].map((state) => distanceFrom(film, parametersOf(state)))
    const [before, between, after] = (await Promise.all(off)) as [number, number, number]
    expect(between).toBeLessThan(0.85 * before)
    expect(after).toBeLessThan(0.6 * before)
  })
})
