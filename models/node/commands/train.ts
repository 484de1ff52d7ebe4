/**
 * `zoetrope train`: the autoencoder, then the denoiser, resuming where each left off; with --release, the files.
 */

import { GenerationError } from '../../../shared/errors.ts'
import { lossWeightings, type Prediction, predictions } from '../../../shared/prediction.ts'
import { autoencoderSizes, spatialStride, temporalStride } from '../../networks/autoencoder.ts'
import { type DitSize, ditOf, ditSizes, usualPasses } from '../../networks/dit.ts'
import { textEncoderSizes } from '../../networks/text-encoder.ts'
import { vocabularySize } from '../../text/tokenizer.ts'
import { type Emphasis, moreOften, parseEmphasis } from '../../train/choice.ts'
import type { CurvePoint } from '../../train/loop.ts'
import type { DenoiserPart } from '../../train/objectives.ts'
import { curveSvg } from '../../train/plot.ts'
import { captionTokens } from '../../world/captions.ts'
import { nodeBackend } from '../backend.ts'
import { writeAtomically } from '../checkpoints.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'
import { denoiserSession } from '../denoiser-session.ts'
import { denoisingErrors } from '../denoising-error.ts'
import { latentSet, unseenSet } from '../latents.ts'
import { loadCard } from '../models.ts'
import { optimizerNames } from '../optimizers.ts'
import { releaseAutoencoder, releaseCard, releaseParts } from '../release.ts'
import { averaged, openRun, restoreRuns } from '../runs.ts'
import { trainAutoencoder } from '../train-autoencoder.ts'
import { type DenoiserStage, trainDenoiser } from '../train-denoiser.ts'

const targets = ['autoencoder', 'denoiser'] as const

export const oftenHelp = 'clips to draw more often or less, as camera=still:0.25,action=shakes:3 (all alike)'

export const trainCommand: Command = {
  summary: 'Train a network on the sticker world; runs resume from their checkpoint.',
  usage: 'autoencoder|denoiser [options]',
  options: {
    run: { kind: 'text', value: 'NAME', help: 'name of the run and of its checkpoint (the target)' },
    size: { kind: 'text', value: 'SIZE', help: `denoiser: ${Object.keys(ditSizes).join(', ')} (nano)` },
    steps: { kind: 'number', value: 'N', help: 'steps in all (autoencoder 8000, denoiser 20000)' },
    images: { kind: 'number', value: 'N', help: 'denoiser: how many of them learn from pictures alone (a tenth)' },
    motion: { kind: 'number', value: 'N', help: 'denoiser: how many, at the end, learn from clips alone (0)' },
    batch: { kind: 'number', value: 'N', help: 'samples in a step (24)' },
    clips: { kind: 'number', value: 'N', help: 'films to learn from (autoencoder 3000, denoiser 20000)' },
    pictures: { kind: 'number', value: 'N', help: 'denoiser: single frames to learn from (three for each clip)' },
    autoencoder: { kind: 'text', value: 'RUN', help: 'denoiser: which autoencoder encodes the clips (autoencoder)' },
    from: { kind: 'text', value: 'ID', help: 'go on from a released model where the run has no checkpoint' },
    side: { kind: 'number', value: 'N', help: 'autoencoder: side of the squares it learns from (40)' },
    errors: {
      kind: 'text',
      value: 'ID,…',
      help: 'autoencoder: released models whose errors its decoder learns to mend',
    },
    rate: { kind: 'number', value: 'R', help: 'peak learning rate (0.002)' },
    decay: { kind: 'number', value: 'D', help: 'denoiser: share of the run over which the rate falls (0.3)' },
    optimizer: { kind: 'text', value: 'NAME', help: `${optimizerNames.join(' or ')} (muon)` },
    prediction: { kind: 'text', value: 'NAME', help: `denoiser: what it says, ${predictions.join(', ')} (sample)` },
    weighting: { kind: 'text', value: 'NAME', help: `denoiser: ${lossWeightings.join(', ')} (clamped)` },
    focus: { kind: 'number', value: 'F', help: 'denoiser: how much more the puppet’s cells count (4)' },
    changes: { kind: 'number', value: 'C', help: 'denoiser: how much errors of motion count beside errors (2)' },
    often: { kind: 'text', value: 'LIST', help: `denoiser: ${oftenHelp}` },
    shift: { kind: 'number', value: 'S', help: 'denoiser: above 1, more of the samples are noisy (3)' },
    seed: { kind: 'number', value: 'N', help: 'seed of weights and batches (1)' },
    plot: { kind: 'text', value: 'FILE', help: 'write the learning curve as SVG and stop' },
    ema: { kind: 'number', value: 'D', help: 'denoiser: how much of the average stays at each step (0.999)' },
    judge: { kind: 'flag', help: 'denoiser: print how well the run denoises what it has not seen, and stop' },
    release: { kind: 'flag', help: 'write the weights (and the denoiser’s card) into models/ and stop' },
  },
  run: async (given, surroundings) => {
    const target = oneOf('train', given.positionals[0], targets)
    if (given.text('plot') !== undefined) await plot(target, given, surroundings)
    else if (given.flag('release')) await release(target, given, surroundings)
    else if (given.flag('judge')) await judge(target, given, surroundings)
    else await (target === 'autoencoder' ? autoencoder : denoiser)(given, surroundings)
  },
}

async function autoencoder(given: Arguments, surroundings: Surroundings): Promise<void> {
  const [from, models] = [given.text('from'), given.text('errors')?.split(',') ?? []]
  for (const id of models) await loadCard(id)
  const [side, films] = [given.number('side') ?? 40, given.number('clips') ?? 3000]
  if (!(side >= 16 && side <= 64 && side % spatialStride === 0))
    throw new GenerationError('invalid_parameter', `--side: got ${side}, allowed are multiples of 8 from 16 to 64`)
  if (!(Number.isInteger(films) && films >= 20))
    throw new GenerationError('invalid_parameter', `--clips: got ${films}, allowed is a whole number from 20`)
  if (from !== undefined) await restoreRuns(from, { encoder: given.text('run') ?? 'autoencoder' })
  await trainAutoencoder({
    config: autoencoderSizes.stickers,
    backend: nodeBackend(),
    run: given.text('run') ?? 'autoencoder',
    seed: given.number('seed') ?? 1,
    steps: given.number('steps') ?? 8000,
    batch: given.number('batch') ?? 16,
    films,
    // Errors of a model lie on a whole clip's latents.
    frames: models.length > 0 ? 17 : 9,
    side,
    learningRate: given.number('rate') ?? 0.002,
    noise: 0.3,
    models,
    optimizer: oneOf('--optimizer', given.text('optimizer') ?? 'muon', optimizerNames),
    signal: surroundings.signal,
    point: reporter(given.number('steps') ?? 8000, surroundings),
    progress: surroundings.show,
  })
}

async function denoiser(given: Arguments, surroundings: Surroundings): Promise<void> {
  const { signal, show, say } = surroundings
  const [learning, stages, emphasis] = [learningOf(given), stagesOf(given), emphasisOf(given)]
  const size = oneOf('--size', given.text('size') ?? 'nano', Object.keys(ditSizes) as DitSize[])
  const encoder = given.text('autoencoder') ?? 'autoencoder'
  const from = given.text('from')
  if (from !== undefined) await restoreRuns(from, { encoder, denoiser: given.text('run') ?? 'denoiser' })
  const count = given.number('clips') ?? 20000
  const backend = nodeBackend()
  const parameters = averaged((await openRun(encoder)).state)
  const encoded = (count: number, frames: number, what: string) =>
    latentSet({
      config: autoencoderSizes.stickers,
      parameters,
      backend,
      count,
      frames,
      side: 64,
      signal,
      progress: (done) => show(`encoding ${what} ${done}/${count}`),
    })
  const set = await encoded(count, 17, 'clips')
  const [alone = 0, both = 0, clips] = stages.map((each) => each.steps)
  const pictures = alone + both > 0 ? await encoded(given.number('pictures') ?? 3 * count, 1, 'pictures') : undefined
  say(
    `latents of ${count} clips and ${pictures?.count ?? 0} pictures are ready; ${alone} steps on pictures, ${both} on both, ${clips} on clips`,
  )
  await trainDenoiser({
    config: ditOf(ditSizes[size], { guided: false, passes: usualPasses }),
    text: { ...textEncoderSizes.nano, vocabulary: vocabularySize },
    set,
    pictures,
    backend,
    run: given.text('run') ?? 'denoiser',
    seed: given.number('seed') ?? 1,
    stages,
    choice: moreOften(set, emphasis),
    ...learning,
    facts: { size, clips: count, prediction: learning.prediction, passes: usualPasses },
    signal,
    point: reporter(
      stages.reduce((sum, each) => sum + each.steps, 0),
      surroundings,
    ),
  })
}

/** What to learn from, one after another: pictures, clips and pictures, clips. */
function stagesOf(given: Arguments): DenoiserStage[] {
  const steps = given.number('steps') ?? 20000
  const images = given.number('images') ?? Math.round(steps / 10)
  const motion = given.number('motion') ?? 0
  if (images + motion > steps) {
    const got = `--images and --motion: got ${images} and ${motion}`
    throw new GenerationError('invalid_parameter', `${got}, allowed are together the ${steps} of --steps`)
  }
  const batch = given.number('batch') ?? 24
  const changes = changesOf(given)
  const part = (name: 'video' | 'image', batch: number, share: number): DenoiserPart => {
    const [frames, tokens] = name === 'video' ? [5, captionTokens.film] : [1, captionTokens.picture]
    return { name, batch, frames, tokens, share, changes }
  }
  return [
    { steps: images, parts: [part('image', 5 * batch, 1)] },
    { steps: steps - images - motion, parts: [part('video', batch, 0.8), part('image', batch, 0.2)] },
    { steps: motion, parts: [part('video', batch, 1)] },
  ]
}

/** How to learn; read before anything is encoded, so that a slip costs no minutes. */
function learningOf(given: Arguments) {
  const ema = given.number('ema') ?? 0.999
  if (!(ema >= 0 && ema < 1))
    throw new GenerationError('invalid_parameter', `--ema: got ${ema}, allowed are 0 to below 1`)
  return {
    learningRate: given.number('rate') ?? 0.002,
    optimizer: oneOf('--optimizer', given.text('optimizer') ?? 'muon', optimizerNames),
    prediction: oneOf('--prediction', given.text('prediction') ?? 'sample', predictions),
    weighting: oneOf('--weighting', given.text('weighting') ?? 'clamped', lossWeightings),
    focus: given.number('focus') ?? 4,
    shift: given.number('shift') ?? 3,
    emaDecay: ema,
    decay: given.number('decay') ?? 0.3,
  }
}

async function release(target: (typeof targets)[number], given: Arguments, { say, emit }: Surroundings): Promise<void> {
  const auto = await openRun(given.text(target === 'autoencoder' ? 'run' : 'autoencoder') ?? 'autoencoder')
  if (target === 'autoencoder') {
    const { file, bytes, ids } = await releaseAutoencoder(auto.state)
    return say(`wrote ${file} (${bytes} bytes), shared by ${ids.join(', ') || 'no model yet'}`)
  }
  const run = await openRun(given.text('run') ?? 'denoiser')
  const { size, clips, prediction, passes = 0 } = run.facts as unknown as DenoiserFacts
  const id = `zt-${size}-teacher`
  const weights = await releaseParts(id, { size, guided: false, passes }, run.state, auto.state)
  const card = await releaseCard(
    {
      id,
      summary: 'Stickers from text: the many-step teacher.',
      size,
      guided: false,
      passes,
      prediction,
      steps: { min: 1, max: 256, default: 32 },
      guidance: { min: 1, max: 10, default: 4 },
      sampler: 'dpm2m',
      training: { ...originOf(run.facts), steps: run.step, clips, autoencoder_steps: auto.step, objective: prediction },
      figures: { loss: run.curve.at(-1)?.scalars.loss ?? 0 },
    },
    weights,
  )
  say(`wrote ${id}: ${weights.denoiser.bytes + weights.autoencoder.bytes} bytes`)
  emit(card)
}

/** The released model a run went on from, if any. */
const originOf = ({ from }: Readonly<Record<string, unknown>>): Record<string, string> =>
  typeof from === 'string' ? { from } : {}

/** Errors of the averaged run on 64 unseen pictures, as a table. */
async function judge(target: string, given: Arguments, { say, emit, signal }: Surroundings): Promise<void> {
  if (target !== 'denoiser')
    throw new GenerationError(
      'invalid_parameter',
      `--judge: got ${target}, allowed is denoiser; see zoetrope evaluate --autoencoder`,
    )
  const run = await openRun(given.text('run') ?? 'denoiser')
  // First of all: a run without a checkpoint has no facts either.
  const learned = averaged(run.state)
  const { size, prediction, passes = 0 } = run.facts as unknown as DenoiserFacts
  const backend = nodeBackend()
  const parameters = averaged((await openRun(given.text('autoencoder') ?? 'autoencoder')).state)
  const pictures = await errorsOn({ name: 'image', batch: 64, frames: 1, tokens: captionTokens.picture })
  const clips = await errorsOn({ name: 'video', batch: 64, frames: 5, tokens: captionTokens.film })
  emit({ run: given.text('run') ?? 'denoiser', step: run.step, errors: pictures, clips })

  async function errorsOn(part: { name: 'image' | 'video'; batch: number; frames: number; tokens: number }) {
    const frames = (part.frames - 1) * temporalStride + 1
    const [config, side] = [autoencoderSizes.stickers, 64]
    const judged = { config, parameters, backend, count: part.batch, frames, side, signal, progress: () => {} }
    const set = await unseenSet(judged)
    await using session = await denoiserSession({
      ...part,
      backend,
      config: ditOf(ditSizes[size], { guided: false, passes }),
      text: { ...textEncoderSizes.nano, vocabulary: vocabularySize },
      prediction,
      parameters: learned,
      shape: [part.batch, set.channels, part.frames, set.height, set.width],
      seed: 1,
    })
    const errors = await denoisingErrors(session, { ...part, set })
    say(`${part.name}  time   error    more with another puppet, colour, camera`)
    for (const { time, error, puppet, colour, camera } of errors)
      say(`       ${[time.toFixed(2), ...[error, puppet, colour, camera].map((each) => each.toFixed(4))].join('   ')}`)
    return errors
  }
}

interface DenoiserFacts {
  readonly size: DitSize
  readonly clips: number
  readonly prediction: Prediction
  /** None in runs of before. */
  readonly passes?: number
}

async function plot(target: string, given: Arguments, { say }: Surroundings): Promise<void> {
  const run = await openRun(given.text('run') ?? target)
  const path = given.text('plot') as string
  const names = Object.keys(run.curve[0]?.scalars ?? {}).filter((name) => name !== 'gradientNorm')
  await writeAtomically(path, curveSvg(`${given.text('run') ?? target}: ${run.step} steps`, run.curve, names))
  say(`wrote ${path}`)
}

/** How much errors of motion count, for learning and for distilling. */
export function changesOf(given: Arguments): number {
  const changes = given.number('changes') ?? 2
  if (changes >= 0 && changes <= 100) return changes
  throw new GenerationError('invalid_parameter', `--changes: got ${changes}, allowed are 0 to 100`)
}

/** Which clips come more often, for learning and for distilling. */
export function emphasisOf(given: Arguments): Emphasis {
  return parseEmphasis('--often', given.text('often') ?? '')
}

/** Prints a line per point, with the time left. */
export function reporter(steps: number, { say }: Surroundings): (point: CurvePoint) => void {
  return ({ step, scalars, ms }) => {
    const numbers = Object.entries(scalars).map(([name, value]) => `${name} ${value.toPrecision(4)}`)
    const left = Math.round(((steps - step) * ms) / 60000)
    say(`step ${step}/${steps}  ${numbers.join('  ')}  ${Math.round(ms)} ms  ${left} min left`)
  }
}

export function oneOf<T extends string>(name: string, got: string | undefined, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === got)
  if (found !== undefined) return found
  throw new GenerationError('invalid_parameter', `${name}: got ${got ?? 'nothing'}, allowed are ${allowed.join(', ')}`)
}
