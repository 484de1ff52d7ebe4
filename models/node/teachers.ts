/**
 * Whom a distillation learns from, and what it begins with: a training run or a released teacher, a released student, or
 * both. Reads runs and cards; knows no stages.
 */

import { GenerationError } from '../../shared/errors.ts'
import type { ModelCard } from '../../shared/manifest.ts'
import type { Prediction } from '../../shared/prediction.ts'
import type { DitSize } from '../networks/dit.ts'
import type { TrainingState } from '../train/trainer.ts'
import type { Arguments } from './command.ts'
import { loadCard, modelIds, releasedState } from './models.ts'
import { requireSameEncoder } from './release.ts'
import { averaged, openRun, restoreRuns } from './runs.ts'

/** What a stage's checkpoint remembers for those that go on from it. */
export interface StudentFacts {
  readonly size: DitSize
  readonly clips: number
  readonly prediction: Prediction
  /** None in runs of before. */
  readonly passes?: number
  /** Steps that the teacher was trained for. */
  readonly teacherSteps: number
  /** The released models that teacher and student are or come from, as `id@revision`. */
  readonly teacher?: string
  readonly student?: string
}

/** Whom the first stage learns from. */
export interface Teacher {
  readonly steps: Range
  readonly parameters: TrainingState
  readonly guided: boolean
  /** See StudentRun.student. */
  readonly student?: TrainingState
  /** See StudentRun.origin. */
  readonly origin: string
  readonly facts: StudentFacts
}

/** Steps of the teacher's sampler and of the last student's. */
export interface Range {
  readonly from: number
  readonly to: number
}

/** Steps of an undistilled teacher's sampler, where nothing is said. */
const usualSteps = 256

export async function teacherOf(given: Arguments): Promise<Teacher> {
  const clips = given.number('clips')
  if (clips !== undefined && !(Number.isInteger(clips) && clips >= 20))
    throw new GenerationError('invalid_parameter', `--clips: got ${clips}, allowed is a whole number from 20`)
  const [name, id] = [given.text('teacher'), given.text('student')]
  const found = await (id === undefined
    ? unguidedTeacher(given)
    : releasedStudent(id, given).then((student) =>
        name === undefined ? guidedTeacher(student, given) : teacherOfStudent(student, given),
      ))
  return clips === undefined ? found : { ...found, facts: { ...found.facts, clips } }
}

/** A teacher that needs two evaluations a step: a training run, or a released model. */
export async function unguidedTeacher(given: Arguments): Promise<Omit<Teacher, 'student'>> {
  const name = given.text('teacher') ?? 'denoiser'
  const [steps, guided] = [rangeOf(given), false]
  if ((await modelIds()).includes(name)) {
    const card = await loadCard(name)
    if (card.architecture === undefined || card.architecture.guided)
      throw new GenerationError(
        'invalid_parameter',
        `--teacher: got ${name}, allowed is a run of “zoetrope train denoiser” or an undistilled model of our own, as zt-nano-teacher is`,
      )
    const parameters = await parametersOf(card, given)
    const facts = { ...factsIn(card), teacherSteps: Number(card.training.steps), teacher: revisionOf(card) }
    return { steps, guided, parameters, origin: revisionOf(card), facts }
  }
  const run = await openRun(name)
  const { from, ...facts } = factsOf(run.facts, 'zoetrope train denoiser') as StudentFacts & { readonly from?: string }
  const teacher = from === undefined ? {} : { teacher: from }
  const parameters = averaged(run.state)
  return {
    steps,
    guided,
    parameters,
    origin: `${name} ${run.step}`,
    facts: { ...facts, ...teacher, teacherSteps: run.step },
  }
}

export interface ReleasedStudent {
  readonly id: string
  readonly revision: string
  readonly steps: number
  readonly parameters: TrainingState
  readonly facts: StudentFacts
}

export async function releasedStudent(id: string, given: Arguments): Promise<ReleasedStudent> {
  const card = await loadCard(id)
  const [steps] = card.parameters.num_inference_steps.values ?? []
  if (!card.architecture?.guided || steps === undefined)
    throw new GenerationError('invalid_parameter', `--student: got ${id}, allowed is a distilled model, as zt-nano is`)
  const parameters = await parametersOf(card, given)
  const facts = { ...factsIn(card), teacherSteps: Number(card.training.teacher_steps) }
  return { id, revision: revisionOf(card), steps, parameters, facts }
}

/** A released student that becomes the teacher of one of fewer steps. */
function guidedTeacher({ id, revision, steps: own, parameters, facts }: ReleasedStudent, given: Arguments): Teacher {
  requireOwn('from', given, own, id)
  for (const name of ['direct', 'match'] as const) {
    const updates = given.number(name) ?? 0
    if (updates !== 0)
      throw new GenerationError(
        'invalid_parameter',
        `--${name}: got ${updates}, allowed is 0 where no --teacher is named`,
      )
  }
  return { steps: rangeOf(given, own), parameters, guided: true, origin: revision, facts }
}

/** A teacher of a student that is there already. */
async function teacherOfStudent(
  { id, revision, steps: own, parameters, facts }: ReleasedStudent,
  given: Arguments,
): Promise<Teacher> {
  requireOwn('to', given, own, id)
  // Before its clips are encoded: without a lesson there would be nothing to do with them.
  if ((given.number('direct') ?? 0) === 0 && (given.number('match') ?? 0) === 0)
    throw new GenerationError(
      'invalid_parameter',
      '--direct and --match: got 0, allowed is a whole number from 1 for one of them where --teacher is to teach --student',
    )
  const teacher = await unguidedTeacher(given)
  for (const name of ['size', 'prediction', 'passes'] as const)
    if ((facts[name] ?? 0) !== (teacher.facts[name] ?? 0))
      throw new GenerationError(
        'invalid_parameter',
        `--student: got ${id} of ${name} ${facts[name]}, allowed is ${teacher.facts[name]}, as the teacher has`,
      )
  return {
    ...teacher,
    steps: { ...teacher.steps, to: own },
    student: parameters,
    origin: `${teacher.origin} ${revision}`,
    facts: { ...teacher.facts, student: revision },
  }
}

/** A released model's parameters; its autoencoder becomes that of the runs, where they have none. */
async function parametersOf(card: ModelCard, given: Arguments): Promise<TrainingState> {
  const encoder = given.text('autoencoder') ?? 'autoencoder'
  await restoreRuns(card.id, { encoder })
  const parameters = await releasedState(card)
  requireSameEncoder(card, averaged((await openRun(encoder)).state), parameters)
  return parameters
}

const revisionOf = ({ id, revision }: ModelCard): string => `${id}@${revision}`

const factsIn = ({ architecture, training, prediction }: ModelCard) => ({
  size: architecture?.denoiser as DitSize,
  clips: Number(training.clips),
  prediction,
  passes: architecture?.passes ?? 0,
})

function requireOwn(name: 'from' | 'to', given: Arguments, own: number, id: string): void {
  const steps = given.number(name) ?? own
  if (steps !== own)
    throw new GenerationError('invalid_parameter', `--${name}: got ${steps}, allowed is ${own}, the steps of ${id}`)
}

export function rangeOf(given: Arguments, teacherSteps = usualSteps): Range {
  const [from, to] = [given.number('from') ?? teacherSteps, given.number('to') ?? 8]
  const isPower = (value: number) => Number.isInteger(Math.log2(value)) && value >= 1
  if (isPower(from) && isPower(to) && to < from) return { from, to }
  throw new GenerationError(
    'invalid_parameter',
    `--from and --to: got ${from} and ${to}, allowed are powers of two, the first one larger`,
  )
}

/** What a run remembers. @throws GenerationError not_found where it has no checkpoint. */
export function factsOf(facts: Readonly<Record<string, unknown>>, maker: string): StudentFacts {
  if (facts.size === undefined)
    throw new GenerationError('not_found', `distill: the run has no checkpoint; run “${maker}” first`)
  return facts as unknown as StudentFacts
}
