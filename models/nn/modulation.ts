/**
 * Modulation: shift, scale and gate of a token by what conditions it (adaLN, Peebles & Xie 2022, 2212.09748).
 *
 * A vector belongs to a group of tokens: to the clip (G = 1), to a frame (G = F) or to one token (G = T). Where the
 * vectors come from is the network's affair; a learned table plus a projection of the time is PixArt-α's way (Chen et
 * al. 2023, 2310.00426), which released video transformers follow.
 *
 *   B batch · T tokens · G groups of T/G tokens each · D width
 */

import { parameter, type Shape, sizeOf, type Value } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'

/** x·(1 + scale) + shift, group by group. x [B, T, D], shift and scale [B, G, 1, D]. */
export const modulate = (x: Value, shift: Value, scale: Value): Value => moved(x, op.add(scale, 1), shift)

/** x·factor + shift, group by group. x [B, T, D], factor and shift [B, G, 1, D]. */
export function moved(x: Value, factor: Value, shift: Value): Value {
  return op.reshape(op.add(op.multiply(...byGroup(x, factor)), single(shift)), x.shape)
}

/** x + gate·branch, group by group. x and branch [B, T, D], gate [B, G, 1, D]. */
export function gated(x: Value, gate: Value, branch: Value): Value {
  return op.add(x, op.reshape(op.multiply(...byGroup(branch, gate)), x.shape))
}

/**
 * A learned table plus what the time says, as single vectors, each [B, G, 1, D].
 * @param stored shape in which checkpoints keep the table, [..., parts, D]
 * @param condition [B, G, parts·D], or [B, G, D] for one vector that serves all parts
 */
export function tableModulation(name: string, stored: Shape, condition: Value): Value[] {
  const [parts, width] = stored.slice(-2) as [number, number]
  const [batch, groups, given] = condition.shape as [number, number, number]
  const table = op.reshape(parameter(name, stored, { kind: 'zeros' }), [parts, width])
  const told = op.add(op.reshape(condition, [batch, groups, given / width, width]), table) // [B, G, parts, D]
  return op.split(told, parts, 2)
}

/** Shift, scale and gate of attention, then of the feed-forward map: each [B, G, 1, D]. */
export type LayerVectors = [Value, Value, Value, Value, Value, Value]

export interface ModulatedLayer {
  /** Without parameters; modulation takes their place. */
  readonly norm: (x: Value) => Value
  /** Among tokens: [B, T, D] → [B, T, D]. */
  readonly attend: (calm: Value) => Value
  /** From tokens to the text, neither modulated nor gated: [B, T, D] → [B, T, D]. */
  readonly read: (seen: Value) => Value
  /** Each token by itself: [B, T, D] → [B, T, D]. */
  readonly think: (ready: Value) => Value
}

/** One layer of a text-to-video transformer: attend, read, think, the first and last modulated and gated. [B, T, D]. */
export function modulatedLayer(
  x: Value,
  [shift1, scale1, gate1, shift2, scale2, gate2]: LayerVectors,
  { norm, attend, read, think }: ModulatedLayer,
): Value {
  const seen = gated(x, gate1, attend(modulate(norm(x), shift1, scale1)))
  const told = op.add(seen, read(seen))
  return gated(told, gate2, think(modulate(norm(told), shift2, scale2)))
}

/** Both so that they broadcast: tokens in groups, or as they are where one vector serves all of them. */
function byGroup(x: Value, vector: Value): readonly [Value, Value] {
  const [batch, groups, , width] = vector.shape as [number, number, number, number]
  if (batch * groups === 1) return [x, single(vector)]
  return [op.reshape(x, [batch, groups, op.at(x.shape, 1) / groups, width]), vector]
}

/** A vector that serves all tokens as [D], which the operator of a norm takes in; another as it is. */
function single(vector: Value): Value {
  const width = op.at(vector.shape, 3)
  return sizeOf(vector.shape) === width ? op.reshape(vector, [width]) : vector
}
