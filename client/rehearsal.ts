/**
 * A rehearsal: part of a model's standard clip, made as a run makes it and thrown away.
 *
 * Once to compile what the next run needs, where nothing has run yet, and where the device's pace is not known once more
 * to time it. Gives up without a word where a run comes between or the device fails: the run that matters will say what
 * is wrong.
 */

import { latentStrides } from '../models/networks/autoencoder.ts'
import { catalogModelOf, standardClip } from '../shared/catalog.ts'
import { GenerationError } from '../shared/errors.ts'
import { type EffectiveRequest, effectiveRequest } from '../shared/generation.ts'
import type { ModelCard } from '../shared/manifest.ts'
import { latentShape } from '../shared/video.ts'
import { type House, type Seated, seat } from './house.ts'
import { decoded, denoised } from './making.ts'
import { stopwatch } from './pace.ts'

/** As long as most prompts are: graphs are compiled for a length. */
const prompt = 'a blue bird flies left over the sea'
/** Of a checkpoint that no run goes on from. */
const key = 'rehearsal'
/** Rows that are timed; the first pays for what the others are spared. */
const timedRows = 3

/** Rehearses a model, keeping the backend to itself; a run ends it by `house.rehearsal`. */
export async function rehearse(house: House, card: ModelCard, signal: AbortSignal, onLife: () => void): Promise<void> {
  const seated = await seat(house, card, signal, onLife)
  const release = await house.turn()
  const own = new AbortController()
  house.rehearsal = own
  const stop = AbortSignal.any([signal, own.signal])
  const paced = async () => (await house.paces.of(card))?.besides !== undefined
  const play = (rows: number, format: 'mp4' | 'gif') => played(house, seated, { rows, format }, stop, onLife)
  try {
    if (seated.steps.loads() > 0 && (await paced())) return
    const format = await play(1, 'mp4').then(
      () => 'mp4' as const,
      (error: unknown) => {
        if (isUnwritable(error)) return 'gif' as const
        throw error
      },
    )
    if (!(await paced())) await play(timedRows, format)
  } catch {
    // Said above.
  } finally {
    delete house.rehearsal
    release()
  }
}

/** Whether all went well up to the file: a browser without encoders is asked for GIFs. */
const isUnwritable = (error: unknown): boolean =>
  error instanceof GenerationError && error.code === 'format_unavailable'

/** The first rows, then frames and file of what the last of them took the clip to be. */
async function played(
  house: House,
  seated: Seated,
  { rows, format }: { readonly rows: number; readonly format: 'mp4' | 'gif' },
  signal: AbortSignal,
  onLife: () => void,
): Promise<void> {
  const { card } = seated.model
  const request = effectiveRequest({ prompt, output_format: format }, card, 0)
  const place = { index: 0, of: 1 }
  const watch = stopwatch()
  const note = async (of: 'steps' | 'clip') => {
    const pace = watch.pace(of)
    if (pace !== undefined) await house.paces.note(card, standardClip(catalogModelOf(card).parameters), pace)
  }
  // Of a rehearsal that was cut, perhaps.
  await house.checkpoints.remove(key)
  let estimate = new Float32Array()
  const watched = {
    key,
    watch,
    see: (seen: Float32Array) => {
      estimate = seen.slice()
    },
  }
  for await (const { type } of denoised(house, seated, request, { ...place, ...watched }, signal)) {
    onLife()
    if (type === 'progress' && watch.steps() === rows) break
  }
  await house.checkpoints.remove(key)
  await note('steps')
  for await (const _ of decoded(seated, request, latentsOf(request, estimate), place, signal)) onLife()
  await note('clip')
}

/** As if the plan had ended here. */
function latentsOf({ num_frames: frames, height, width }: EffectiveRequest, data: Float32Array) {
  const cells = latentShape({ frames, height, width }, latentStrides, 1)
  const channels = data.length / (cells.frames * cells.height * cells.width)
  return { data, shape: { ...cells, channels }, step: 1, steps: 1 }
}
