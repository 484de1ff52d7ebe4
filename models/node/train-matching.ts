/**
 * The stage of a distillation in which a student of few steps learns from its own clips (train/matching.ts), led by its
 * teacher and by a critic that knows films (train/critic.ts). Companion and critic live in the student's checkpoint; the
 * ways of its clips do not, so a run that goes on begins them anew.
 */

import { outputLossWeight } from '../../shared/prediction.ts'
import { gaussian, type RandomStream, randomStream } from '../../shared/random.ts'
import { cosine, type NoiseLevel } from '../../shared/schedule.ts'
import type { DitConfig } from '../networks/dit.ts'
import { guidanceFeed } from '../pipeline/generate.ts'
import { criticBeginning, criticName } from '../train/critic.ts'
import { type Draw, estimateFeeds, mixed, textFeeds, weightFeed } from '../train/denoising.ts'
import { guidedEstimate } from '../train/distill.ts'
import { initialize } from '../train/initialize.ts'
import { type Feeds, trainingLoop } from '../train/loop.ts'
import {
  closeLooks,
  distance,
  evenLooks,
  type Looks,
  matchingTarget,
  noised,
  type Ways,
  ways,
} from '../train/matching.ts'
import { denoiserObjective } from '../train/objectives.ts'
import { type Trainer, type TrainingState, trainer } from '../train/trainer.ts'
import { caption } from '../world/captions.ts'
import {
  criticPair,
  criticSession,
  criticSide,
  criticTrainer,
  type Pushing,
  type Seen,
  shapeOf,
} from './critic-session.ts'
import { type DenoiserSession, denoiserSession } from './denoiser-session.ts'
import { optimizersOf } from './optimizers.ts'
import { parametersOf, type Run } from './runs.ts'
import type { Ended, StudentRun } from './train-student.ts'

/**
 * How much faster than the student both learn, so that they know it as it is: whom they only knew as it was, they would
 * send past where films are.
 */
const pace = { companion: 4, critic: 5 } as const
/** Rounds in which they learn alone, though no more than the student has: until they know it, their judgement would lead it astray. */
const acquaintance = 120
/** The critic's push beside the teacher's, by their mean sizes. */
const criticShare = 0.8
/** Share of clips made at the scale that most are asked for; the rest have any. */
const usual = { scale: 4, share: 0.7 } as const

const schedule = cosine()

type Shape = Draw['shape']

interface MatchingRun extends StudentRun {
  readonly updates: number
}

export async function matchStudent(options: MatchingRun, run: Run, before: TrainingState): Promise<Ended> {
  const { updates, signal, facts, pointOf } = options
  if (run.step >= updates) return { parameters: parametersOf(run.state), updates: run.step }
  const known = (owner: Owner) => partOf(run.state, owner)
  const begun = run.step > 0
  await using student = await denoiserTrainer(options, begun ? known('') : before, options.changes)
  await using companion = await denoiserTrainer(options, begun ? known('@companion') : options.teacher, 0)
  await using critic = await criticTrainer(options, begun ? known('@critic') : criticBeginning(options.teacher))
  await using making = await sessionOf(options, student.state, true)
  await using knowing = await sessionOf(options, companion.state, true)
  await using teaching = await sessionOf(options, options.teacher, false)
  await using pushing = await criticSession(options, critic.state)
  const judges = { companion, critic, making, knowing, teaching, pushing }
  const round = rounds(options, judges, run.step)
  const alone = begun ? options.to : Math.min(acquaintance, updates)
  options.say(`a companion and a critic get to know it first, ${alone} rounds`)
  for (let n = 0; n < alone && !signal.aborted; n++) await round.learn()
  const next = await trainingLoop({
    learner: { ...student, step: async (...given) => watched(await student.step(...given), round.readings()) },
    begin: run.step,
    end: updates,
    rates: { peak: options.learningRate, warmup: 20, steps: updates, decay: 0.6 },
    emaDecay: 0.98,
    feedsOf: round.feeds,
    inTurn: true,
    save: (step) =>
      run.save(
        step,
        { ...student.state(), ...owned(companion.state(), '@companion'), ...owned(critic.state(), '@critic') },
        facts,
      ),
    saveEvery: 100,
    pointEvery: 25,
    point: run.pointed(pointOf(updates)),
    signal,
  })
  return { parameters: parametersOf(student.state()), updates: next }
}

/** Whose a tensor of the checkpoint is, behind its name. */
type Owner = '' | '@companion' | '@critic'

const owned = (state: TrainingState, owner: Owner): TrainingState =>
  Object.fromEntries(Object.entries(state).map(([name, data]) => [`${name}${owner}`, data]))

function partOf(state: TrainingState, owner: Owner): TrainingState {
  const others = (['@companion', '@critic'] as const).filter((each) => each !== owner)
  const own = Object.entries(state).filter(
    ([name]) => name.endsWith(owner) && !others.some((each) => name.endsWith(each)),
  )
  return Object.fromEntries(own.map(([name, data]) => [name.slice(0, name.length - owner.length), data]))
}

const watched = <Report extends { readonly scalars: Readonly<Record<string, number>> }>(
  report: Report,
  readings: Readonly<Record<string, number>>,
): Report => ({ ...report, scalars: { ...report.scalars, ...readings } })

const guided = (config: DitConfig): DitConfig => ({ ...config, guided: true })

function denoiserTrainer(options: StudentRun, state: TrainingState, changes: number): Promise<Trainer> {
  const { backend, config, text, set, batch, tokens, seed } = options
  const part = { name: 'video', batch, frames: set.frames, tokens, share: 1, changes }
  const objective = () => denoiserObjective(guided(config), text, set, [part])
  return trainer({ backend, objective, optimizerOf: optimizersOf('muon'), clip: 1, state, initial: initialize(seed) })
}

function sessionOf(options: StudentRun, parameters: TrainingState | (() => TrainingState), isGuided: boolean) {
  const config = isGuided ? guided(options.config) : options.config
  return denoiserSession({ ...options, config, parameters, name: 'video', shape: shapeOf(options) })
}

interface Judges {
  readonly companion: Trainer
  readonly critic: Trainer
  readonly making: DenoiserSession
  readonly knowing: DenoiserSession
  readonly teaching: DenoiserSession
  readonly pushing: Pushing
}

interface Rounds {
  /** Companion and critic learn from the student's clips, and the clips go on. */
  readonly learn: () => Promise<void>
  /** The same, and what the student is to learn from them. */
  readonly feeds: () => Promise<Feeds>
  /** Losses of companion and critic, and for how sure a film the critic takes the student's clips. */
  readonly readings: () => Readonly<Record<string, number>>
}

type Look = (clean: Float32Array, looks: Looks) => Seen

function rounds(options: StudentRun, judges: Judges, begun: number): Rounds {
  const { prediction, config } = options
  const shape = shapeOf(options)
  const random = randomStream(options.seed, 0x60000 + begun)
  const words = wordsOf(options, random)
  const seed = (options.seed + begun) >>> 0
  const way = ways({ shape, schedule, steps: options.to, seed, begin: words.renew })
  const look = looking(shape, way, random, seed)
  const target = leading(options, judges, words, look)
  const form = { prediction, featureWidth: config.featureWidth }
  let learned = begun
  let readings: Readonly<Record<string, number>> = {}

  const made = async () => {
    const [told, latents, levels] = [words.feeds(), way.latents(), way.times().map(schedule)]
    const estimate = await judges.making.under(told)(latents, levels)
    const near = look(estimate, evenLooks)
    const lesson = {
      ...told,
      ...estimateFeeds({ name: 'video', shape }, form, near.latents, near.levels, estimate),
      ...evenWeights(shape, near.levels, (level) => outputLossWeight(prediction, 'clamped', level)),
    }
    const stepOf = (faster: number) => ({ learningRate: faster * options.learningRate, emaDecay: 0, step: learned })
    const companion = await judges.companion.step(lesson, stepOf(pace.companion))
    const pair = criticPair(options, look(estimate, closeLooks), words.texts(), learned)
    const critic = await judges.critic.step(pair, stepOf(pace.critic))
    learned++
    readings = { ...readings, companion: companion.scalars.loss ?? 0, critic: critic.scalars.loss ?? 0 }
    return { told, latents, levels, estimate }
  }
  return {
    readings: () => readings,
    learn: async () => way.advance((await made()).estimate),
    feeds: async () => {
      const { told, latents, levels, estimate } = await made()
      const led = await target(told, estimate)
      readings = { ...readings, taken: led.taken }
      way.advance(estimate)
      return {
        ...told,
        ...estimateFeeds({ name: 'video', shape }, form, latents, levels, led.target),
        ...evenWeights(shape, levels, () => 1),
      }
    },
  }
}

interface Words {
  readonly renew: (clip: number) => void
  readonly texts: () => readonly string[]
  readonly scales: () => readonly number[]
  readonly feeds: () => Feeds
}

/** What clips are made of: captions of films, and a scale of guidance each. */
function wordsOf({ set, batch, tokens, choice, config, guidance }: StudentRun, random: RandomStream): Words {
  const [texts, scales] = [new Array<string>(batch).fill(''), new Array<number>(batch).fill(usual.scale)]
  return {
    renew: (clip) => {
      texts[clip] = caption(set.attributes(choice(random)), random.integer(2 ** 31), { omit: true }).text
      scales[clip] = random.chance(usual.share) ? usual.scale : random.between(...guidance)
    },
    texts: () => [...texts],
    scales: () => [...scales],
    feeds: () => ({
      ...textFeeds('video', texts, tokens),
      'video.guidance': guidanceFeed(scales, config.featureWidth),
    }),
  }
}

function looking(shape: Shape, way: Ways, random: RandomStream, seed: number): Look {
  const size = shape.reduce((product, n) => product * n, 1)
  let looked = 0
  return (clean, looks) => {
    const levels = looks(way.ends(), random.uniform()).map(schedule)
    return { levels, latents: noised(shape, clean, levels, gaussian(seed, 0x70000000 + looked++, 0, size)) }
  }
}

/** What estimates should have been: by the teacher beside the companion, and by the critic. */
function leading(options: StudentRun, { teaching, knowing, pushing }: Judges, words: Words, look: Look) {
  const shape = shapeOf(options)
  const silence = teaching.under(textFeeds('video', new Array<string>(shape[0]).fill(''), options.tokens))
  const usualSize = running()
  return async (told: Feeds, estimate: Float32Array) => {
    const even = look(estimate, evenLooks)
    const { 'video.guidance': _, ...heard } = told
    const teacher = guidedEstimate(
      shape,
      await teaching.under(heard)(even.latents, even.levels),
      await silence(even.latents, even.levels),
      words.scales(),
    )
    const companion = await knowing.under(told)(even.latents, even.levels)
    const matched = matchingTarget(shape, estimate, teacher, companion)
    const close = look(estimate, closeLooks)
    const { push, taken } = await pushing.at(
      criticSide(options, close, textFeeds(criticName, words.texts(), options.tokens)),
    )
    // What the critic saw was alpha times the estimate, and noise.
    const through = mixed(shape, push, push, (clip) => [close.levels[clip]?.alpha ?? 1, 0])
    const mean = usualSize(distance(through, new Float32Array(through.length)))
    const share = (criticShare * distance(matched, estimate)) / Math.max(mean, 1e-12)
    return { target: mixed(shape, matched, through, () => [1, share]), taken }
  }
}

/** The mean of the last twenty or so. */
function running(): (value: number) => number {
  let mean: number | undefined
  return (value) => {
    mean = mean === undefined ? value : 0.95 * mean + 0.05 * value
    return mean
  }
}

/** Every cell of a clip counts alike. */
const evenWeights = (shape: Shape, levels: readonly NoiseLevel[], weightOf: (level: NoiseLevel) => number): Feeds => {
  const [batch, , frames, height, width] = shape
  const coverage = new Float32Array(batch * frames * height * width)
  return weightFeed({ name: 'video', shape, given: [], coverage }, levels, weightOf, 0)
}
