/**
 * Distils a teacher: guidance folded in first, then half the steps again and again and, where they are asked for, the
 * teacher itself once more, at the few levels that are left, and the student's own clips. Every stage is a run of its
 * own that begins as the stage before ended, so an interruption loses nothing but the last few updates. Where the teacher has gone on since, or a
 * stage is given more updates, folding catches up with it and goes on; stages after it begin anew.
 */

import { outputLossWeight, type Prediction } from '../../shared/prediction.ts'
import { randomStream } from '../../shared/random.ts'
import { cosine } from '../../shared/schedule.ts'
import type { DitConfig } from '../networks/dit.ts'
import type { TextEncoderConfig } from '../networks/text-encoder.ts'
import type { Backend } from '../pipeline/backend.ts'
import { guidanceFeed } from '../pipeline/generate.ts'
import { caughtUp, remembering } from '../train/catching-up.ts'
import type { ClipChoice } from '../train/choice.ts'
import { type Draw, draw, estimateFeeds, type LatentSet, mixed, textFeeds, weightFeed } from '../train/denoising.ts'
import { type Denoise, direct, guidedEstimate, halving, landingTarget, studentTime } from '../train/distill.ts'
import { initialize } from '../train/initialize.ts'
import { type CurvePoint, type Feeds, trainingLoop } from '../train/loop.ts'
import { denoiserObjective } from '../train/objectives.ts'
import { type TrainingState, trainer } from '../train/trainer.ts'
import { fnv1a } from '../world/vocabulary.ts'
import { type DenoiserSession, denoiserSession } from './denoiser-session.ts'
import { optimizersOf } from './optimizers.ts'
import { newRun, openRun, parametersOf, type Run } from './runs.ts'
import { matchStudent } from './train-matching.ts'

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
  /** A student of `to` steps that is there already: nothing but the direct stage is left to it. */
  readonly student?: TrainingState | undefined
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
  /** Updates in which the teacher itself teaches the last student. */
  readonly direct: number
  /** Updates in which the last student learns from its own clips. */
  readonly matching: number
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

/** Name of the run in which the teacher itself teaches a student of so many steps. */
export const directName = (run: string, steps: number): string => `${run}-${steps}-direct`

/** Name of the run in which a student of so many steps learns from its own clips. */
export const matchedName = (run: string, steps: number): string => `${run}-${steps}-matched`

interface Stage {
  /** Of the run. */
  readonly name: string
  readonly kind: 'folding' | 'halving' | 'direct' | 'matching'
  /** Of the student; undefined where guidance is folded in at every level. */
  readonly steps?: number
}

/** `run-guided`, then `run-128`, `run-64`, … down to `run-N`, then `run-N-direct` and `run-N-matched`. A guided teacher has halvings alone. */
function stagesOf({ run, from, to, guided, student, direct, matching }: StudentRun): Stage[] {
  const last: Stage[] = [
    ...(guided || direct === 0 ? [] : [{ name: directName(run, to), kind: 'direct', steps: to } as const]),
    ...(guided || matching === 0 ? [] : [{ name: matchedName(run, to), kind: 'matching', steps: to } as const]),
  ]
  if (student !== undefined) return last
  const halvings: Stage[] = []
  for (let steps = from / 2; steps >= to; steps /= 2)
    halvings.push({ name: studentName(run, steps), kind: 'halving', steps })
  return [...(guided ? [] : [{ name: foldedName(run), kind: 'folding' } as const]), ...halvings, ...last]
}

const deed = {
  folding: () => 'folding guidance in',
  halving: (steps?: number) => `halving to ${steps} steps`,
  direct: (steps?: number) => `its teacher itself teaches the student of ${steps} steps`,
  matching: (steps?: number) => `the student of ${steps} steps learns from its own clips`,
} as const

export async function trainStudent(options: StudentRun): Promise<void> {
  let [student, lineage] = [options.student ?? options.teacher, options.origin]
  for (const stage of stagesOf(options)) {
    if (options.signal.aborted) return
    options.say(deed[stage.kind](stage.steps))
    const ended = await runStage({ ...options, facts: { ...options.facts, lineage } }, stage, student)
    student = ended.parameters
    lineage = lineageAfter(lineage, ended.updates)
  }
}

/** What a stage descends from whose student was taught so often by the one before. */
const lineageAfter = (lineage: string, updates: number): string => `${lineage} ${updates}`

/** The last student of a run: that of the latest stage, unless another has come before it since. */
export async function lastStudent(run: string, steps: number): Promise<Run> {
  let last = await openRun(studentName(run, steps))
  for (const name of [directName(run, steps), matchedName(run, steps)]) {
    const next = await openRun(name)
    const descends = next.facts.lineage === lineageAfter(String(last.facts.lineage), last.step)
    if (next.step > 0 && (last.step === 0 || descends)) last = next
  }
  return last
}

/** Folding always goes on. Other stages do so under the teacher they began with; what another taught is of no use. */
async function stageRun({ facts, say }: StudentRun, { name, kind }: Stage): Promise<Run> {
  const run = await openRun(name)
  if (kind === 'folding' || run.step === 0 || run.facts.lineage === facts.lineage) return run
  say(`${name} begins anew: its teacher has gone on`)
  return newRun(name)
}

/** The longer its steps, the further a student is from its teacher; Salimans & Ho (2202.00512) double the last stages too. */
function updatesOf({ folding, updates, direct, matching }: StudentRun, { kind, steps = 0 }: Stage): number {
  if (kind === 'halving') return steps <= 16 ? 2 * updates : updates
  return { folding, direct, matching }[kind]
}

/**
 * A halving moves the network little. Folding teaches it what it would have said without words, which it has never had
 * to know: it is most of the work, and all that students lacked (docs/figures.md). What the teacher teaches itself is of
 * that kind.
 */
const pace = { folding: 4, halving: 1, direct: 4 } as const

/** The student's parameters, and after how many updates, of this call and those before. */
export interface Ended {
  readonly parameters: TrainingState
  readonly updates: number
}

/** One stage, from the student of the one before; in folding guidance in that is the teacher. */
async function runStage(options: StudentRun, stage: Stage, before: TrainingState): Promise<Ended> {
  const { batch, set, config, text, seed } = options
  const updates = updatesOf(options, stage)
  const run = await stageRun(options, stage)
  if (stage.kind === 'matching') return matchStudent({ ...options, updates }, run, before)
  // Only what folds guidance in has its teacher's own parameters.
  const kept = (state: TrainingState) => (stage.kind === 'folding' ? remembering(state, options.teacher) : state)
  const student: DitConfig = { ...config, guided: true }
  const part = { name: 'video', batch, frames: set.frames, tokens: options.tokens, share: 1, changes: options.changes }
  await using teaching = await denoiserSession({
    ...options,
    config: { ...config, guided: stage.kind === 'halving' },
    parameters: stage.kind === 'halving' ? before : options.teacher,
    name: part.name,
    shape: [batch, set.channels, set.frames, set.height, set.width],
  })
  await using learner = await trainer({
    backend: options.backend,
    objective: () => denoiserObjective(student, text, set, [part]),
    optimizerOf: optimizersOf('muon'),
    clip: 1,
    state: run.step === 0 ? before : caughtUp(run.state, options.teacher),
    initial: initialize(seed),
  })
  const next = await trainingLoop({
    learner,
    begin: run.step,
    end: updates,
    rates: { peak: pace[stage.kind] * options.learningRate, warmup: 1, steps: updates, decay: 1 },
    emaDecay: 0.8,
    feedsOf: (step) => feedsOf(options, teaching, stage, step),
    save: (step) => run.save(step, kept(learner.state()), options.facts),
    saveEvery: 200,
    pointEvery: 25,
    point: run.pointed(options.pointOf(updates)),
    signal: options.signal,
  })
  // The rate has fallen to zero, so the last parameters need no average.
  return { parameters: parametersOf(learner.state()), updates: Math.max(run.step, next) }
}

async function feedsOf(
  options: StudentRun,
  teaching: DenoiserSession,
  { name, kind, steps }: Stage,
  step: number,
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
  const teacher =
    kind === 'halving'
      ? teaching.under({ ...drawn.text, 'video.guidance': guidance })
      : guidedTeacher(options, teaching, drawn, scales)
  const estimate =
    steps === undefined
      ? await teacher(latents, levels)
      : await landingTarget(teacher, schedule, drawn.shape, latents, times, steps, kind === 'direct' ? direct : halving)
  const { prediction } = options
  return {
    ...drawn.text,
    'video.guidance': guidance,
    ...estimateFeeds(drawn, { prediction, featureWidth: config.featureWidth }, latents, levels, estimate),
    ...weightFeed(drawn, levels, (level) => outputLossWeight(prediction, 'clamped', level), options.focus),
  }
}

const schedule = cosine()

/** What two evaluations of the teacher combine to. */
function guidedTeacher(
  { batch, tokens }: StudentRun,
  teaching: DenoiserSession,
  { shape, text }: Draw,
  scales: readonly number[],
): Denoise {
  const [heard, silence] = [text, textFeeds('video', new Array<string>(batch).fill(''), tokens)].map(teaching.under)
  return async (latents, levels) =>
    guidedEstimate(
      shape,
      await (heard as Denoise)(latents, levels),
      await (silence as Denoise)(latents, levels),
      scales,
    )
}
