/**
 * Products as ORT's operators: Gemm for matrices, MatMul and FusedMatMul for stacks of them, with what surrounds a
 * product (transposes, a bias, a factor) taken in where the operator can.
 *
 * For the CPU provider three more forms, each because of how its kernels walk memory (MLAS, the source of 1.30):
 *
 * - A tall product runs over all its rows for each 128 columns and each 128 of the inner size, so rows that do not fit
 *   the second cache are fetched again and again. It is cut into tiles of rows: a stack of products, which the kernel
 *   takes one by one. A stack whose right side is one matrix is folded back into a tall product, so that matrix is
 *   repeated once.
 * - Gemm fills its output with the bias on one thread before it starts. A large one takes an Add instead.
 * - A product of a transposed left side lays out both sides anew, the right one for few rows of the result. Where the
 *   result is wide, its transpose is worked out: the narrow side is then on the right. It is no Gemm, since ORT would undo
 *   a transpose behind one.
 */

import { sizeOf, type Value, type ValueOf } from '../graph/graph.ts'
import * as op from '../graph/ops.ts'
import { type Emitter, float, integer, integers } from './emitter.ts'

/** What surrounds a product and may be taken into it. */
interface Surroundings {
  /** Name of a bias [N]. */
  readonly bias?: string
  /** Multiplies the product. */
  readonly factor?: number
}

/** Smallest rows of a tile: below, laying out the right side anew for each tile costs what the caches save. */
const tileRows = 320
/** The kernels' stride over columns and over the inner size. */
const stride = 128
/** Columns to a row from which on a result is wide. */
const wide = 2
/** Elements of an output from which on a bias is better added by all threads. */
const largeOutput = 2 ** 17

/** The product [..., M, K] · [..., K, N]. */
export function product(node: ValueOf<'matmul'>, emitter: Emitter): string {
  return withSurroundings(node, emitter, {})
}

/** A product plus a bias of its columns, if the sum is one and nobody else needs the product. */
export function shiftedProduct(node: ValueOf<'add'>, emitter: Emitter): string | undefined {
  const [a, b] = sides(node)
  const [inner, bias] = a.op === 'matmul' ? [a, b] : [b, a]
  if (inner.op !== 'matmul' || inner.shape.length !== 2 || emitter.uses(inner) !== 1) return undefined
  const fits = bias.shape.length === 1 && bias.shape[0] === inner.shape[1]
  return fits ? withSurroundings(inner, emitter, { bias: emitter.name(bias) }) : undefined
}

/** A product times a number, if that is what is multiplied and nobody else needs the product. */
export function scaledProduct(node: ValueOf<'multiply'>, emitter: Emitter): string | undefined {
  const factor = factorOf(node)
  const [a, b] = sides(node)
  const inner = a.op === 'matmul' ? a : b
  if (factor === undefined || inner.op !== 'matmul' || emitter.uses(inner) !== 1) return undefined
  return inner.shape.length === 2 || emitter.forCpu ? withSurroundings(inner, emitter, { factor }) : undefined
}

/** The number that one side of a multiplication is, if it is one. */
export function factorOf(node: ValueOf<'multiply'>): number | undefined {
  const [a, b] = sides(node)
  return op.scalarOf(b) ?? op.scalarOf(a)
}

function withSurroundings(node: ValueOf<'matmul'>, emitter: Emitter, around: Surroundings): string {
  if (node.shape.length !== 2) return batchedProduct(node, emitter, around)
  const { emit, overBlocks, forCpu } = emitter
  const [a, b] = sides(node)
  const apart = around.bias !== undefined && forCpu && sizeOf(node.shape) >= largeOutput
  const blocks = b.op === 'transpose' && around.factor === undefined ? overBlocks(a, op.at(b.inputs, 0)) : undefined
  const other =
    blocks ?? (forCpu ? (tiledProduct(node, emitter, around) ?? turnedProduct(node, emitter, around)) : undefined)
  if (other === undefined && !apart) return gemm(node, emitter, around)
  const bare = other ?? gemm(node, emitter, { factor: around.factor })
  return around.bias === undefined ? bare : emit('Add', [bare, around.bias])
}

/** A rank-2 product as Gemm, its transposes taken in as flags. */
function gemm(node: ValueOf<'matmul'>, { emit, name }: Emitter, { bias, factor = 1 }: Surroundings): string {
  const [[a, transA], [b, transB]] = sides(node).map(untransposed) as [Flagged, Flagged]
  const inputs = [name(a), name(b), ...(bias === undefined ? [] : [bias])]
  return emit('Gemm', inputs, { transA: integer(transA), transB: integer(transB), alpha: float(factor) })
}

/** A tall product as a stack of tiles of its rows, if it is one and its rows divide. */
function tiledProduct(node: ValueOf<'matmul'>, emitter: Emitter, { factor = 1 }: Surroundings): string | undefined {
  const { emit, name, integers: longs, repeated } = emitter
  const [[a, transA], [b, transB]] = sides(node).map(untransposed) as [Flagged, Flagged]
  const [rows, columns] = node.shape as [number, number]
  const inner = op.at(op.at(node.inputs, 0).shape, 1)
  const tiles = tilesOf(rows)
  if (transA === 1 || tiles === undefined || (inner <= stride && columns <= stride)) return undefined
  const tile = [tiles / 2, 2, rows / tiles]
  const stack = emit('Reshape', [name(a), longs([...tile, inner])])
  const flags = { transB: integer(transB), alpha: float(factor) }
  const products = emit('FusedMatMul', [stack, repeated(b, 2)], flags, 'com.microsoft')
  return emit('Reshape', [products, longs([rows, columns])])
}

/** A wide product of a transposed left side as the transpose of the product of its sides in turn, if it is one. */
function turnedProduct(
  node: ValueOf<'matmul'>,
  { emit, name }: Emitter,
  { factor = 1 }: Surroundings,
): string | undefined {
  const [[a, transA], [b, transB]] = sides(node).map(untransposed) as [Flagged, Flagged]
  const [rows, columns] = node.shape as [number, number]
  if (transA === 0 || transB === 1 || columns < wide * rows) return undefined
  const flags = { transA: integer(1), alpha: float(factor) }
  const turned = emit('FusedMatMul', [name(b), name(a)], flags, 'com.microsoft')
  return emit('Transpose', [turned], { perm: integers([1, 0]) })
}

/** The most tiles of enough rows: an even number, since they lie in pairs. */
function tilesOf(rows: number): number | undefined {
  for (let tiles = 2 * Math.floor(rows / tileRows / 2); tiles > 0; tiles -= 2) if (rows % tiles === 0) return tiles
  return undefined
}

/**
 * A batched product. For the CPU, a side whose last two axes were swapped on top of another transpose is given as that
 * transpose and a flag: heads are then laid out once for the product forward and for both backward. A side times a
 * number gives the number to the operator.
 */
function batchedProduct(node: ValueOf<'matmul'>, emitter: Emitter, { factor = 1 }: Surroundings): string {
  const [a, b] = sides(node).map((side) => batchedSide(side, emitter)) as [Side, Side]
  const alpha = factor * a.factor * b.factor
  if (!a.swapped && !b.swapped && alpha === 1) return emitter.emit('MatMul', [a.name, b.name])
  const flags = { transA: integer(a.swapped ? 1 : 0), transB: integer(b.swapped ? 1 : 0), alpha: float(alpha) }
  return emitter.emit('FusedMatMul', [a.name, b.name], flags, 'com.microsoft')
}

interface Side {
  readonly name: string
  readonly swapped: boolean
  readonly factor: number
}

function batchedSide(side: Value, { name, transposed, forCpu }: Emitter): Side {
  if (!forCpu) return { name: name(side), swapped: false, factor: 1 }
  if (side.op !== 'transpose' || side.shape.length < 3) {
    const [inner, factor] = unscaled(side)
    return { name: name(inner), swapped: false, factor }
  }
  const rank = side.shape.length
  const { permutation } = side.attributes
  const swapped = [...permutation.slice(0, -2), op.at(permutation, rank - 1), op.at(permutation, rank - 2)]
  // Rows stay rows in a layout that moves nothing out of the last axis: that one is cheap, and shared.
  if (op.at(swapped, rank - 1) !== rank - 1) return { name: name(side), swapped: false, factor: 1 }
  const [inner, factor] = unscaled(op.at(side.inputs, 0))
  return { name: transposed(inner, swapped), swapped: true, factor }
}

function unscaled(side: Value): readonly [inner: Value, factor: number] {
  const factor = side.op === 'multiply' ? factorOf(side) : undefined
  if (factor === undefined) return [side, 1]
  const [a, b] = sides(side)
  const inner = op.scalarOf(b) === undefined ? b : a
  // A product takes its factor itself; asked for without it as well, it would be written twice.
  return inner.op === 'matmul' ? [side, 1] : [inner, factor]
}

type Flagged = readonly [side: Value, transposed: 0 | 1]

const untransposed = (node: Value): Flagged => (node.op === 'transpose' ? [op.at(node.inputs, 0), 1] : [node, 0])

const sides = ({ inputs }: { readonly inputs: readonly Value[] }): readonly [Value, Value] => [
  op.at(inputs, 0),
  op.at(inputs, 1),
]
