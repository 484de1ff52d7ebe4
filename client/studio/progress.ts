/**
 * How far a run is, in words.
 */

import type { ClientEvent } from '../index.ts'
import { megabytes } from './choices.ts'

const stageNames: Readonly<Record<string, string>> = {
  download: 'Fetching the model',
  text_encode: 'Reading the prompt',
  denoise: 'Drawing',
  vae_decode: 'Developing frames',
  mux: 'Writing the file',
  upload: 'Storing the file',
}

export function progressIn({ stage: name, value, step, steps, etaMs }: Extract<ClientEvent, { type: 'progress' }>) {
  const fetching = name === 'download' && steps !== undefined && step !== undefined
  const done =
    step === undefined || steps === undefined
      ? ''
      : fetching
        ? `, ${megabytes(step)} of ${megabytes(steps)}`
        : `, step ${step} of ${steps}`
  const left = etaMs === undefined || etaMs < 1000 ? '' : `, about ${Math.ceil(etaMs / 1000)} s left`
  return { value: fetching ? step / steps : value, text: `${stageNames[name] ?? name}${done}${left}` }
}
