/**
 * What the steps of a clip are told, worked out once for many steps: the vectors that modulate by time, guidance and the
 * text's mean, and what each layer reads of the text. Neither depends on the latents.
 *
 * Values of a kind lie side by side along the last axis, in the order in which the network asks for them; the graph that
 * works them out and the step that takes them trace the same network, so neither names a place in it.
 *
 *   R rows of the plan · B 1 or 2 · L tokens
 */

import { input, scope, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { type ConditionKind, type Conditions, type DitConfig, type DitInputs, dit } from '../networks/dit.ts'

/** Rows worked out at once: weights come from memory once, so eight rows take hardly longer than one. */
export const rowsAtOnce = 8

type Told = Omit<DitInputs, 'latents' | 'textBias' | 'conditions'>

/**
 * text [B, L, D], pooled [B, D], time [R, 1, features] and, for a guided network, guidance [1, features]
 * → modulation [R, B, ·] and reading [B, L, ·].
 */
export function conditionsGraph(denoiser: DitConfig, batch: 1 | 2, length: number): Record<ConditionKind, Value> {
  const { textWidth, featureWidth } = denoiser
  const text = input('text', [batch, length, textWidth])
  const pooled = input('pooled', [batch, textWidth])
  const time = input('time', [rowsAtOnce, 1, featureWidth])
  const guidance = denoiser.guided ? input('guidance', [1, featureWidth]) : undefined
  const all = rowsAtOnce * batch
  /** What is the same for each text or each row, [·, width], for all [R·B, width]. */
  const everywhere = (x: Value, lead: readonly number[], width: number) =>
    op.reshape(op.broadcast(op.reshape(x, [...lead, width]), [rowsAtOnce, batch, width]), [all, width])
  const rows = {
    // Only readings depend on it.
    text: op.broadcast(op.constant(0), [all, length, textWidth]),
    pooled: everywhere(pooled, [1, batch], textWidth),
    time: op.reshape(everywhere(time, [rowsAtOnce, 1], featureWidth), [all, 1, featureWidth]),
    guidance: guidance && everywhere(guidance, [1, 1], featureWidth),
  }
  const modulation = op.concatenate(asked(denoiser, rows).modulation.flat(), -1)
  const readings = asked(denoiser, {
    ...rows,
    text,
    pooled,
    time: op.slice(rows.time, 0, 0, batch),
    guidance: rows.guidance && op.slice(rows.guidance, 0, 0, batch),
  })
  return {
    modulation: op.reshape(modulation, [rowsAtOnce, batch, op.at(modulation.shape, 3)]),
    reading: op.concatenate(readings.reading.flat(), -1),
  }
}

/** Takes conditions from the inputs modulation [B, ·] and reading [B, L, ·]. */
export function toldConditions(denoiser: DitConfig, batch: 1 | 2, length: number): Conditions {
  const { textWidth, featureWidth } = denoiser
  const blank = (shape: readonly number[]) => op.broadcast(op.constant(0), shape)
  const groups = asked(denoiser, {
    text: blank([1, length, textWidth]),
    pooled: blank([1, textWidth]),
    time: blank([1, 1, featureWidth]),
    guidance: denoiser.guided ? blank([1, featureWidth]) : undefined,
  })
  const width = (kind: ConditionKind) => groups[kind].flat().reduce((total, value) => total + lastSize(value), 0)
  const given = {
    modulation: input('modulation', [batch, width('modulation')]),
    reading: input('reading', [batch, length, width('reading')]),
  }
  // With one text the vectors lie in one row, and nothing has to be laid out anew for each.
  const packed = {
    ...given,
    modulation: batch === 1 ? op.reshape(given.modulation, [width('modulation')]) : given.modulation,
  }
  const taken = { modulation: 0, reading: 0 }
  const answered = { modulation: 0, reading: 0 }
  // What it would have computed is known already, in size.
  return (kind) =>
    op.at(groups[kind], answered[kind]++).map((value) => {
      const [from, size] = [taken[kind], lastSize(value)]
      taken[kind] += size
      const part = op.slice(packed[kind], -1, from, taken[kind])
      return kind === 'reading' ? part : op.reshape(part, [batch, 1, 1, size])
    })
}

/** All that the network asks for, ask by ask in its order, on the smallest latents. */
function asked(denoiser: DitConfig, told: Told): Readonly<Record<ConditionKind, readonly (readonly Value[])[]>> {
  const groups = { modulation: [] as (readonly Value[])[], reading: [] as (readonly Value[])[] }
  const { channels, patch } = denoiser
  const [batch, length] = told.text.shape as [number, number]
  scope('dit', () =>
    dit(denoiser, {
      ...told,
      latents: op.broadcast(op.constant(0), [batch, channels, 1, patch, patch]),
      textBias: op.broadcast(op.constant(0), [batch, 1, 1, length]),
      conditions: (kind, compute) => {
        const computed = compute()
        groups[kind].push(computed)
        return computed
      },
    }),
  )
  return groups
}

const lastSize = ({ shape }: Value): number => op.at(shape, shape.length - 1)
