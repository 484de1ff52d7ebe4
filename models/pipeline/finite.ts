/**
 * Numbers that stopped being numbers: found before a picture is made of them.
 */

import { GenerationError } from '../../shared/errors.ts'

/** Where the first NaN or infinity is; −1 where there is none. A loop: `findIndex` boxes every number it shows. */
export function firstNotFinite(values: Float32Array): number {
  for (let at = 0; at < values.length; at++) {
    if (!Number.isFinite(values[at])) return at
  }
  return -1
}

/** @throws GenerationError numerics_failed, with what it was and where. */
export function requireFinite(values: Float32Array, where: string): void {
  const bad = firstNotFinite(values)
  if (bad >= 0) {
    throw new GenerationError(
      'numerics_failed',
      `${where}: value ${bad} is ${values[bad]}, allowed are finite numbers; try another backend or precision`,
    )
  }
}
