/**
 * `zoetrope generate`: a prompt to a video file, and the receipt of how it came about.
 */

import { createHash, randomInt } from 'node:crypto'
import { resolve } from 'node:path'
import { GenerationError } from '../../../shared/errors.ts'
import { type EffectiveRequest, effectiveRequest } from '../../../shared/generation.ts'
import { receiptOf } from '../../../shared/receipt.ts'
import type { Backend } from '../../pipeline/backend.ts'
import { pictureAt } from '../../pipeline/first-frame.ts'
import { type Runner, runner, type SplitRunner } from '../../pipeline/generate.ts'
import type { Model } from '../../pipeline/model.ts'
import type { Start } from '../../pipeline/split.ts'
import { normalise } from '../../world/captions.ts'
import { nodeBackend } from '../backend.ts'
import type { Arguments, Command, Surroundings } from '../command.ts'
import { knownModel } from '../known-model.ts'
import { defaultModel } from '../models.ts'
import { readPictureFile } from '../picture-file.ts'
import { makerOf } from '../receipts.ts'
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
    'first-frame': { kind: 'text', value: 'FILE', help: 'a picture that the video begins with, of any size' },
  },
  run: generate,
}

async function generate(given: Arguments, { signal, say, show, emit }: Surroundings): Promise<void> {
  const began = performance.now()
  const backend = nodeBackend()
  const chosen = await knownModel(given.text('model') ?? defaultModel)
  const { card } = chosen
  const seed = given.number('seed') ?? randomInt(0, 2 ** 32)
  const asked = effectiveRequest(requestOf(given, seed), card, seed)
  const picture = await fittedPicture(given.text('first-frame'), asked)
  const request = picture === undefined ? asked : { ...asked, frame_images: picture.frame_images }
  const path = resolve(given.text('output') ?? fileName(request))
  const extension = extensionOf(path)
  await requireWritable(path)
  await using running = await chosen.open(backend)
  const start = picture === undefined ? {} : { given: await encoded(running, picture.pixels, request) }
  const told = (line: string) => (line.startsWith('warning') ? say(line) : show(line))
  const video = await joined(running, request, start, signal, told)
  const bytes = await encodeVideo(video, extension)
  signal.throwIfAborted()
  await writeVideo(path, bytes)
  const receipt = await receiptOf(
    await makerOf(chosen, backend),
    { ...request, output_format: extension.slice(1) as EffectiveRequest['output_format'] },
    [createHash('sha256').update(bytes).digest('hex')],
  )
  say(
    `${path}  (${video.frames} frames of ${video.width}x${video.height}, seed ${seed}, ${((performance.now() - began) / 1000).toFixed(1)} s)`,
  )
  emit({ output: path, receipt })
}

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

/** A picture as the request takes it, named by its hash. */
async function fittedPicture(path: string | undefined, { height, width }: EffectiveRequest) {
  if (path === undefined) return undefined
  const pixels = pictureAt(await readPictureFile(path), height, width)
  const image = createHash('sha256').update(pixels).digest('hex')
  return { pixels, frame_images: [{ image, frame_type: 'first_frame' as const }] }
}

/** @throws GenerationError unsupported_capability for a model that begins with none. */
async function encoded({ encode }: SplitRunner, pixels: Uint8Array, { model, height, width }: EffectiveRequest) {
  if (encode !== undefined) return encode(pixels, height, width)
  throw new GenerationError(
    'unsupported_capability',
    `--first-frame: got a picture, ${model} begins with none; name another model or leave it out`,
  )
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
  return joined(running, request, {}, signal, show)
}

async function joined(
  running: Runner,
  request: EffectiveRequest,
  start: Start,
  signal: AbortSignal,
  show: (line: string) => void,
): Promise<PixelVideo> {
  const { num_frames: frames, height, width, fps } = request
  const pixels = new Uint8Array(frames * height * width * 3)
  for await (const event of running.generate(request, signal, start)) {
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
