/**
 * What a step takes on this device, remembered from the last run: what an estimate is reckoned from before the next.
 *
 * Told for the model's standard clip, whatever was run; how one clip's steps compare with another's is the cost's
 * business (shared/cost.ts). A device that has run nothing yet takes two steps of the standard clip, of which the second
 * counts: the first pays for compiling, which the next run is spared.
 */

import { catalogModelOf, standardClip } from '../shared/catalog.ts'
import { type CostedClip, clipCost } from '../shared/cost.ts'
import { effectiveRequest } from '../shared/generation.ts'
import type { ModelCard } from '../shared/manifest.ts'
import type { ExecutionProvider } from './backend.ts'
import type { Seated } from './house.ts'
import { weightsHash } from './receipt.ts'
import { noteFile, readFile, type Shelf } from './shelf.ts'

export interface PaceBook {
  /** Milliseconds of a step of the model's standard clip; undefined where none was run. */
  readonly of: (card: ModelCard) => Promise<number | undefined>
  /** Notes the milliseconds of a step of some clip. */
  readonly note: (card: ModelCard, clip: CostedClip, milliseconds: number) => Promise<void>
}

/** A machine has one adapter as a rule, so a provider's name stands for it. */
export function paceBook(notes: Shelf, provider: ExecutionProvider): PaceBook {
  const nameOf = async (card: ModelCard) => `pace-${(await weightsHash(card)).slice(0, 16)}-${provider}`
  return {
    of: async (card) => {
      const milliseconds = Number(new TextDecoder().decode((await readFile(notes, await nameOf(card))) ?? undefined))
      return milliseconds > 0 && Number.isFinite(milliseconds) ? milliseconds : undefined
    },
    note: async (card, clip, milliseconds) => {
      const text = (milliseconds * shareOf(card, clip)).toPrecision(6)
      // An estimate is worth nothing that would fail a run, such as room in a full storage.
      await noteFile(notes, await nameOf(card), new TextEncoder().encode(text)).catch(() => {})
    },
  }
}

/** What a step of the standard clip costs, as a share of one of this clip. */
function shareOf(card: ModelCard, clip: CostedClip): number {
  if (card.cost === undefined) return 1
  const standard = clipCost(card.cost, standardClip(catalogModelOf(card).parameters))
  return standard.step / clipCost(card.cost, clip).step
}

/** Times steps: each call is the end of one. */
export function stepTimer() {
  let [began, steps, last] = [0, 0, 0]
  return {
    stepped: () => {
      last = performance.now()
      if (steps++ === 0) began = last
    },
    /** Milliseconds of a step, all but the first; undefined before the second. */
    mean: () => (steps > 1 ? (last - began) / (steps - 1) : undefined),
  }
}

/** Times a step of the standard clip. Gives up without a word where the signal aborts or the device fails. */
export async function trial({ model, runner, steps }: Seated, signal: AbortSignal): Promise<number | undefined> {
  const timer = stepTimer()
  steps.watch({ onStep: async () => timer.stepped() })
  const events = runner.denoise(effectiveRequest({ prompt: 'a fox' }, model.card, 0), signal)
  try {
    for (let heard = await events.next(); !heard.done && timer.mean() === undefined; ) heard = await events.next()
  } catch {
    // The run that matters will say what is wrong.
  } finally {
    await events.return(undefined as never)
  }
  return timer.mean()
}
