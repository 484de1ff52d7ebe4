/**
 * Converts the tensors of a part, one after another and a few rows at a time, so that memory does not grow with the
 * file.
 *
 * Every tensor has a gate: what blocks lose must stay below weights/quantize.ts's bound, and what half precision cannot
 * hold must not become infinite. A tensor that fails is written again in the next better form, and says so.
 */

import { sizeOf } from '../graph/graph.ts'
import { blockBits, nextBest, type Target, type TensorConversion } from '../weights/conversion.ts'
import { fromFloat16, toFloat16 } from '../weights/float16.ts'
import type { ImportedPart } from '../weights/manifest.ts'
import { dequantizeBlocks, errorGates, quantizeBlocks, relativeError } from '../weights/quantize.ts'
import { widened } from '../weights/safetensors.ts'
import { blockTensors, plainTensors } from '../weights/stored.ts'
import type { OpenCheckpoint } from './checkpoint-files.ts'
import type { ShardRoom, ShardWriter } from './shards.ts'

/** Largest tensor that one GPU buffer is sure to hold. */
export const tensorLimit = 128 * 2 ** 20
// Some twelve times this is garbage in a moment: small pieces keep the peak low.
const pieceBytes = 2 ** 20

export interface ConversionContext {
  readonly checkpoint: Pick<OpenCheckpoint, 'read'>
  readonly shards: ShardWriter
  readonly signal: AbortSignal
  readonly limit?: number
}

export type KeptTensor = ImportedPart['kept'][number]

/** Writes one tensor; tells when a gate kept it in a better form than asked for. */
export async function convertTensor(
  conversion: TensorConversion,
  context: ConversionContext,
): Promise<KeptTensor | undefined> {
  let { target } = conversion
  let kept: KeptTensor | undefined
  for (;;) {
    const error = await attempt({ ...conversion, target }, context)
    if (error <= gateOf(target)) return kept
    target = nextBest[target]
    kept = { name: conversion.name, target, error: Math.min(error, Number.MAX_VALUE) }
  }
}

/** Half precision errs by 2e-4 at most, unless numbers overflow or are too small for it. */
function gateOf(target: Target): number {
  const bits = blockBits[target]
  if (bits !== undefined) return errorGates[bits]
  return target === 'float32' ? Number.POSITIVE_INFINITY : 1e-2
}

/** Writes a tensor in one form and gives its relative error; nothing is left of an attempt that fails its gate. */
async function attempt(conversion: TensorConversion, context: ConversionContext): Promise<number> {
  const { name, shape, target } = conversion
  const bits = blockBits[target]
  const placed =
    bits === undefined
      ? plainTensors(name, target as 'float32' | 'float16', shape, context.limit ?? tensorLimit)
      : blockTensors(name, shape, bits)
  // Pieces of one tensor may lie in different files, its numbers and scales may not.
  const rooms: ShardRoom[] = []
  if (bits !== undefined) rooms.push(await context.shards.reserve(placed))
  else for (const each of placed) rooms.push(await context.shards.reserve([each]))
  const write =
    bits === undefined ? plainWriter(placed.map(bytesOfPlaced(target)), rooms, target) : blockWriter(rooms, bits)
  const error = relativeError()
  for await (const values of rowsOf(conversion, context)) error.add(values, await write(values))
  const value = error.value()
  if (value > gateOf(target)) for (const room of rooms.reverse()) room.forget()
  return value
}

const bytesOfPlaced =
  (target: Target) =>
  ({ shape }: { readonly shape: readonly number[] }): number =>
    sizeOf(shape) * (target === 'float16' ? 2 : 4)

type Writer = (values: Float32Array) => Promise<Float32Array>

/** Appends numbers to pieces of given lengths, one after another; gives what was stored. */
function plainWriter(lengths: readonly number[], rooms: readonly ShardRoom[], target: Target): Writer {
  let [piece, offset] = [0, 0]
  return async (values) => {
    const halves = target === 'float16' ? toFloat16(values) : undefined
    const stored = halves ?? values
    let bytes = new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength)
    while (bytes.length > 0) {
      const part = bytes.subarray(0, (lengths[piece] as number) - offset)
      await (rooms[piece] as ShardRoom).write(0, offset, part)
      bytes = bytes.subarray(part.length)
      offset += part.length
      if (offset === lengths[piece]) [piece, offset] = [piece + 1, 0]
    }
    return halves === undefined ? values : fromFloat16(halves)
  }
}

function blockWriter([room]: readonly ShardRoom[], bits: 4 | 8): Writer {
  let [numbers, scales] = [0, 0]
  return async (values) => {
    const blocks = quantizeBlocks(values, bits)
    const steps = new Uint8Array(blocks.scales.buffer)
    await (room as ShardRoom).write(0, numbers, blocks.data)
    await (room as ShardRoom).write(1, scales, steps)
    numbers += blocks.data.length
    scales += steps.length
    return dequantizeBlocks(blocks)
  }
}

/** The tensor's numbers, in order, whole rows of blocks at a time. */
async function* rowsOf(
  { source: { location, entry } }: TensorConversion,
  { checkpoint, signal }: ConversionContext,
): AsyncGenerator<Float32Array> {
  const buffer = new Uint8Array(Math.min(pieceBytes, entry.length))
  for (let done = 0; done < entry.length; done += pieceBytes) {
    signal.throwIfAborted()
    const part = buffer.subarray(0, Math.min(pieceBytes, entry.length - done))
    await checkpoint.read(location, entry.offset + done, part)
    yield widened(entry, part)
  }
}
