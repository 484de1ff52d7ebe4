/**
 * `zoetrope distill`: a teacher's run to a student of few steps; with --release, its weights and card.
 */

import { GenerationError } from '../../../shared/errors.ts'
import type { Prediction } from '../../../shared/prediction.ts'
import { autoencoderSizes } from '../../networks/autoencoder.ts'
import { type DitSize, ditOf, ditSizes } from '../../networks/dit.ts'
import { textEncoderSizes } from '../../networks/text-encoder.ts'
import { vocabularySize } from '../../text/tokenizer.ts'
import { caughtUp } from '../../train/catching-up.ts'
import { moreOften } from '../../train/choice.ts'
import { draw } from '../../train/denoising.ts'
import type { TrainingState } from '../../train/trainer.ts'
import { captionTokens } from '../../world/captions.ts'
import { nodeBackend } from '../backend.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'
import { denoiserSession } from '../denoiser-session.ts'
import { foldingErrors } from '../folding-error.ts'
import { latentSet, unseenSet } from '../latents.ts'
import { loadCard, releasedState } from '../models.ts'
import { releaseCard, releaseParts, requireSameEncoder } from '../release.ts'
import { averaged, openRun } from '../runs.ts'
import { foldedName, parametersOf, studentName, trainStudent } from '../train-student.ts'
import { changesOf, emphasisOf, oftenHelp, reporter, restoreRuns } from './train.ts'

export const distillCommand: Command = {
  summary: 'Distil a trained denoiser into a student of few steps; stages resume from their checkpoints.',
  usage: '[options]',
  options: {
    teacher: { kind: 'text', value: 'RUN', help: 'the run that is the teacher (denoiser)' },
    student: { kind: 'text', value: 'ID', help: 'go on from a released student, in place of a teacher’s run' },
    clips: { kind: 'number', value: 'N', help: 'films to learn from (as many as teacher or student did)' },
    run: { kind: 'text', value: 'NAME', help: 'prefix of the stages’ runs (student)' },
    autoencoder: { kind: 'text', value: 'RUN', help: 'the autoencoder the teacher was trained with (autoencoder)' },
    from: { kind: 'number', value: 'N', help: 'steps of the teacher’s sampler (256, or the released student’s)' },
    to: { kind: 'number', value: 'N', help: 'steps of the last student (8)' },
    folding: { kind: 'number', value: 'N', help: 'updates in which guidance is folded in (2400)' },
    updates: { kind: 'number', value: 'N', help: 'updates in a halving, twice as many from 16 steps down (200)' },
    batch: { kind: 'number', value: 'N', help: 'clips in an update (24)' },
    rate: {
      kind: 'number',
      value: 'R',
      help: 'learning rate of halvings, falling to zero in each (0.00015); folding has four times as much',
    },
    changes: { kind: 'number', value: 'C', help: 'how much errors of motion count beside errors (2)' },
    often: { kind: 'text', value: 'LIST', help: oftenHelp },
    seed: { kind: 'number', value: 'N', help: 'seed of the batches (1)' },
    judge: { kind: 'flag', help: 'print how much of its teacher’s guidance the run has taken in, and stop' },
    release: { kind: 'flag', help: 'write the last student’s weights and card into models/ and stop' },
  },
  run: async (given, surroundings) => {
    if (given.flag('release')) await release(given, surroundings)
    else if (given.flag('judge')) await judge(given, surroundings)
    else await distill(given, surroundings)
  },
}

interface Facts {
  readonly size: DitSize
  readonly clips: number
  readonly prediction: Prediction
  /** None in runs of before. */
  readonly passes?: number
  /** Steps that the teacher was trained for. */
  readonly teacherSteps: number
}

/** Whom the first stage learns from. */
interface Teacher {
  readonly steps: Range
  readonly parameters: TrainingState
  readonly guided: boolean
  /** See StudentRun.origin. */
  readonly origin: string
  readonly facts: Facts
}

const guidanceRange = [1, 5] as const

async function distill(given: Arguments, surroundings: Surroundings): Promise<void> {
  const { signal, say, show } = surroundings
  // Read before anything is encoded, so that a slip costs no minutes.
  const [changes, emphasis] = [changesOf(given), emphasisOf(given)]
  const counts = {
    folding: countOf(given, 'folding', 2400),
    updates: countOf(given, 'updates', 200),
    batch: countOf(given, 'batch', 24),
  }
  const { steps, parameters, guided, origin, facts } = await teacherOf(given)
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

/** The first stage, in which guidance is folded in, beside its teacher on unseen clips. */
async function judge(given: Arguments, { say, emit, signal }: Surroundings): Promise<void> {
  if (given.text('student') !== undefined)
    throw new GenerationError('invalid_parameter', '--judge: got --student, allowed is a teacher’s run')
  const { parameters, facts } = await teacherOf(given)
  const run = await openRun(foldedName(given.text('run') ?? 'student'))
  const student = factsOf(run.facts, 'zoetrope distill')
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
  const sessionOf = (guided: boolean, parameters: TrainingState, { size, passes = 0, prediction }: Facts) =>
    denoiserSession({
      ...{ backend, parameters, name: drawn.name, shape: drawn.shape, tokens: captionTokens.film, seed: 1 },
      config: ditOf(ditSizes[size], { guided, passes }),
      text: { ...textEncoderSizes.nano, vocabulary: vocabularySize },
      prediction,
    })
  await using two = await sessionOf(false, parameters, facts)
  await using one = await sessionOf(true, parametersOf(caughtUp(run.state, parameters)), student)
  const { featureWidth } = ditSizes[student.size]
  const errors = await foldingErrors(drawn, { teacher: two, student: one, tokens: captionTokens.film, featureWidth })
  say('time   scale   error    of what guidance changes')
  for (const { time, scale, error, effect } of errors)
    say(`${time.toFixed(2)}   ${scale}       ${error.toFixed(4)}   ${((100 * error) / effect).toFixed(0)} %`)
  emit({ run: foldedName(given.text('run') ?? 'student'), step: run.step, errors })
}

function countOf(given: Arguments, name: string, usual: number): number {
  const count = given.number(name) ?? usual
  if (Number.isInteger(count) && count >= 1) return count
  throw new GenerationError('invalid_parameter', `--${name}: got ${count}, allowed is a whole number from 1`)
}

async function teacherOf(given: Arguments): Promise<Teacher> {
  const clips = given.number('clips')
  if (clips !== undefined && !(Number.isInteger(clips) && clips >= 20))
    throw new GenerationError('invalid_parameter', `--clips: got ${clips}, allowed is a whole number from 20`)
  const student = given.text('student')
  if (student !== undefined) return releasedStudent(student, given, clips)
  const steps = range(given, 256)
  const name = given.text('teacher') ?? 'denoiser'
  const run = await openRun(name)
  const facts = factsOf(run.facts, 'zoetrope train denoiser')
  return {
    steps,
    parameters: averaged(run.state),
    guided: false,
    origin: `${name} ${run.step}`,
    facts: { ...facts, clips: clips ?? facts.clips, teacherSteps: run.step },
  }
}

/** Its autoencoder becomes that of the runs, where they have none. */
async function releasedStudent(id: string, given: Arguments, clips: number | undefined): Promise<Teacher> {
  const card = await loadCard(id)
  const [own] = card.parameters.num_inference_steps.values ?? []
  if (!card.architecture?.guided || own === undefined)
    throw new GenerationError('invalid_parameter', `--student: got ${id}, allowed is a distilled model, as zt-nano is`)
  const from = given.number('from') ?? own
  if (from !== own)
    throw new GenerationError('invalid_parameter', `--from: got ${from}, allowed is ${own}, the steps of ${id}`)
  const steps = range(given, own)
  const encoder = given.text('autoencoder') ?? 'autoencoder'
  await restoreRuns(id, { encoder })
  const parameters = await releasedState(card)
  requireSameEncoder(card, averaged((await openRun(encoder)).state), parameters)
  return {
    steps,
    parameters,
    guided: true,
    origin: `${id} ${card.revision}`,
    facts: {
      size: card.architecture.denoiser as DitSize,
      clips: clips ?? Number(card.training.clips),
      prediction: card.prediction,
      passes: card.architecture.passes ?? 0,
      teacherSteps: Number(card.training.teacher_steps),
    },
  }
}

async function release(given: Arguments, { say, emit }: Surroundings): Promise<void> {
  const { from, to } = range(given, 256)
  const run = await openRun(studentName(given.text('run') ?? 'student', to))
  const { size, clips, prediction, passes = 0 } = factsOf(run.facts, 'zoetrope distill')
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
        teacher_steps: Number(run.facts.teacherSteps ?? 0),
        updates: run.step,
        clips,
        from,
        to,
        objective: 'progressive distillation',
      },
      figures: { loss: run.curve.at(-1)?.scalars.loss ?? 0 },
    },
    weights,
  )
  say(`wrote ${id}: ${weights.denoiser.bytes + weights.autoencoder.bytes} bytes`)
  emit(card)
}

interface Range {
  readonly from: number
  readonly to: number
}

function range(given: Arguments, teacherSteps: number): Range {
  const [from, to] = [given.number('from') ?? teacherSteps, given.number('to') ?? 8]
  const isPower = (value: number) => Number.isInteger(Math.log2(value)) && value >= 1
  if (isPower(from) && isPower(to) && to < from) return { from, to }
  throw new GenerationError(
    'invalid_parameter',
    `--from and --to: got ${from} and ${to}, allowed are powers of two, the first one larger`,
  )
}

function factsOf(facts: Readonly<Record<string, unknown>>, maker: string): Facts {
  if (facts.size === undefined)
    throw new GenerationError('not_found', `distill: the run has no checkpoint; run “${maker}” first`)
  return facts as unknown as Facts
}
