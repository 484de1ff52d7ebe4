/**
 * What an engine holds: the runtime, a backend, the stores, and the model that sits on the backend.
 *
 * Everything is fetched at its first use and once. A model is seated when its weights are whole and the adapter has
 * answered the golden forward. Knows no request.
 */

import type { SplitRunner } from '../models/pipeline/generate.ts'
import type { GenerationError } from '../shared/errors.ts'
import type { ModelCard } from '../shared/manifest.ts'
import { type ExecutionProvider, type WebBackend, webBackend } from './backend.ts'
import { type CheckpointStore, checkpointStore, type SteppingBackend, stepping } from './checkpoint.ts'
import type { ModelState } from './engine.ts'
import { type GoldenResult, goldenForward, requirePass } from './golden.ts'
import { type ModelLibrary, modelLibrary } from './models.ts'
import { type PaceBook, paceBook } from './pace.ts'
import { weightsHash } from './receipt.ts'
import type { Runnable } from './runnable.ts'
import { buildFor, capabilities, loadRuntime, type OrtModule } from './runtime.ts'
import { runtimeVersion } from './runtime-files.ts'
import { isFull, memoryShelf, noteFile, openShelf, readFile, type Shelf } from './shelf.ts'
import { createStore, type Store } from './store.ts'
import { type TextShelf, textShelf } from './texts.ts'

export interface EngineOptions {
  readonly provider: ExecutionProvider
  /** Address of the runtime's files, ending in a slash. */
  readonly runtimeUrl: string
  /** Address of cards and weights, ending in a slash. */
  readonly modelsUrl: string
  readonly threads: number
  /** Keys of which one must have signed the weights' manifest; none where nothing is pinned. */
  readonly manifestKeys: readonly string[]
}

/** What an engine holds from its first use on. */
export interface House {
  readonly options: EngineOptions
  readonly store: Store
  readonly notes: Shelf
  readonly library: ModelLibrary
  readonly checkpoints: CheckpointStore
  readonly paces: PaceBook
  readonly texts: TextShelf
  readonly runtime: () => Promise<OrtModule>
  readonly backend: () => Promise<WebBackend>
  /** The backend runs one generation at a time. */
  readonly turn: () => Promise<() => void>
  /** Ends the rehearsal that is under way: a run has come. */
  rehearsal?: AbortController
  /** The model in memory or on its way there; the last one asked for. */
  seating?: { readonly id: string; readonly listeners: Set<Listener>; readonly done: Promise<Seated> }
}

export interface Seated {
  readonly model: Runnable
  readonly backend: WebBackend
  readonly steps: SteppingBackend
  readonly runner: SplitRunner
}

export function lazily<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    // A failed start may be tried again.
    made.catch(() => (made = undefined))
    return made
  }
}

export async function furnish(options: EngineOptions, onLoss: (loss: GenerationError) => void): Promise<House> {
  const store = createStore({ shelf: await openShelf('zoetrope-weights') })
  const notes = await openShelf('zoetrope-notes')
  const texts = textShelf()
  const runtime = lazily(() => loadRuntime(buildFor(capabilities()), options.runtimeUrl, options.threads))
  return {
    options,
    store,
    notes,
    library: modelLibrary({
      base: options.modelsUrl,
      store: spilling(store),
      cards: notes,
      keys: options.manifestKeys,
      texts,
    }),
    texts,
    paces: paceBook(notes, options.provider),
    checkpoints: checkpointStore(await openShelf('zoetrope-checkpoints')),
    runtime,
    turn: turns(),
    backend: lazily(async () => {
      const backend = await webBackend(await runtime(), options.provider)
      backend.lost.then(onLoss)
      return backend
    }),
  }
}

/** Bytes of a file that a tab can hold beside the copy that the runtime takes. */
const mostSpilt = 2 ** 28

/** What finds no room on disk is held in memory, for as long as the engine lives; nothing of it is called ready. */
function spilling(store: Store): Store {
  const memory = createStore({ shelf: memoryShelf() })
  return {
    ...store,
    read: (file, ...words) =>
      store.read(file, ...words).catch((error: unknown) => {
        if (!isFull(error) || file.bytes > mostSpilt) throw error
        return memory.read(file, ...words)
      }),
  }
}

export type Listener = (received: number, total: number) => void

/** Puts a model on the backend, or finds it there. Who asks while it is on its way waits for the same one. */
export function seat(house: House, card: ModelCard, signal: AbortSignal, onProgress: Listener): Promise<Seated> {
  const id = `${card.id}@${card.revision}`
  const { listeners, done } = house.seating?.id === id ? house.seating : begin(house, card, signal, id)
  listeners.add(onProgress)
  // Whoever asks for a model that sits there already, too: what a listener holds of its request is held no longer.
  const leave = () => listeners.delete(onProgress)
  done.then(leave, leave)
  return done
}

function begin(house: House, card: ModelCard, signal: AbortSignal, id: string): NonNullable<House['seating']> {
  const listeners = new Set<Listener>()
  const done = seatAnew(house, card, signal, (received, total) => {
    for (const listener of listeners) listener(received, total)
  })
  const seating = { id, listeners, done }
  house.seating = seating
  done.catch(() => {
    if (house.seating === seating) delete house.seating
  })
  return seating
}

/** Weights and runtime are fetched at the same time. The last model's sessions go when the new one is sure. */
async function seatAnew(house: House, card: ModelCard, signal: AbortSignal, onProgress: Listener): Promise<Seated> {
  const before = house.seating?.done
  const [model, backend] = await Promise.all([house.library.load(card, signal, onProgress), house.backend()])
  await requireGolden(house, model, backend)
  const steps = stepping(backend)
  const fresh = { model, backend, steps, runner: model.open(steps) }
  const release = await house.turn()
  await before?.then(
    (old) => old.runner[Symbol.asyncDispose](),
    () => {},
  )
  release()
  return fresh
}

/** One holder at a time, in order. */
function turns(): () => Promise<() => void> {
  let last: Promise<void> = Promise.resolve()
  return async () => {
    const before = last
    const { promise, resolve } = Promise.withResolvers<void>()
    last = promise
    await before
    return resolve
  }
}

/** Asks once per adapter, model and runtime; wasm is the reference itself. */
async function requireGolden({ notes, runtime }: House, model: Runnable, backend: WebBackend): Promise<void> {
  if (backend.adapterClass === null) return
  const adapter = backend.adapterClass.replace(/\W+/g, '_')
  const name = `${goldenPrefix(await weightsHash(model.card))}${adapter}-${runtimeVersion}.json`
  const known = readGolden(await readFile(notes, name))
  requirePass(known ?? (await measured()), backend.adapterClass)

  async function measured(): Promise<GoldenResult> {
    await using reference = await webBackend(await runtime(), 'wasm')
    const fresh = await goldenForward(await model.probe(), backend, reference)
    await noteFile(notes, name, new TextEncoder().encode(JSON.stringify(fresh)))
    return fresh
  }
}

/** The verdict on any adapter of this machine; a machine rarely has two. */
export async function goldenVerdict(notes: Shelf, card: ModelCard): Promise<ModelState['golden']> {
  const prefix = goldenPrefix(await weightsHash(card))
  const name = (await notes.names()).find((each) => each.startsWith(prefix))
  return (name === undefined ? undefined : readGolden(await readFile(notes, name)))?.verdict ?? 'untested'
}

/** Verdicts of before, on a smaller step, lie under `golden-`: they say nothing of this one. */
const goldenPrefix = (hash: string): string => `golden-step-${hash.slice(0, 16)}-`

function readGolden(bytes: Uint8Array | undefined): GoldenResult | undefined {
  if (bytes === undefined) return undefined
  try {
    const data = JSON.parse(new TextDecoder().decode(bytes)) as GoldenResult
    return data.verdict === 'pass' || data.verdict === 'fail' ? data : undefined
  } catch {
    return undefined
  }
}
