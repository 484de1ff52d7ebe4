/**
 * The engine: a request to finished files on this device, as events. Runs in a worker of its own (thread.ts).
 *
 * Settles the request's dials by the model's card, seats the model (house.ts) and has its outputs made (making.ts), one
 * generation at a time. Knows no page and no service.
 */

import { type Picture, pictureAt } from '../models/pipeline/first-frame.ts'
import type { PromptEmbeddings } from '../models/pipeline/known-texts.ts'
import { resolveRequest, type Warning } from '../shared/effective.ts'
import { GenerationError } from '../shared/errors.ts'
import type { EffectiveRequest } from '../shared/generation.ts'
import type { ModelCard } from '../shared/manifest.ts'
import { type Receipt, receiptOf } from '../shared/receipt.ts'
import { parseRequest } from '../shared/request.ts'
import { deviceModelOf, isOwn } from './device-model.ts'
import { sha256 } from './hash.ts'
import { type EngineOptions, furnish, goldenVerdict, type House, lazily, type Seated, seat } from './house.ts'
import { encodable, type Handover, type MadeOutput, type MakingEvent, made } from './making.ts'
import { eventQueue } from './queue.ts'
import { makerOf } from './receipt.ts'
import { rehearse } from './rehearsal.ts'

/** A request and the seed to use where it names none; names are the wire's. */
export interface EngineRequest {
  readonly request: unknown
  readonly seed: number
  /** Embeddings of its prompts, where they were encoded elsewhere. */
  readonly texts?: readonly (readonly [prompt: string, text: PromptEmbeddings])[]
  /** What to go on from, one for each output; without it the run begins with noise. */
  readonly from?: readonly Handover[]
  /** A picture that the clip begins with, of any size. */
  readonly firstFrame?: Picture
}

export type EngineEvent =
  | { readonly type: 'begun'; readonly effective: EffectiveRequest; readonly warnings: readonly Warning[] }
  | MakingEvent
  | { readonly type: 'output'; readonly output: MadeOutput }
  | { readonly type: 'finished'; readonly receipt: Receipt }

export interface ModelState {
  readonly card: ModelCard
  /** Whether it is the one used when none is named. */
  readonly standard: boolean
  readonly cached: boolean
  readonly golden: 'pass' | 'fail' | 'untested'
  /** Milliseconds of a step of its standard clip on this device, where one was run. */
  readonly msPerStep?: number
  /** Milliseconds of that clip besides its steps, where a whole one was made. */
  readonly msBesides?: number
}

export interface Engine {
  readonly generate: (request: EngineRequest, signal: AbortSignal) => AsyncIterable<EngineEvent>
  /**
   * Downloads a model, loads the runtime and checks the adapter, so that the next generation begins at once. Says whether
   * the weights stay on this device: without room for them they are in memory alone.
   */
  readonly prefetch: (
    id: string,
    signal: AbortSignal,
    onProgress: (received: number, total: number) => void,
  ) => Promise<boolean>
  /**
   * Makes a part of one of our models' standard clip and throws it away, unless a run comes between: the next generation
   * compiles nothing, and how long it will take is known. Gives a sign of life as often as it can.
   */
  readonly rehearse: (id: string, signal: AbortSignal, onLife: () => void) => Promise<void>
  readonly models: (signal: AbortSignal) => Promise<ModelState[]>
  readonly remove: (id: string, signal: AbortSignal) => Promise<void>
  /** Settles when the GPU is gone: this engine is of no more use. */
  readonly lost: Promise<GenerationError>
}

export function createEngine(options: EngineOptions): Engine {
  const loss = Promise.withResolvers<GenerationError>()
  const house = lazily(() => furnish(options, loss.resolve))
  return {
    lost: loss.promise,
    async *generate(request, signal) {
      yield* generation(await house(), request, signal)
    },
    prefetch: async (id, signal, onProgress) => {
      const context = await house()
      const card = await context.library.card(id, signal)
      await seat(context, card, signal, onProgress)
      return context.store.durable && context.library.cached(card)
    },
    rehearse: async (id, signal, onLife) => {
      const context = await house()
      const card = await context.library.card(id, signal)
      if (isOwn(card)) await rehearse(context, card, signal, onLife)
    },
    models: async (signal) => {
      const { library, notes, paces } = await house()
      const standard = await library.standard(signal)
      const cards = await Promise.all((await library.ids(signal)).map((id) => library.card(id, signal)))
      return Promise.all(
        cards.map(async (card) => {
          const pace = await paces.of(card)
          return {
            card,
            standard: card.id === standard,
            cached: await library.cached(card),
            golden: options.provider === 'wasm' ? 'pass' : await goldenVerdict(notes, card),
            ...(pace === undefined ? {} : { msPerStep: pace.step }),
            ...(pace?.besides === undefined ? {} : { msBesides: pace.besides }),
          }
        }),
      )
    },
    remove: async (id, signal) => {
      const { library, store } = await house()
      const card = await library.card(id, signal)
      for (const { sha256: name } of library.files(card)) await store.remove(name)
    },
  }
}

async function* generation(
  house: House,
  { request, seed, texts = [], from, firstFrame }: EngineRequest,
  signal: AbortSignal,
): AsyncGenerator<EngineEvent> {
  const parsed = parseRequest(request)
  const card = await house.library.card(parsed.model ?? (await house.library.standard(signal)), signal)
  // Refused before a byte of weights is fetched.
  const { effective: resolved, warnings } = resolveFor(card, parsed, seed)
  const picture = firstFrame === undefined ? undefined : await fittedPicture(firstFrame, resolved, card)
  const effective = picture === undefined ? resolved : { ...resolved, frame_images: picture.frame_images }
  yield { type: 'begun', effective, warnings }
  for (const [prompt, text] of texts) house.texts.keep(card.id, prompt, text)
  const seated = yield* seating(house, card, signal)
  const hashes: string[] = []
  house.rehearsal?.abort()
  const release = await house.turn()
  try {
    const given = picture && (await seated.runner.encode?.(picture.pixels, effective.height, effective.width))
    for (let index = 0; index < effective.n; index++) {
      const one = { ...effective, n: 1, seed: (effective.seed + index) % 2 ** 32 }
      const place = { index, of: effective.n, from: from?.[index], given }
      const output = yield* made(house, seated, one, place, signal)
      hashes.push(output.sha256)
      yield { type: 'output', output }
    }
  } finally {
    release()
  }
  const split = from === undefined ? {} : { inference_source: 'hybrid' as const, split_step: from[0]?.step ?? null }
  const maker = await makerOf(seated.model, seated.backend)
  yield { type: 'finished', receipt: await receiptOf(maker, effective, hashes, split) }
}

function resolveFor(card: ModelCard, parsed: ReturnType<typeof parseRequest>, seed: number) {
  const { effective, warnings } = resolveRequest(parsed, deviceModelOf(card), { seed })
  const { num_inference_steps: steps, guidance_scale: guidance, scheduler } = effective
  if (steps === null || guidance === null || scheduler === null) {
    throw new GenerationError('model_format', `${card.id}: its card lacks steps, guidance or a sampler`)
  }
  if (!encodable.includes(effective.output_format)) {
    const available = [...encodable]
    throw new GenerationError(
      'format_unavailable',
      `output_format: got ${effective.output_format}, allowed here are ${available.join(', ')}`,
      { available },
    )
  }
  return { effective: { ...effective, num_inference_steps: steps, guidance_scale: guidance, scheduler }, warnings }
}

/** A picture as the request takes it, named by its hash. @throws GenerationError unsupported_capability. */
async function fittedPicture(picture: Picture, { height, width }: EffectiveRequest, card: ModelCard) {
  if (!isOwn(card)) {
    throw new GenerationError(
      'unsupported_capability',
      `first_frame: got a picture, ${card.id} begins with none; name another model or leave it out`,
      { pointer: '/frame_images' },
    )
  }
  const pixels = pictureAt(picture, height, width)
  const frame = { image: await sha256(Uint8Array.from(pixels)), frame_type: 'first_frame' as const }
  return { pixels, frame_images: [frame] }
}

/** seat() with its downloads as events. */
async function* seating(house: House, card: ModelCard, signal: AbortSignal): AsyncGenerator<EngineEvent, Seated> {
  const heard = eventQueue<EngineEvent>()
  const finished = seat(house, card, signal, (step, steps) => {
    heard.replace({ type: 'progress', value: 0, stage: 'download', step, steps, inferenceSource: 'on_device' })
  })
  finished.then(heard.end, heard.end)
  yield* heard.events
  return finished
}
