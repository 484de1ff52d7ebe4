/**
 * `zoetrope distill`: a teacher's run to a student of few steps; with --release, its weights and card.
 */

import { GenerationError } from '../../../shared/errors.ts'
import type { Prediction } from '../../../shared/prediction.ts'
import { autoencoderSizes } from '../../networks/autoencoder.ts'
import { type DitSize, ditOf, ditSizes } from '../../networks/dit.ts'
import { textEncoderSizes } from '../../networks/text-encoder.ts'
import { vocabularySize } from '../../text/tokenizer.ts'
import { moreOften } from '../../train/choice.ts'
import type { TrainingState } from '../../train/trainer.ts'
import { captionTokens } from '../../world/captions.ts'
import { nodeBackend } from '../backend.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'
import { latentSet } from '../latents.ts'
import { loadCard, releasedState } from '../models.ts'
import { releaseCard, releaseParts, requireSameEncoder } from '../release.ts'
import { averaged, openRun } from '../runs.ts'
import { studentName, trainStudent } from '../train-student.ts'
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
    updates: { kind: 'number', value: 'N', help: 'updates in a stage, twice as many from 16 steps down (2000)' },
    batch: { kind: 'number', value: 'N', help: 'clips in an update (24)' },
    rate: { kind: 'number', value: 'R', help: 'learning rate, falling to zero in each stage (0.0003)' },
    changes: { kind: 'number', value: 'C', help: 'how much errors of motion count beside errors (2)' },
    often: { kind: 'text', value: 'LIST', help: oftenHelp },
    seed: { kind: 'number', value: 'N', help: 'seed of the batches (1)' },
    release: { kind: 'flag', help: 'write the last student’s weights and card into models/ and stop' },
  },
  run: async (given, surroundings) =>
    given.flag('release') ? release(given, surroundings) : distill(given, surroundings),
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
  readonly facts: Facts
}

const guidanceRange = [1, 5] as const

async function distill(given: Arguments, surroundings: Surroundings): Promise<void> {
  const { signal, say, show } = surroundings
  // Read before anything is encoded, so that a slip costs no minutes.
  const [changes, emphasis] = [changesOf(given), emphasisOf(given)]
  const { steps, parameters, guided, facts } = await teacherOf(given)
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
    run: given.text('run') ?? 'student',
    seed: given.number('seed') ?? 1,
    updates: given.number('updates') ?? 2000,
    batch: given.number('batch') ?? 24,
    tokens: captionTokens.film,
    learningRate: given.number('rate') ?? 3e-4,
    guidance: guidanceRange,
    facts: { ...facts },
    signal,
    say,
    pointOf: (total) => reporter(total, surroundings),
  })
}

async function teacherOf(given: Arguments): Promise<Teacher> {
  const clips = given.number('clips')
  if (clips !== undefined && !(Number.isInteger(clips) && clips >= 20))
    throw new GenerationError('invalid_parameter', `--clips: got ${clips}, allowed is a whole number from 20`)
  const student = given.text('student')
  if (student !== undefined) return releasedStudent(student, given, clips)
  const steps = range(given, 256)
  const run = await openRun(given.text('teacher') ?? 'denoiser')
  const facts = factsOf(run.facts)
  return {
    steps,
    parameters: averaged(run.state),
    guided: false,
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
  const { size, clips, prediction, passes = 0 } = factsOf(run.facts)
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

function factsOf(facts: Readonly<Record<string, unknown>>): Facts {
  if (facts.size === undefined)
    throw new GenerationError('not_found', 'distill: the run has no checkpoint; run “zoetrope train denoiser” first')
  return facts as unknown as Facts
}
