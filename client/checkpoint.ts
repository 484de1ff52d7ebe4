/**
 * Checkpoints of a generation: the latents after each step, kept in two slots so that one is always whole.
 *
 * A slot is the hash in hex of what follows: step and two lengths as int32, then latents and the estimate as float32. A
 * torn slot does not hash and is passed over. `stepping` wraps a backend: it hands on what every denoising step made and, in a resumed
 * run, answers the steps already done from the checkpoint, so the pipeline neither knows nor needs to.
 */

import type { Backend, HostTensor, Session } from '../models/pipeline/backend.ts'
import type { Latents } from '../models/pipeline/split.ts'
import { contentKey, type EffectiveRequest } from '../shared/generation.ts'
import { localKey } from '../shared/receipt.ts'
import { hashOf, sha256 } from './hash.ts'
import type { Runnable } from './runnable.ts'
import type { Shelf } from './shelf.ts'

/** After `step` steps: what the next one starts from. */
export interface Checkpoint {
  readonly step: number
  readonly latents: Float32Array
  /** The clean estimate, which second-order samplers remember. */
  readonly estimate: Float32Array
}

export interface CheckpointStore {
  readonly save: (key: string, checkpoint: Checkpoint) => Promise<void>
  /** The furthest whole checkpoint. */
  readonly load: (key: string) => Promise<Checkpoint | undefined>
  readonly remove: (key: string) => Promise<void>
}

const slots = ['a', 'b'] as const
const hashBytes = 64
/** Step and two lengths, as int32. */
const counts = 3

export function checkpointStore(shelf: Shelf): CheckpointStore {
  const nameOf = (key: string, slot: string) => `${key}.${slot}`
  return {
    save: async (key, checkpoint) => {
      using drawer = await shelf.open(nameOf(key, slots[checkpoint.step % 2] as string))
      drawer.write(await encodeCheckpoint(checkpoint), 0)
      drawer.flush()
    },
    load: async (key) => {
      const names = (await shelf.names()).filter((name) => slots.some((slot) => name === nameOf(key, slot)))
      const found = await Promise.all(
        names.map(async (name) => {
          using drawer = await shelf.open(name)
          return decodeCheckpoint(drawer.read(0, drawer.size()))
        }),
      )
      return found.filter((each) => each !== undefined).sort((a, b) => b.step - a.step)[0]
    },
    remove: async (key) => {
      for (const slot of slots) await shelf.remove(nameOf(key, slot))
    },
  }
}

/**
 * Everything that decides the latents: the content key without the file's format and without where a run stops, over all
 * weight files, the plan and the latents that the run goes on from.
 */
export async function checkpointKey(
  { hashes, schedule }: Pick<Runnable, 'hashes' | 'schedule'>,
  { stop_step: _, ...request }: EffectiveRequest,
  from?: Pick<Latents, 'data' | 'step'>,
): Promise<string> {
  const key = localKey(await hashOf([...hashes, schedule]), request)
  const whole = await contentKey({ ...request, output_format: 'latents' }, key)
  if (from === undefined) return whole
  const { buffer, byteOffset, byteLength } = from.data
  return `${whole}.${from.step}.${(await sha256(new Uint8Array(buffer, byteOffset, byteLength))).slice(0, 16)}`
}

export async function encodeCheckpoint({ step, latents, estimate }: Checkpoint): Promise<Uint8Array> {
  const body = new Uint8Array(4 * (counts + latents.length + estimate.length))
  new Int32Array(body.buffer, 0, counts).set([step, latents.length, estimate.length])
  new Float32Array(body.buffer, 4 * counts).set(latents)
  new Float32Array(body.buffer, 4 * (counts + latents.length)).set(estimate)
  const bytes = new Uint8Array(hashBytes + body.length)
  bytes.set(new TextEncoder().encode(await sha256(body)))
  bytes.set(body, hashBytes)
  return bytes
}

/** The checkpoint, or undefined where a single byte is wrong. */
export async function decodeCheckpoint(bytes: Uint8Array): Promise<Checkpoint | undefined> {
  const body = bytes.slice(hashBytes)
  const hash = new TextDecoder().decode(bytes.subarray(0, hashBytes))
  if (body.length < 4 * counts || (await sha256(body)) !== hash) return
  // Once the hash holds, the counts are those that were written.
  const [step, latents, estimate] = new Int32Array(body.buffer, 0, counts) as unknown as [number, number, number]
  return {
    step,
    latents: new Float32Array(body.buffer, 4 * counts, latents),
    estimate: new Float32Array(body.buffer, 4 * (counts + latents), estimate),
  }
}

/** What one generation wants of the backend it runs on. */
export interface Watch {
  readonly from?: Checkpoint | undefined
  /** Steps that were done elsewhere and are not taken here. */
  readonly start?: number
  readonly onStep: (checkpoint: Checkpoint) => Promise<void>
}

export interface SteppingBackend extends Backend {
  /** Begins a generation: steps are counted from one, or on from where it was taken over. */
  readonly watch: (watch: Watch) => void
  /** How many graphs it has compiled so far. */
  readonly loads: () => number
}

/** A backend whose denoising steps (graphs fed a `row`) are seen, and skipped where a checkpoint has them. */
export function stepping(inner: Backend): SteppingBackend {
  let current: Watch = { onStep: async () => {} }
  let [step, loads] = [0, 0]
  const stepped = async (session: Session, feeds: Parameters<Session['run']>[0]) => {
    step += 1
    const { from } = current
    if (from !== undefined && step <= from.step) return replayed(feeds, from)
    const outputs = await session.run(feeds)
    const [latents, estimate] = [outputs.next?.data as Float32Array, outputs.estimate?.data as Float32Array]
    // What is not finite is the pipeline's to refuse, and nothing to go on from.
    if (latents.every(Number.isFinite)) await current.onStep({ step, latents, estimate })
    return outputs
  }
  return {
    name: inner.name,
    watch: (watch) => {
      current = watch
      step = watch.start ?? 0
    },
    loads: () => loads,
    load: async (source) => {
      const session = await inner.load(source)
      loads += 1
      return {
        run: (feeds, into) => ('row' in feeds ? stepped(session, feeds) : session.run(feeds, into)),
        [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
      }
    },
  }
}

function replayed({ latents }: Readonly<Record<string, HostTensor>>, from: Checkpoint) {
  const tensor = (data: Float32Array): HostTensor => ({ ...(latents as HostTensor), data })
  return { next: tensor(from.latents), estimate: tensor(from.estimate) }
}
