/**
 * What a request may cost, in millionths of a dollar: the ceiling reserved and the sum charged are one formula.
 */

import type { CatalogModel } from '../shared/catalog.ts'
import { type EffectiveVideo, stepsOf } from '../shared/effective.ts'

/** Rounded up, so that a reservation always covers the charge. */
export function costOf({ pricing }: CatalogModel, request: EffectiveVideo): number {
  const each = Number(pricing.usd) * 1e6 * unitsOf(pricing.unit, request)
  // Decimal prices times float units may come out a hair above a whole number.
  return Math.ceil(Math.round(each * request.n * 1e3) / 1e3)
}

function unitsOf(unit: CatalogModel['pricing']['unit'], request: EffectiveVideo): number {
  switch (unit) {
    case 'run':
      return 1
    case 'video_second':
      return request.duration ?? request.num_frames / request.fps
    case 'megapixel_frame_step':
      return ((request.width * request.height) / 1e6) * request.num_frames * stepsOf(request)
    default:
      return unit satisfies never
  }
}
