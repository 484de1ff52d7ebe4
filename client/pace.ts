/**
 * What a clip takes on this device, remembered from the last run: what an estimate is reckoned from before the next.
 *
 * Told for the model's standard clip, whatever was run; how one clip compares with another is the cost's business
 * (shared/cost.ts).
 */

import * as v from 'valibot'
import { catalogModelOf, standardClip } from '../shared/catalog.ts'
import { type CostedClip, type Pace, paceAt } from '../shared/cost.ts'
import type { ModelCard } from '../shared/manifest.ts'
import type { ExecutionProvider } from './backend.ts'
import { weightsHash } from './receipt.ts'
import { noteFile, readFile, type Shelf } from './shelf.ts'

export interface PaceBook {
  /** The pace of the model's standard clip; undefined where nothing was run. */
  readonly of: (card: ModelCard) => Promise<Pace | undefined>
  /** What that comes to for some clip. */
  readonly at: (card: ModelCard, clip: CostedClip) => Promise<Pace | undefined>
  /** Notes the pace of some clip. What is not told besides its steps stays as it was known. */
  readonly note: (card: ModelCard, clip: CostedClip, pace: Pace) => Promise<void>
}

const milliseconds = v.pipe(v.number(), v.finite(), v.minValue(0))
const paceSchema = v.strictObject({
  step: v.pipe(milliseconds, v.gtValue(0)),
  besides: v.optional(milliseconds),
})

/** A machine has one adapter as a rule, so a provider's name stands for it. */
export function paceBook(notes: Shelf, provider: ExecutionProvider): PaceBook {
  const nameOf = async (card: ModelCard) => `pace-${(await weightsHash(card)).slice(0, 16)}-${provider}`
  const of = async (card: ModelCard) => readPace(await readFile(notes, await nameOf(card)))
  return {
    of,
    at: async (card, clip) => {
      const pace = await of(card)
      return pace && scaled(card, standardOf(card), clip, pace)
    },
    note: async (card, clip, pace) => {
      const known = await of(card)
      const text = JSON.stringify({ ...known, ...scaled(card, clip, standardOf(card), pace) })
      // An estimate is worth nothing that would fail a run, such as room in a full storage.
      await noteFile(notes, await nameOf(card), new TextEncoder().encode(text)).catch(() => {})
    },
  }
}

function readPace(bytes: Uint8Array | undefined): Pace | undefined {
  if (bytes === undefined) return undefined
  try {
    const { step, besides } = v.parse(paceSchema, JSON.parse(new TextDecoder().decode(bytes)))
    return besides === undefined ? { step } : { step, besides }
  } catch {
    return undefined
  }
}

const standardOf = (card: ModelCard): CostedClip => standardClip(catalogModelOf(card).parameters)

/** The pace of one clip as that of another; a card without its cost has one for all. */
const scaled = ({ cost }: ModelCard, from: CostedClip, to: CostedClip, pace: Pace): Pace =>
  cost === undefined ? pace : paceAt(cost, from, to, pace)

/** Times a run, or a rehearsal of one. */
export interface Stopwatch {
  /** A step ends; the first one pays for compiling. */
  readonly stepped: () => void
  /** Steps that were timed. */
  readonly steps: () => number
  /** Of the steps alone, or of a clip that ends now; undefined before the second step. */
  readonly pace: (of: 'steps' | 'clip') => Pace | undefined
  /** As far as it is known: by the second step from this run, before it and besides the steps from earlier ones. */
  readonly expected: () => Pace | undefined
}

/** Starts to time a run whose pace may be known from earlier ones. */
export function stopwatch(known?: Pace): Stopwatch {
  const began = performance.now()
  let [steps, first, last] = [0, 0, 0]
  const step = () => (steps < 2 ? undefined : (last - first) / (steps - 1))
  return {
    stepped: () => {
      last = performance.now()
      if (steps++ === 0) first = last
    },
    steps: () => steps,
    pace: (of) => {
      const each = step()
      if (each === undefined) return undefined
      return of === 'steps'
        ? { step: each }
        : { step: each, besides: Math.max(0, performance.now() - began - steps * each) }
    },
    expected: () => {
      const each = step()
      return each === undefined ? known : { ...known, step: each }
    },
  }
}
