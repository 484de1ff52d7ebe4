/**
 * What can be done with a finished clip: its receipt, its files in several formats, and what it can be compared with.
 */

import { type Clip, decibels } from '../frames.ts'
import type { ModelState, VideoRequest } from '../index.ts'
import { byId, create } from './elements.ts'
import type { Kept } from './gallery.ts'
import { reasonInWords } from './places.ts'

/** Where a clip was made, in two or three words. */
export const placeOf = ({ receipt }: Kept): string =>
  ({ on_device: 'This device', in_cloud: 'The cloud', hybrid: 'Both places' })[receipt.inference_source]

/** What a clip is called in a comparison. */
export const titleOf = (kept: Kept): string =>
  `${placeOf(kept)} · ${kept.receipt.model} · ${kept.receipt.effective.num_inference_steps} steps`

/** Everything that decided the clip. */
export function showReceipt({ receipt, clip, reason, begunWith }: Kept): void {
  const { adapter_class: adapter, effective } = receipt
  const rows: Readonly<Record<string, string>> = {
    Place: `${placeOf({ receipt } as Kept)}${reason === undefined ? '' : `, ${reasonInWords(reason)}`}`,
    Seed: String(receipt.seed),
    ...(begunWith === undefined ? {} : { Extends: `${begunWith.frames} frames of seed ${begunWith.seed}` }),
    Model: `${receipt.model}@${receipt.revision}`,
    Size: `${clip.width} × ${clip.height}, ${clip.frames} frames`,
    Steps: String(effective.num_inference_steps),
    Ran: `${receipt.runtime} on ${receipt.execution_provider}${adapter === null ? '' : ` (${adapter})`}`,
    Weights: receipt.weights_sha256,
    File: receipt.outputs_sha256.join(' '),
  }
  const cells = Object.entries(rows).flatMap(([name, value]) => [create('dt', {}, name), create('dd', {}, value)])
  byId('receipt', HTMLElement).replaceChildren(...cells)
}

/** A clip's name on disk, without its ending. */
export const fileName = ({ request, receipt }: Kept): string => {
  const words = (request.prompt ?? '').toLowerCase().match(/[a-z0-9]+/g) ?? []
  return `${words.join('-').slice(0, 60) || 'video'}-${receipt.seed}`
}

type Made = (clip: Clip) => Promise<Blob>

/** Formats beside the file that is there; each encoder is fetched when it is wanted. */
export const formats: Readonly<Record<string, { readonly ending: string; readonly make: Made }>> = {
  webp: {
    ending: 'webp',
    make: async (clip) => new Blob([await (await import('../webp.ts')).encodeWebp(clip)], { type: 'image/webp' }),
  },
  gif: {
    ending: 'gif',
    make: async (clip) => new Blob([(await import('../gif.ts')).encodeGif(clip)], { type: 'image/gif' }),
  },
  poster: { ending: 'png', make: async (clip) => (await import('../poster.ts')).posterOf(clip) },
}

/** Hands a file to the browser's downloads. */
export function save(file: Blob, name: string): void {
  const url = URL.createObjectURL(file)
  create('a', { href: url, download: name }).click()
  // The click has started the download; the address may go.
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}

/** The same prompt and seed another way. */
export interface Rival {
  readonly title: string
  readonly request: VideoRequest
}

/** What a clip can be compared with: the other place, and each other model in the same place. No two extend alike. */
export function rivalsOf({ request, receipt, begunWith }: Kept, models: readonly ModelState[]): Rival[] {
  if (begunWith !== undefined) return []
  const here = receipt.inference_source !== 'in_cloud'
  const same = { ...request, seed: receipt.seed, model: receipt.model }
  const elsewhere = here ? 'only_in_cloud' : 'only_on_device'
  // Steps and guidance are a model's own: another one is asked for what suits it.
  const { numInferenceSteps: _, guidanceScale: __, ...open } = same
  const others = models.filter(({ card }) => card.id !== receipt.model)
  return [
    { title: here ? 'the cloud' : 'this device', request: { ...same, inferenceMode: elsewhere } },
    ...others.map(({ card }) => ({
      title: card.id,
      request: {
        ...open,
        model: card.id,
        inferenceMode: here ? ('only_on_device' as const) : ('only_in_cloud' as const),
      },
    })),
  ]
}

/** How alike two clips are, in decibels; undefined where sizes differ. */
export const likeness = (one: Clip, other: Clip): number | undefined =>
  one.pixels.length === other.pixels.length && one.width === other.width
    ? decibels(one.pixels, other.pixels)
    : undefined
