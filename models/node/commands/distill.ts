/**
 * `zoetrope distill`: a teacher's run to a student of few steps; with --release, its weights and card.
 */

import { GenerationError } from '../../../shared/errors.ts'
import { autoencoderSizes } from '../../networks/autoencoder.ts'
import { ditOf, ditSizes } from '../../networks/dit.ts'
import { textEncoderSizes } from '../../networks/text-encoder.ts'
import { vocabularySize } from '../../text/tokenizer.ts'
import { caughtUp } from '../../train/catching-up.ts'
import { moreOften } from '../../train/choice.ts'
import { draw } from '../../train/denoising.ts'
import { direct } from '../../train/distill.ts'
import type { TrainingState } from '../../train/trainer.ts'
import { captionTokens } from '../../world/captions.ts'
import { nodeBackend } from '../backend.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'
import { denoiserSession } from '../denoiser-session.ts'
import { type FoldingError, foldingErrors } from '../folding-error.ts'
import { latentSet, unseenSet } from '../latents.ts'
import { releaseCard, releaseParts } from '../release.ts'
import { averaged, openRun, parametersOf } from '../runs.ts'
import {
  factsOf,
  rangeOf,
  releasedStudent,
  type StudentFacts,
  type Teacher,
  teacherOf,
  unguidedTeacher,
} from '../teachers.ts'
import { foldedName, lastStudent, matchedName, trainStudent } from '../train-student.ts'
import { changesOf, emphasisOf, oftenHelp, reporter } from './train.ts'

export const distillCommand: Command = {
  summary: 'Distil a trained denoiser into a student of few steps; stages resume from their checkpoints.',
  usage: '[options]',
  options: {
    teacher: { kind: 'text', value: 'RUN', help: 'the run, or the released model, that is the teacher (denoiser)' },
    student: {
      kind: 'text',
      value: 'ID',
      help: 'go on from a released student: halve it further or, with --teacher, have the teacher itself teach it',
    },
    clips: { kind: 'number', value: 'N', help: 'films to learn from (as many as teacher or student did)' },
    run: { kind: 'text', value: 'NAME', help: 'prefix of the stages’ runs (student)' },
    autoencoder: { kind: 'text', value: 'RUN', help: 'the autoencoder the teacher was trained with (autoencoder)' },
    from: { kind: 'number', value: 'N', help: 'steps of the teacher’s sampler (256, or the released student’s)' },
    to: { kind: 'number', value: 'N', help: 'steps of the last student (8)' },
    folding: { kind: 'number', value: 'N', help: 'updates in which guidance is folded in (2400)' },
    updates: { kind: 'number', value: 'N', help: 'updates in a halving, twice as many from 16 steps down (200)' },
    direct: {
      kind: 'number',
      value: 'N',
      help: 'updates at last in which the teacher itself teaches the last student (0)',
    },
    match: {
      kind: 'number',
      value: 'N',
      help: 'updates after that in which the last student learns from its own clips, beside films (0)',
    },
    batch: { kind: 'number', value: 'N', help: 'clips in an update (24)' },
    rate: {
      kind: 'number',
      value: 'R',
      help: 'learning rate of halvings and of --match, falling to zero in each (0.00015); other stages have four times as much',
    },
    changes: { kind: 'number', value: 'C', help: 'how much errors of motion count beside errors (2)' },
    often: { kind: 'text', value: 'LIST', help: oftenHelp },
    seed: { kind: 'number', value: 'N', help: 'seed of the batches (1)' },
    judge: {
      kind: 'flag',
      help: 'print how much of its teacher’s guidance the run, or a released student, has taken in, and stop',
    },
    release: { kind: 'flag', help: 'write the last student’s weights and card into models/ and stop' },
  },
  run: async (given, surroundings) => {
    if (given.flag('release')) await release(given, surroundings)
    else if (given.flag('judge')) await judge(given, surroundings)
    else await distill(given, surroundings)
  },
}

const guidanceRange = [1, 5] as const

async function distill(given: Arguments, surroundings: Surroundings): Promise<void> {
  const { signal, say, show } = surroundings
  // Read before anything is encoded, so that a slip costs no minutes.
  const [changes, emphasis] = [changesOf(given), emphasisOf(given)]
  const counts = {
    folding: countOf(given, 'folding', 2400),
    updates: countOf(given, 'updates', 200),
    direct: countOf(given, 'direct', 0, 0),
    matching: countOf(given, 'match', 0, 0),
    batch: countOf(given, 'batch', 24),
  }
  const { steps, parameters, guided, student, origin, facts } = await teacherOf(given)
  const backend = nodeBackend()
  const count = facts.clips
  const set = await latentSet({
    config: autoencoderSizes.stickers,
    parameters: averaged((await openRun(given.text('autoencoder') ?? 'autoencoder')).state),
    backend,
    count,
    frames: 17,
    side: 64,
    signal,
    progress: (done) => show(`encoding clips ${done}/${count}`),
  })
  await trainStudent({
    config: ditOf(ditSizes[facts.size], { guided: false, passes: facts.passes ?? 0 }),
    text: { ...textEncoderSizes.nano, vocabulary: vocabularySize },
    prediction: facts.prediction,
    focus: 4,
    changes,
    ...steps,
    set,
    choice: moreOften(set, emphasis),
    backend,
    teacher: parameters,
    guided,
    student,
    origin,
    run: given.text('run') ?? 'student',
    seed: given.number('seed') ?? 1,
    ...counts,
    tokens: captionTokens.film,
    learningRate: given.number('rate') ?? 1.5e-4,
    guidance: guidanceRange,
    facts: { ...facts },
    signal,
    say,
    pointOf: (total) => reporter(total, surroundings),
  })
}

/** What is left to learn of the first stage and of the last student, or of a released one, on unseen clips. */
async function judge(given: Arguments, { say, emit, signal }: Surroundings): Promise<void> {
  const teacher = await unguidedTeacher(given)
  const candidates = await judgedOf(given, teacher)
  const backend = nodeBackend()
  const autoencoder = averaged((await openRun(given.text('autoencoder') ?? 'autoencoder')).state)
  const set = await unseenSet({
    ...{ config: autoencoderSizes.stickers, parameters: autoencoder, backend, count: 64, frames: 17, side: 64 },
    ...{ signal, progress: () => {} },
  })
  const drawn = draw({
    ...{ set, name: 'video', batch: set.count, frames: set.frames, tokens: captionTokens.film },
    ...{ seed: 9, step: 0, dropout: 0, given: 0 },
  })
  const sessionOf = (guided: boolean, parameters: TrainingState, { size, passes = 0, prediction }: StudentFacts) =>
    denoiserSession({
      ...{ backend, parameters, name: drawn.name, shape: drawn.shape, tokens: captionTokens.film, seed: 1 },
      config: ditOf(ditSizes[size], { guided, passes }),
      text: { ...textEncoderSizes.nano, vocabulary: vocabularySize },
      prediction,
    })
  await using two = await sessionOf(false, teacher.parameters, teacher.facts)
  const judged: { run: string; step: number; errors: FoldingError[] }[] = []
  for (const { name, step, parameters, facts, steps } of candidates) {
    await using one = await sessionOf(true, parameters, facts)
    const { featureWidth } = ditSizes[facts.size]
    const errors = await foldingErrors(
      drawn,
      { teacher: two, student: one, tokens: captionTokens.film, featureWidth },
      steps,
    )
    say(`${name}, ${steps === undefined ? 'one evaluation beside two' : `one step of ${steps} beside ${direct.steps}`}`)
    say('time    scale   error    of what guidance changes')
    for (const { time, scale, error, effect } of errors)
      say(`${time.toFixed(3)}   ${scale}       ${error.toFixed(4)}   ${((100 * error) / effect).toFixed(0)} %`)
    judged.push({ run: name, step, errors })
  }
  emit(judged)
}

interface Judged {
  readonly name: string
  readonly step: number
  readonly parameters: TrainingState
  readonly facts: StudentFacts
  /** Undefined where guidance was folded in and no more. */
  readonly steps?: number | undefined
}

async function judgedOf(given: Arguments, teacher: Pick<Teacher, 'parameters'>): Promise<Judged[]> {
  const id = given.text('student')
  if (id !== undefined) {
    const { steps, parameters, facts } = await releasedStudent(id, given)
    return [{ name: id, step: 0, parameters, facts, steps }]
  }
  const name = given.text('run') ?? 'student'
  const { to } = rangeOf(given)
  const [folded, last] = [await openRun(foldedName(name)), await lastStudent(name, to)]
  if (folded.step === 0) factsOf(last.facts, 'zoetrope distill')
  const candidates = [
    { run: folded, state: caughtUp(folded.state, teacher.parameters), steps: undefined },
    { run: last, state: last.state, steps: to },
  ]
  return candidates
    .filter(({ run }) => run.step > 0)
    .map(({ run: { name, step, facts }, state, steps }) => {
      return { name, step, steps, facts: facts as unknown as StudentFacts, parameters: parametersOf(state) }
    })
}

function countOf(given: Arguments, name: string, usual: number, least = 1): number {
  const count = given.number(name) ?? usual
  if (Number.isInteger(count) && count >= least) return count
  throw new GenerationError('invalid_parameter', `--${name}: got ${count}, allowed is a whole number from ${least}`)
}

async function release(given: Arguments, { say, emit }: Surroundings): Promise<void> {
  const { from, to } = rangeOf(given)
  const prefix = given.text('run') ?? 'student'
  const run = await lastStudent(prefix, to)
  const {
    size,
    clips,
    prediction,
    passes = 0,
    teacherSteps = 0,
    teacher,
    student,
  } = factsOf(run.facts, 'zoetrope distill')
  const auto = await openRun(given.text('autoencoder') ?? 'autoencoder')
  const id = `zt-${size}`
  const weights = await releaseParts(id, { size, guided: true, passes }, run.state, auto.state)
  const card = await releaseCard(
    {
      id,
      summary: `Stickers from text in ${to} steps, one evaluation each.`,
      size,
      guided: true,
      passes,
      prediction,
      steps: { values: [to], min: to, max: to, default: to },
      guidance: { min: guidanceRange[0], max: guidanceRange[1], default: 4 },
      sampler: 'ddim',
      training: {
        ...(teacher === undefined ? {} : { teacher }),
        ...(student === undefined ? {} : { student }),
        teacher_steps: teacherSteps,
        updates: run.step,
        clips,
        from,
        to,
        objective: `progressive distillation${run.name === matchedName(prefix, to) ? ', distribution matching' : ''}`,
      },
      figures: { loss: run.curve.at(-1)?.scalars.loss ?? 0 },
    },
    weights,
  )
  say(`wrote ${id}: ${weights.denoiser.bytes + weights.autoencoder.bytes} bytes`)
  emit(card)
}
