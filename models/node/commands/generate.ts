/**
 * `zoetrope generate`: a prompt to a video file, and the receipt of how it came about.
 */

import { createHash, randomInt } from 'node:crypto'
import { resolve } from 'node:path'
import { GenerationError } from '../../../shared/errors.ts'
import { contentKey, type EffectiveRequest, effectiveRequest } from '../../../shared/generation.ts'
import type { ModelCard } from '../../../shared/manifest.ts'
import type { Receipt } from '../../../shared/receipt.ts'
import type { Backend } from '../../pipeline/backend.ts'
import { checkpointRunner, stepsOf } from '../../pipeline/checkpoint.ts'
import { planOf, type Runner, runner } from '../../pipeline/generate.ts'
import type { Model } from '../../pipeline/model.ts'
import { normalise } from '../../world/captions.ts'
import { nodeBackend } from '../backend.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'
import { importedHash, loadImported } from '../imported-models.ts'
import { combinedHash, defaultModel, loadCard, loadModel, modelIds } from '../models.ts'
import { runtimeVersion, zoetropeVersion } from '../versions.ts'
import { encodeVideo, extensionOf, type PixelVideo, requireWritable, writeVideo } from '../video-file.ts'

export const generateCommand: Command = {
  summary: 'Make a video from a prompt.',
  usage: 'PROMPT [options]',
  options: {
    output: {
      kind: 'text',
      short: 'o',
      value: 'FILE',
      help: '.mp4, .gif, .webp or .png; named after the prompt when left out',
    },
    model: { kind: 'text', value: 'ID', help: `which model (${defaultModel})` },
    seed: { kind: 'number', value: 'N', help: '0 to 4294967295; drawn when left out' },
    frames: { kind: 'number', value: 'N', help: 'number of frames, 4n + 1' },
    size: { kind: 'text', value: 'WxH', help: 'pixels, multiples of 16' },
    steps: { kind: 'number', value: 'N', help: 'denoising steps' },
    guidance: { kind: 'number', value: 'G', help: 'guidance scale, 1 is off' },
    negative: { kind: 'text', value: 'TEXT', help: 'what to keep away from' },
  },
  run: generate,
}

async function generate(given: Arguments, { signal, say, show, emit }: Surroundings): Promise<void> {
  const began = performance.now()
  const backend = nodeBackend()
  const chosen = await chooseModel(given.text('model') ?? defaultModel, backend)
  const { card } = chosen
  const seed = given.number('seed') ?? randomInt(0, 2 ** 32)
  const request = effectiveRequest(requestOf(given, seed), card, seed)
  const path = resolve(given.text('output') ?? fileName(request))
  const extension = extensionOf(path)
  await requireWritable(path)
  await using running = await chosen.open()
  const video = await joined(running, request, signal, (line) => (line.startsWith('warning') ? say(line) : show(line)))
  const bytes = await encodeVideo(video, extension)
  signal.throwIfAborted()
  await writeVideo(path, bytes)
  const receipt = await receiptFrom(
    chosen,
    backend,
    { ...request, output_format: extension.slice(1) as EffectiveRequest['output_format'] },
    bytes,
  )
  say(
    `${path}  (${video.frames} frames of ${video.width}x${video.height}, seed ${seed}, ${((performance.now() - began) / 1000).toFixed(1)} s)`,
  )
  emit({ output: path, receipt })
}

/** A model by its name: one of ours, or an imported one. */
interface ChosenModel extends ReceiptFacts {
  readonly card: ModelCard
  readonly open: () => Promise<Runner>
}

async function chooseModel(id: string, backend: Backend): Promise<ChosenModel> {
  const imported = (await modelIds()).includes(id) ? undefined : await loadImported(id, backend)
  if (imported === undefined) {
    const card = await loadCard(id)
    return { ...factsOf(card), card, open: async () => runner(await loadModel(card), backend) }
  }
  const { card, manifest, model } = imported
  return {
    card,
    weights: importedHash(manifest),
    quantization: manifest.parts.denoiser?.precision ?? 'none',
    schedule: manifest.plan ?? card.schedule,
    sigmas: () => stepsOf(model.plan).map(({ level }) => level.sigma),
    open: async () => checkpointRunner(model, backend),
  }
}

/** What a receipt tells of the model. */
interface ReceiptFacts {
  readonly card: ModelCard
  readonly weights: string
  readonly quantization: Receipt['quantization']
  readonly schedule: string
  readonly sigmas: (request: EffectiveRequest) => readonly number[]
}

const factsOf = (card: ModelCard): ReceiptFacts => ({
  card,
  weights: combinedHash(card),
  quantization: 'none',
  schedule: card.schedule,
  sigmas: (request) => planOf(request).map(({ level }) => level.sigma),
})

function requestOf(given: Arguments, seed: number): unknown {
  if (given.positionals.length > 1) {
    throw new GenerationError(
      'invalid_parameter',
      `prompt: got ${given.positionals.length} arguments, allowed is one; put the prompt in quotes`,
    )
  }
  const fields = {
    prompt: given.positionals[0] ?? '',
    negative_prompt: given.text('negative'),
    num_frames: given.number('frames'),
    size: given.text('size'),
    num_inference_steps: given.number('steps'),
    guidance_scale: given.number('guidance'),
    seed,
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

/** Runs one request on a model and joins its frames. */
export async function collect(
  model: Model,
  backend: Backend,
  request: EffectiveRequest,
  signal: AbortSignal,
  show: (line: string) => void,
): Promise<PixelVideo> {
  await using running = runner(model, backend)
  return joined(running, request, signal, show)
}

async function joined(
  running: Pick<Runner, 'generate'>,
  request: EffectiveRequest,
  signal: AbortSignal,
  show: (line: string) => void,
): Promise<PixelVideo> {
  const { num_frames: frames, height, width, fps } = request
  const pixels = new Uint8Array(frames * height * width * 3)
  for await (const event of running.generate(request, signal)) {
    if (event.type === 'part') pixels.set(event.part.pixels, event.part.first * height * width * 3)
    if (event.type === 'warning') show(`warning: ${event.message}`)
    if (event.type === 'progress')
      show(
        `${event.stage} ${event.step ?? ''}${event.steps === undefined ? '' : `/${event.steps}`}  ${Math.round(event.value * 100)} %`,
      )
  }
  return { frames, height, width, fps, pixels }
}

/** The first words of the prompt and the seed: `a-blue-bird-flies-left-7.mp4`. */
function fileName({ prompt, seed }: EffectiveRequest): string {
  const words = normalise(prompt).split(' ').join('-').slice(0, 60).replace(/-+$/, '')
  return `${words || 'video'}-${seed}.mp4`
}

export function receiptOf(
  { card }: Model,
  backend: Backend,
  request: EffectiveRequest,
  output: Uint8Array,
): Promise<Receipt> {
  return receiptFrom(factsOf(card), backend, request, output)
}

async function receiptFrom(
  { card, weights, quantization, schedule, sigmas }: ReceiptFacts,
  backend: Backend,
  request: EffectiveRequest,
  output: Uint8Array,
): Promise<Receipt> {
  const [runtime, provider] = backend.name.split('/') as [string, string]
  const key = { policyVersion: '0', tenant: 'local', provider: 'local', weightsSha256: weights }
  return {
    model: card.id,
    revision: card.revision,
    weights_sha256: weights,
    quantization,
    runtime: `${runtime}/${await runtimeVersion(runtime)}`,
    execution_provider: provider,
    adapter_class: null,
    dtype: 'float32',
    rng: 'philox4x32-10',
    seed: request.seed,
    schedule,
    sigmas: [...sigmas(request), 0],
    effective: request,
    inference_source: 'on_device',
    split_step: null,
    content_key: await contentKey(request, key),
    outputs_sha256: [createHash('sha256').update(output).digest('hex')],
    zoetrope_version: await zoetropeVersion(),
    deterministic_class: `${backend.name}/${process.arch}`,
  }
}
