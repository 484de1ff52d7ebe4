/**
 * Distils a teacher: guidance folded in first, then half the steps again and again. Every stage is a run of its own,
 * whose teacher is the stage before, so an interruption loses nothing but the last few updates. Where the teacher has
 * gone on since, or a stage is given more updates, folding catches up with it and goes on; halvings after it begin anew.
 */

import { outputFrom, outputLossWeight, type Prediction } from '../../shared/prediction.ts'
import { randomStream } from '../../shared/random.ts'
import { cosine, type NoiseLevel } from '../../shared/schedule.ts'
import type { DitConfig } from '../networks/dit.ts'
import type { TextEncoderConfig } from '../networks/text-encoder.ts'
import type { Backend, HostTensor } from '../pipeline/backend.ts'
import { guidanceFeed } from '../pipeline/generate.ts'
import { caughtUp, remembering } from '../train/catching-up.ts'
import type { ClipChoice } from '../train/choice.ts'
import { type Draw, draw, type LatentSet, mixed, textFeeds, timeFeed, weightFeed } from '../train/denoising.ts'
import { guidedEstimate, studentTime, twoStepTarget } from '../train/distill.ts'
import { initialize } from '../train/initialize.ts'
import { type CurvePoint, type Feeds, trainingLoop } from '../train/loop.ts'
import { denoiserObjective } from '../train/objectives.ts'
import { type TrainingState, trainer } from '../train/trainer.ts'
import { fnv1a } from '../world/vocabulary.ts'
import { type DenoiserSession, denoiserSession } from './denoiser-session.ts'
import { optimizersOf } from './optimizers.ts'
import { newRun, openRun, type Run } from './runs.ts'

export interface StudentRun {
  readonly config: DitConfig
  readonly text: TextEncoderConfig
  /** What teacher and student say. */
  readonly prediction: Prediction
  /** How much more the puppet's cells count. */
  readonly focus: number
  /** How much errors of motion count beside errors. */
  readonly changes: number
  /** Which clip comes next. */
  readonly choice: ClipChoice
  readonly set: LatentSet
  readonly backend: Backend
  /** The teacher's averaged parameters. */
  readonly teacher: TrainingState
  /** Whether guidance is folded into the teacher: it is a student itself, of `from` steps. */
  readonly guided: boolean
  /** Tells the teacher from what it was at any other time. */
  readonly origin: string
  /** Prefix of the stages' checkpoints. */
  readonly run: string
  readonly seed: number
  /** Steps of the teacher's sampler that the first halving starts from, and the last student's. */
  readonly from: number
  readonly to: number
  /** Updates in which guidance is folded in. */
  readonly folding: number
  /** Updates in a halving; the last have twice as many, see updatesOf. */
  readonly updates: number
  readonly batch: number
  readonly tokens: number
  /** Of a halving; folding has a multiple of it, see rateOf. */
  readonly learningRate: number
  /** Guidance scales are drawn uniformly from here. */
  readonly guidance: readonly [low: number, high: number]
  readonly facts: Readonly<Record<string, unknown>>
  readonly signal: AbortSignal
  readonly say: (line: string) => void
  /** Hears the points of a stage of so many updates. */
  readonly pointOf: (updates: number) => (point: CurvePoint) => void
}

/** Name of the run in which guidance is folded in. */
export const foldedName = (run: string): string => `${run}-guided`

/** Name of the run of a student of so many steps. */
export const studentName = (run: string, steps: number): string => `${run}-${steps}`

interface Stage {
  /** Of the run. */
  readonly name: string
  /** Undefined where guidance is folded in. */
  readonly steps: number | undefined
}

/** `run-guided` unless the teacher is guided, then `run-128`, `run-64`, … down to `run-N`. */
function stagesOf({ run, from, to, guided }: Pick<StudentRun, 'run' | 'from' | 'to' | 'guided'>): Stage[] {
  const stages: Stage[] = guided ? [] : [{ name: foldedName(run), steps: undefined }]
  for (let steps = from / 2; steps >= to; steps /= 2) stages.push({ name: studentName(run, steps), steps })
  return stages
}

export async function trainStudent(options: StudentRun): Promise<void> {
  let [teacher, lineage] = [options.teacher, options.origin]
  for (const { name, steps } of stagesOf(options)) {
    if (options.signal.aborted) return
    options.say(steps === undefined ? 'folding guidance in' : `halving to ${steps} steps`)
    const ended = await runStage({ ...options, facts: { ...options.facts, lineage } }, name, teacher, steps)
    teacher = ended.parameters
    lineage = `${lineage} ${ended.updates}`
  }
}

/** Folding always goes on. A halving does so under the teacher it began with; what another taught it is of no use. */
async function stageRun({ facts, say }: StudentRun, name: string, steps: number | undefined): Promise<Run> {
  const run = await openRun(name)
  if (steps === undefined || run.step === 0 || run.facts.lineage === facts.lineage) return run
  say(`${name} begins anew: its teacher has gone on`)
  return newRun(name)
}

/** The longer its steps, the further a student is from its teacher; Salimans & Ho (2202.00512) double the last stages too. */
function updatesOf({ folding, updates }: Pick<StudentRun, 'folding' | 'updates'>, steps: number | undefined): number {
  if (steps === undefined) return folding
  return steps <= 16 ? 2 * updates : updates
}

/**
 * A halving moves the network little. Folding teaches it what it would have said without words, which it has never had
 * to know: it is most of the work, and all that students lacked (docs/figures.md).
 */
const rateOf = ({ learningRate }: Pick<StudentRun, 'learningRate'>, steps: number | undefined): number =>
  steps === undefined ? 4 * learningRate : learningRate

/** The student's parameters, and after how many updates, of this call and those before. */
interface Ended {
  readonly parameters: TrainingState
  readonly updates: number
}

/** One stage. `steps` undefined folds guidance in. */
async function runStage(
  options: StudentRun,
  name: string,
  teacher: TrainingState,
  steps: number | undefined,
): Promise<Ended> {
  const { batch, set, config, text, seed } = options
  const updates = updatesOf(options, steps)
  const run = await stageRun(options, name, steps)
  // Only what folds guidance in has its teacher's own parameters: a halving's are the student's of the stage before.
  const kept = (state: TrainingState) => (steps === undefined ? remembering(state, teacher) : state)
  const student: DitConfig = { ...config, guided: true }
  const part = { name: 'video', batch, frames: set.frames, tokens: options.tokens, share: 1, changes: options.changes }
  await using teaching = await denoiserSession({
    ...options,
    config: { ...config, guided: steps !== undefined },
    parameters: teacher,
    name: part.name,
    shape: [batch, set.channels, set.frames, set.height, set.width],
  })
  await using learner = await trainer({
    backend: options.backend,
    objective: () => denoiserObjective(student, text, set, [part]),
    optimizerOf: optimizersOf('muon'),
    clip: 1,
    state: run.step === 0 ? teacher : caughtUp(run.state, teacher),
    initial: initialize(seed),
  })
  const next = await trainingLoop({
    learner,
    begin: run.step,
    end: updates,
    rates: { peak: rateOf(options, steps), warmup: 1, steps: updates, decay: 1 },
    emaDecay: 0.8,
    feedsOf: (step) => feedsOf(options, teaching, name, step, steps),
    save: (step) => run.save(step, kept(learner.state()), options.facts),
    saveEvery: 200,
    pointEvery: 25,
    point: run.pointed(options.pointOf(updates)),
    signal: options.signal,
  })
  // The rate has fallen to zero, so the last parameters need no average.
  return { parameters: parametersOf(learner.state()), updates: Math.max(run.step, next) }
}

export function parametersOf(state: TrainingState): TrainingState {
  return Object.fromEntries(
    Object.entries(state)
      .filter(([name]) => !name.includes('@'))
      .map(([name, data]) => [name, data.slice()]),
  )
}

async function feedsOf(
  options: StudentRun,
  teaching: DenoiserSession,
  name: string,
  step: number,
  steps: number | undefined,
): Promise<Feeds> {
  const { set, batch, tokens, seed, config } = options
  const random = randomStream(seed, 0x30000 + step)
  const drawn = draw({
    set,
    name: 'video',
    batch,
    frames: set.frames,
    tokens,
    seed: (seed ^ fnv1a(name)) >>> 0,
    step,
    // A student is never asked without words.
    dropout: 0,
    given: 0,
    choice: options.choice,
  })
  const times = Array.from(drawn.times, (uniform) =>
    steps === undefined ? Math.max(uniform, 1e-3) : studentTime(uniform, steps),
  )
  const scales = Array.from({ length: batch }, () => random.between(...options.guidance))
  const guidance = guidanceFeed(scales, config.featureWidth)
  const levels = times.map(schedule)
  const latents = mixed(drawn.shape, drawn.clean, drawn.noise, (clip) => [
    levels[clip]?.alpha ?? 1,
    levels[clip]?.sigma ?? 0,
  ])
  const estimate =
    steps === undefined
      ? await guidedTarget(options, teaching, drawn, latents, levels, scales)
      : await twoStepTarget(
          teaching.under({ ...drawn.text, 'video.guidance': guidance }),
          schedule,
          drawn.shape,
          latents,
          times,
          steps,
        )
  const { prediction } = options
  const target = mixed(drawn.shape, latents, estimate, (clip) => {
    const said = outputFrom(prediction, levels[clip] as NoiseLevel)
    return [said.latents, said.estimate]
  })
  const tensor = (data: Float32Array): HostTensor => ({ dtype: 'float32', shape: drawn.shape, data })
  return {
    ...drawn.text,
    'video.guidance': guidance,
    'video.latents': tensor(latents),
    'video.target': tensor(target),
    ...timeFeed(
      drawn,
      levels.map((level) => new Array<NoiseLevel>(set.frames).fill(level)),
      config.featureWidth,
    ),
    ...weightFeed(drawn, levels, (level) => outputLossWeight(prediction, 'clamped', level), options.focus),
  }
}

const schedule = cosine()

/** What two evaluations of the teacher combine to. */
async function guidedTarget(
  options: StudentRun,
  teaching: DenoiserSession,
  drawn: Draw,
  latents: Float32Array,
  levels: readonly NoiseLevel[],
  scales: readonly number[],
): Promise<Float32Array> {
  const silence = textFeeds('video', new Array<string>(options.batch).fill(''), options.tokens)
  const conditional = await teaching.under(drawn.text)(latents, levels)
  const unconditional = await teaching.under(silence)(latents, levels)
  return guidedEstimate(drawn.shape, conditional, unconditional, scales)
}
