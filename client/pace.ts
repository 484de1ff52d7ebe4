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
    note: async (card, clip, pace) => {
      const known = await of(card)
      const text = JSON.stringify({ ...known, ...standardPace(card, clip, pace) })
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

/** A clip's pace as that of the standard clip. */
function standardPace(card: ModelCard, clip: CostedClip, pace: Pace): Pace {
  return card.cost === undefined ? pace : paceAt(card.cost, clip, standardClip(catalogModelOf(card).parameters), pace)
}

/** Times a run from here on: each `stepped` is the end of a step, the first of which pays for compiling. */
export function stopwatch() {
  const began = performance.now()
  let [steps, first, last] = [0, 0, 0]
  return {
    stepped: () => {
      last = performance.now()
      if (steps++ === 0) first = last
    },
    /** Of the steps alone, or of a clip that ends now; undefined before the second step. */
    pace: (of: 'steps' | 'clip'): Pace | undefined => {
      if (steps < 2) return undefined
      const step = (last - first) / (steps - 1)
      return of === 'steps' ? { step } : { step, besides: Math.max(0, performance.now() - began - steps * step) }
    },
  }
}
