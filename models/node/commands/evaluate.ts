/**
 * `zoetrope evaluate`: what a model shows of what it is asked, and how real it looks; or how well its autoencoder
 * keeps clips, or how well the oracles read.
 */

import { readFile } from 'node:fs/promises'
import { GenerationError } from '../../../shared/errors.ts'
import { effectiveRequest } from '../../../shared/generation.ts'
import { compileRoundTrip } from '../../pipeline/compile.ts'
import { pixelsOf, valuesOf } from '../../pipeline/frames.ts'
import { runner } from '../../pipeline/generate.ts'
import { caption, parsePrompt } from '../../world/captions.ts'
import {
  accuracyOf,
  type Figure,
  flicker,
  frechetDistance,
  type Misreading,
  misreadings,
  peakSignalToNoise,
} from '../../world/metrics.ts'
import { readClip } from '../../world/oracles.ts'
import { type Frames, renderClip } from '../../world/renderer.ts'
import { type Attributes, type Split, sampleAttributes } from '../../world/vocabulary.ts'
import { nodeBackend } from '../backend.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'
import { defaultModel, loadCard, loadModel } from '../models.ts'

export const evaluateCommand: Command = {
  summary: 'Measure a model on the sticker world, or the oracles on rendered clips.',
  usage: '[options]',
  options: {
    model: { kind: 'text', value: 'ID', help: `which model (${defaultModel})` },
    clips: { kind: 'number', value: 'N', help: 'clips of seen and of held-out triples each (32)' },
    prompts: { kind: 'text', value: 'FILE', help: 'captions of your own, one a line, instead' },
    steps: { kind: 'number', value: 'N', help: 'denoising steps' },
    guidance: { kind: 'number', value: 'G', help: 'guidance scale' },
    autoencoder: { kind: 'flag', help: 'judge the autoencoder: rendered clips, encoded and decoded' },
    oracles: { kind: 'flag', help: 'judge the oracles themselves, on rendered clips of unused seeds' },
  },
  run: async (given, surroundings) => {
    if (given.flag('oracles')) return evaluateOracles(given, surroundings)
    if (given.flag('autoencoder')) return evaluateAutoencoder(given, surroundings)
    return evaluateModel(given, surroundings)
  },
}

/** Seeds from here on belong to evaluation; training begins elsewhere. */
const evaluationSeed = 0x9000000

interface Task {
  readonly prompt: string
  readonly asked: Partial<Attributes>
  /** A rendered clip of the same caption, where the caption says everything. */
  readonly real: Frames | undefined
}

async function evaluateOracles(given: Arguments, { say, emit, show, signal }: Surroundings): Promise<void> {
  const count = countOf(given, 100)
  const asked = Array.from({ length: count }, (_, n) => sampleAttributes(evaluationSeed + n, 'all'))
  const readings = asked.map((attributes, n) => {
    signal.throwIfAborted()
    show(`reading ${n + 1}/${count}`)
    return readClip(renderClip(attributes, evaluationSeed + n))
  })
  const accuracy = accuracyOf(readings, asked)
  for (const [name, { value, low, high }] of Object.entries(accuracy.attributes))
    say(`${name.padEnd(8)} ${percent(value)}  (${percent(low)} to ${percent(high)})`)
  emit({ clips: count, ...accuracy })
}

async function evaluateAutoencoder(given: Arguments, { say, emit, show, signal }: Surroundings): Promise<void> {
  const model = await loadModel(await loadCard(given.text('model') ?? defaultModel))
  const count = countOf(given, 32)
  const asked = Array.from({ length: count }, (_, n) => sampleAttributes(evaluationSeed + n, 'all'))
  const real = asked.map((attributes, n) => renderClip(attributes, evaluationSeed + n))
  const { frames, height, width } = real[0] as Frames
  await using session = await nodeBackend().load(compileRoundTrip(model, frames, height, width))
  const clips: Frames[] = []
  for (const clip of real) {
    signal.throwIfAborted()
    const data = valuesOf(clip.pixels)
    const outputs = await session.run({ frames: { dtype: 'float32', shape: [1, frames, height, width, 3], data } })
    clips.push({ ...clip, pixels: pixelsOf(outputs.restored?.data as Float32Array) })
    show(`clip ${clips.length}/${count}`)
  }
  const accuracy = accuracyOf(clips.map(readClip), asked)
  const psnr = peakSignalToNoise(clips, real)
  const steadiness = flicker(clips, real)
  say(
    `psnr ${psnr.toFixed(2)} dB, capAcc ${percent(accuracy.capAcc.value)}, flicker ${steadiness.value.toFixed(3)}, ${count} clips`,
  )
  emit({ model: model.card.id, revision: model.card.revision, psnr, ...accuracy, flicker: steadiness })
}

async function evaluateModel(given: Arguments, surroundings: Surroundings): Promise<void> {
  const { say, emit } = surroundings
  const card = await loadCard(given.text('model') ?? defaultModel)
  const model = await loadModel(card)
  const file = given.text('prompts')
  const sets: readonly (readonly [string, readonly Task[]])[] =
    file === undefined
      ? (['seen', 'held-out'] as const).map((split) => [split, tasksOf(split, countOf(given, 32))] as const)
      : [['prompts', await tasksFrom(file)]]
  await using running = runner(model, nodeBackend())
  const report: Record<string, unknown> = { model: card.id, revision: card.revision }
  for (const [name, tasks] of sets) {
    const clips = await generateAll(given, surroundings, running, card, tasks)
    const [readings, wanted] = [clips.map((clip) => readClip(clip)), tasks.map(({ asked }) => asked)]
    const [accuracy, misread] = [accuracyOf(readings, wanted), misreadings(readings, wanted)]
    const pairs = tasks
      .map(({ real }, index) => ({ real, clip: clips[index] as Frames }))
      .filter((pair): pair is { real: Frames; clip: Frames } => pair.real !== undefined)
    const likeness: Record<string, Figure> = pairs.length < 2 ? {} : likenessOf(pairs)
    report[name] = { ...accuracy, ...likeness, misread }
    say(
      `${name}: capAcc ${percent(accuracy.capAcc.value)} (${percent(accuracy.capAcc.low)} to ${percent(accuracy.capAcc.high)}), ${tasks.length} clips`,
    )
    for (const [attribute, { value, clips: judged }] of Object.entries(accuracy.attributes))
      say(`  ${attribute.padEnd(8)} ${percent(value)} of ${judged}${worst(misread, attribute)}`)
    for (const [figure, { value, low, high }] of Object.entries(likeness))
      say(`  ${figure.padEnd(8)} ${value.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`)
  }
  emit(report)
}

function likenessOf(pairs: readonly { readonly real: Frames; readonly clip: Frames }[]): Record<string, Figure> {
  const [clips, real] = [pairs.map(({ clip }) => clip), pairs.map(({ real: each }) => each)]
  const others = pairs.map((_, n) =>
    renderClip(sampleAttributes(evaluationSeed + 0x100000 + n, 'all'), evaluationSeed + 0x100000 + n),
  )
  return { flicker: flicker(clips, real), fd: frechetDistance(clips, real), fdFloor: frechetDistance(others, real) }
}

function tasksOf(split: Split, count: number): Task[] {
  return Array.from({ length: count }, (_, n) => {
    const seed = evaluationSeed + n
    const attributes = sampleAttributes(seed, split)
    const { text, asked } = caption(attributes, seed)
    return { prompt: text, asked, real: renderClip(attributes, seed) }
  })
}

async function tasksFrom(file: string): Promise<Task[]> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new GenerationError(
      'invalid_parameter',
      `--prompts: ${file} cannot be read (${error.code}); name a text file with one caption a line`,
      { cause: error },
    )
  })
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  if (lines.length === 0)
    throw new GenerationError('invalid_parameter', `--prompts: ${file} has no captions, allowed is one a line`)
  return lines.map((prompt) => ({ prompt, asked: parsePrompt(prompt), real: undefined }))
}

async function generateAll(
  given: Arguments,
  { signal, show }: Surroundings,
  running: ReturnType<typeof runner>,
  card: Awaited<ReturnType<typeof loadCard>>,
  tasks: readonly Task[],
): Promise<Frames[]> {
  const clips: Frames[] = []
  for (const [index, { prompt }] of tasks.entries()) {
    const fields = {
      prompt,
      num_inference_steps: given.number('steps'),
      guidance_scale: given.number('guidance'),
      seed: index,
    }
    const known = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
    const request = effectiveRequest(known, card, index)
    const { num_frames: frames, height, width } = request
    const pixels = new Uint8Array(frames * height * width * 3)
    for await (const event of running.generate(request, signal)) {
      if (event.type === 'part') pixels.set(event.part.pixels, event.part.first * height * width * 3)
    }
    clips.push({ frames, height, width, pixels })
    show(`clip ${index + 1}/${tasks.length}`)
  }
  return clips
}

function countOf(given: Arguments, standard: number): number {
  const count = given.number('clips') ?? standard
  if (Number.isInteger(count) && count >= 1 && count <= 100000) return count
  throw new GenerationError('invalid_parameter', `--clips: got ${count}, allowed is a whole number from 1 to 100000`)
}

/** The three most frequent errors of an attribute, as the end of a line. */
function worst(misread: readonly Misreading[], attribute: string): string {
  const own = misread.filter((each) => each.attribute === attribute).slice(0, 3)
  if (own.length === 0) return ''
  return `; ${own.map(({ asked, read, clips }) => `${asked} read as ${read} ${clips}×`).join(', ')}`
}

const percent = (value: number): string => `${(100 * value).toFixed(1)} %`
