/**
 * Licences that released weights come under, as far as a file's network tells. Shown and recorded at import; the file's
 * own page has the last word.
 */

import type { PartKind } from './rename.ts'

export interface License {
  /** SPDX where there is one. */
  readonly name: string
  /** What a user must know before using the weights. */
  readonly note: string
}

export const licenses: Readonly<Record<PartKind, License>> = {
  'ltx-dit': ltx(),
  'ltx-vae-decoder': ltx(),
  'ltx-upscaler': ltx(),
  'wan-dit': { name: 'Apache-2.0', note: 'as released by Wan-AI; derived weights may differ' },
  'taehv-decoder': { name: 'MIT', note: 'as released by madebyollin' },
  t5: { name: 'Apache-2.0', note: 'as released by Google' },
  'motion-module': {
    name: 'CreativeML-OpenRAIL-M',
    note: 'use is restricted; the terms must be passed on with the weights',
  },
}

function ltx(): License {
  return {
    name: 'LTXV Open Weights or OpenRAIL-M',
    note: 'differs by version: read the one beside your file; weights are not passed on, no model is trained on outputs',
  }
}
